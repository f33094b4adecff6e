package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strings"

	_ "crypto/sha512" // digests of that kind exist; go-digest does not register the hash

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// acceptManifests names every kind of manifest that DCT can have signed. Schema 1 is among
// them so that such an image is found and reported, not taken for gone.
var acceptManifests = strings.Join([]string{
	ocispec.MediaTypeImageIndex,
	ocispec.MediaTypeImageManifest,
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.oci.artifact.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.v1+prettyjws",
	"application/vnd.docker.distribution.manifest.v1+json",
}, ", ")

var (
	tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

	// SPEC (OCI distribution, referrers tag schema): algorithm and digest joined by "-",
	// the digest cut to 64 characters.
	fallbackPattern = regexp.MustCompile(`^sha(256|512)-[0-9a-f]{64}$`)
)

// IsFallbackTag tells whether a tag has the form under which clients keep the signatures
// of an image where there is no referrers API. Such tags are no images.
func IsFallbackTag(tag string) bool { return fallbackPattern.MatchString(tag) }

// Resolve returns the media type and size that the registry has for the image with this
// digest: one HEAD request, and none when the digest was resolved before. The bytes are not
// looked at (see FetchManifest) unless the answer leaves something open. ErrNotFound: the
// registry has no such manifest. ErrIntegrity: it answers for another digest.
func (r *Repository) Resolve(ctx context.Context, d digest.Digest) (ocispec.Descriptor, error) {
	if desc, ok := r.known.get(r.name, d); ok {
		return desc, nil
	}
	desc, err := r.resolve(ctx, d)
	if err != nil {
		return ocispec.Descriptor{}, r.failed("resolving "+printable(d), err)
	}
	r.known.put(r.name, desc)
	return desc, nil
}

func (r *Repository) resolve(ctx context.Context, d digest.Digest) (ocispec.Descriptor, error) {
	if err := d.Validate(); err != nil {
		return ocispec.Descriptor{}, err
	}
	resp, err := r.ask(ctx, http.MethodHead, "/manifests/"+d.String(), acceptManifests)
	if errors.Is(err, ErrNotFound) {
		return r.resolveMissing(ctx, d)
	}
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	_ = resp.Body.Close() // HEAD: empty
	reported := digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	if reported != "" && reported != d {
		if reported.Validate() != nil || reported.Algorithm() == d.Algorithm() {
			return ocispec.Descriptor{}, fmt.Errorf("%w: asked for %s and told of another", ErrIntegrity, d)
		}
		reported = "" // by another algorithm: says nothing about ours
	}
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err == nil && resp.ContentLength > 0 && (reported != "" || resp.Header.Get("Docker-Content-Digest") == "") {
		return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: resp.ContentLength}, nil
	}
	// HEAD left something open, as some proxies do.
	mediaType, data, err := r.get(ctx, "/manifests/"+d.String(), acceptManifests, maxManifest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
	return desc, match(desc, data)
}

// resolveMissing asks a second time for what HEAD answered 404: that has no body, and a
// proxy's 404 must not pass for the registry's word that the image is gone.
func (r *Repository) resolveMissing(ctx context.Context, d digest.Digest) (ocispec.Descriptor, error) {
	mediaType, data, err := r.get(ctx, "/manifests/"+d.String(), acceptManifests, maxManifest)
	switch {
	case err == nil:
		desc := ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
		return desc, match(desc, data)
	case !errors.Is(err, ErrNotFound):
		return ocispec.Descriptor{}, err
	case hasCode(err, errcode.ErrorCodeManifestUnknown), hasCode(err, "NOT_FOUND"): // the latter is Harbor's
		return ocispec.Descriptor{}, err
	case hasCode(err, errcode.ErrorCodeNameUnknown):
		return ocispec.Descriptor{}, errNoRepository
	}
	return ocispec.Descriptor{}, errForeign404
}

var (
	errNoRepository = errors.New("the registry has no repository of that name")
	errForeign404   = errors.New("404 without a registry's error: something else answers at that address")
)

// Tags calls each with every tag of the repository, page by page to the end. The names are
// the registry's: anything at all.
func (r *Repository) Tags(ctx context.Context, each func(tag string) error) error {
	err := r.remote.Tags(r.scoped(ctx), "", func(tags []string) error {
		for _, t := range tags {
			if err := each(t); err != nil {
				return err
			}
		}
		return nil
	})
	return r.failed("listing tags", err)
}

// ResolveTag returns the digest that the tag points to now: one HEAD request, never from a
// cache. exists is false when the registry has no such tag; an error means that it is
// unknown.
func (r *Repository) ResolveTag(ctx context.Context, tag string) (d digest.Digest, exists bool, err error) {
	if !tagPattern.MatchString(tag) {
		return "", false, fmt.Errorf("resolving tag %q in %s: not a tag", tag, r.name)
	}
	d, err = r.resolveTag(ctx, tag)
	if errors.Is(err, ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, r.failed("resolving tag "+tag, err)
	}
	return d, true, nil
}

func (r *Repository) resolveTag(ctx context.Context, tag string) (digest.Digest, error) {
	resp, err := r.ask(ctx, http.MethodHead, "/manifests/"+tag, acceptManifests)
	if err != nil {
		return "", err
	}
	_ = resp.Body.Close() // HEAD: empty
	if reported := resp.Header.Get("Docker-Content-Digest"); reported != "" {
		d, err := digest.Parse(reported)
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrIntegrity, err)
		}
		return d, nil
	}
	_, data, err := r.get(ctx, "/manifests/"+tag, acceptManifests, maxManifest)
	if err != nil {
		return "", err
	}
	return digest.FromBytes(data), nil
}

// get fetches a path, at most limit bytes, and returns the media type the registry gives.
func (r *Repository) get(ctx context.Context, path, accept string, limit int64) (mediaType string, data []byte, err error) {
	resp, err := r.ask(ctx, http.MethodGet, path, accept)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	if resp.ContentLength > limit {
		return "", nil, tooLarge(resp.ContentLength, limit)
	}
	data, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return "", nil, fmt.Errorf("reading the answer: %w", err)
	}
	if int64(len(data)) > limit {
		return "", nil, tooLarge(int64(len(data)), limit)
	}
	mediaType, _, err = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		mediaType = "" // blobs need none; for manifests it is compared
	}
	return mediaType, data, nil
}

func tooLarge(size, limit int64) error {
	return fmt.Errorf("%d bytes or more, and at most %d are read", size, limit)
}

// match compares bytes with the descriptor they were asked by. A size of zero is unknown.
func match(desc ocispec.Descriptor, data []byte) error {
	if desc.Size > 0 && desc.Size != int64(len(data)) {
		return fmt.Errorf("%w: %d bytes, and %d were announced", ErrIntegrity, len(data), desc.Size)
	}
	if got := desc.Digest.Algorithm().FromBytes(data); got != desc.Digest {
		return fmt.Errorf("%w: the bytes are %s", ErrIntegrity, got)
	}
	return nil
}

// printable is the digest if it is one; others come from whoever asked, unchecked.
func printable(d digest.Digest) string {
	if d.Validate() != nil {
		return "a malformed digest"
	}
	return d.String()
}
