package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	_ "crypto/sha512" // such digests exist, but go-digest does not register the hash

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/transport"
)

// manifestTypes is every kind of manifest that DCT can have signed. Schema 1 is included so that such an image is
// reported rather than taken for gone.
var manifestTypes = []string{
	ocispec.MediaTypeImageIndex,
	ocispec.MediaTypeImageManifest,
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.oci.artifact.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.v1+prettyjws",
	"application/vnd.docker.distribution.manifest.v1+json",
}

var acceptManifests = strings.Join(manifestTypes, ", ")

var (
	tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

	// SPEC (OCI distribution, referrers tag schema): algorithm and digest joined by "-",
	// the digest cut to 64 characters.
	fallbackPattern = regexp.MustCompile(`^sha(256|512)-[0-9a-f]{64}$`)
)

// Resolve returns the media type and size that the registry has for the image with this digest. It sends one HEAD
// request, and none if the digest was resolved before or ResolveTag saw it. It does not read the bytes (see
// FetchManifest) unless the answer is incomplete. The error is a [*lookup.AbsentError] if the registry has no such
// manifest, and ErrIntegrity if it answers for another digest.
func (r *Repository) Resolve(ctx context.Context, d digest.Digest) (_ ocispec.Descriptor, err error) {
	defer func() { err = classed(err) }()
	if desc, ok := r.known.get(r.name, d); ok {
		return desc, nil
	}
	desc, err := r.resolve(ctx, d)
	if err != nil {
		return ocispec.Descriptor{}, r.failed("resolving "+printable(d), err)
	}
	r.known.add(r.name, desc)
	return desc, nil
}

func (r *Repository) resolve(ctx context.Context, d digest.Digest) (ocispec.Descriptor, error) {
	if err := d.Validate(); err != nil {
		return ocispec.Descriptor{}, err
	}
	resp, err := r.ask(ctx, http.MethodHead, "/manifests/"+d.String(), acceptManifests)
	if isNotFound(err) || headRefused(err) {
		// HEAD has no body, and a proxy's 404 must not count as the registry's word.
		desc, err := r.hashed(ctx, d)
		return desc, r.absence(ctx, err, "manifest", d.String())
	}
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	_ = resp.Body.Close() // HEAD: empty
	if err := aboutAnother(resp.Header, d); err != nil {
		return ocispec.Descriptor{}, err
	}
	if desc, ok := described(resp); ok && desc.Digest == d {
		return desc, nil
	}
	return r.hashed(ctx, d)
}

// headRefused reports whether the server refuses HEAD itself, as some proxies do. GET may work.
func headRefused(err error) bool {
	return statusOf(err) == http.StatusMethodNotAllowed || statusOf(err) == http.StatusNotImplemented
}

// described returns the manifest that an answer to HEAD describes. It returns false if the answer is incomplete, as
// from some proxies, or if a web page answers in the registry's place.
func described(resp *http.Response) (ocispec.Descriptor, bool) {
	desc := ocispec.Descriptor{MediaType: transport.MediaType(resp.Header), Digest: digest.Digest(resp.Header.Get(contentDigest)), Size: resp.ContentLength}
	return desc, slices.Contains(manifestTypes, desc.MediaType) && desc.Digest.Validate() == nil && desc.Size > 0
}

// contentDigest is the header that names the digest of an answer.
const contentDigest = "Docker-Content-Digest"

// aboutAnother returns ErrIntegrity if an answer says that it is about another digest. A digest by another algorithm
// says nothing.
func aboutAnother(h http.Header, d digest.Digest) error {
	reported := digest.Digest(h.Get(contentDigest))
	if reported == "" || reported == d || reported.Validate() == nil && reported.Algorithm() != d.Algorithm() {
		return nil
	}
	return fmt.Errorf("%w: asked for %s and told of another", ErrIntegrity, d)
}

// hashed fetches a manifest and describes it by its bytes.
func (r *Repository) hashed(ctx context.Context, d digest.Digest) (ocispec.Descriptor, error) {
	mediaType, data, err := r.get(ctx, "/manifests/"+d.String(), acceptManifests, maxManifest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
	if err := match(desc, data); err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := checkManifestType(mediaType); err != nil {
		return ocispec.Descriptor{}, err
	}
	return desc, nil
}

// absence turns an error of a request for a manifest into a [*lookup.AbsentError] if the registry itself says exactly
// that it has none. Any other 404 is not its word: a proxy may answer so. That the whole repository is unknown
// contradicts whoever named it, or is a matter of permissions.
//
// kind and reference are what was requested: a manifest by its digest, or a tag.
func (r *Repository) absence(ctx context.Context, err error, kind, reference string) error {
	gone := &lookup.AbsentError{By: lookup.Registry, What: kind + " " + safetext.Safe(reference, 128), Err: err}
	switch {
	case !isNotFound(err): // or nil
		return err
	case onlyCodes(err, errcode.ErrorCodeManifestUnknown):
		return gone
	case onlyCodes(err, errcode.ErrorCodeManifestUnknown, codeNotFound):
		if err := r.answers(ctx); err != nil {
			return err
		}
		// A moment ago it may have been a proxy's word, and the list of tags may now be the registry's.
		if _, _, again := r.get(ctx, "/manifests/"+reference, acceptManifests, maxManifest); !isNotFound(again) || !onlyCodes(again, errcode.ErrorCodeManifestUnknown, codeNotFound) {
			return fmt.Errorf("%w: %w", errNotSure, err)
		}
		return gone
	case hasCode(err, errcode.ErrorCodeNameUnknown):
		return errNoRepository
	}
	return errForeign404
}

// errNotSure says that something may exist although the registry just said that it does not.
var errNotSure = errors.New("it is not there, was said, and asked again the registry does not say so")

// codeNotFound is Harbor's code for what it does not have, but also many other servers' for an unknown path. So it
// counts only from a server that answers for the repository.
const codeNotFound = "NOT_FOUND"

// Answers returns an error unless the registry lists the repository's tags. If it does, what it says of the
// repository is its own word, not that of a proxy or of another server at its address.
func (r *Repository) Answers(ctx context.Context) (err error) {
	defer func() { err = classed(err) }()
	return r.failed("asking for the repository's tags", r.answers(ctx))
}

func (r *Repository) answers(ctx context.Context) error {
	_, data, err := r.get(ctx, "/tags/list?n=1", "", maxManifest)
	switch {
	case err != nil && isNotFound(err):
		return fmt.Errorf("%w: %w", errSilent, err)
	case err != nil:
		return err
	}
	var list map[string]json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil || list["name"] == nil || list["tags"] == nil { // tags may be null
		return fmt.Errorf("%w: no list of tags", errSilent)
	}
	return nil
}

var (
	errNoRepository = errors.New("the registry has no repository of that name")
	errSilent       = errors.New("it answers that something is not there, and does not list the repository's tags")
	errForeign404   = errors.New("404 without a registry's error: something else answers at that address")
)

// Tags calls each with every tag of the repository, page by page. The names are unchecked
// data from the registry. ErrBudget means that the list exceeds the limits.
func (r *Repository) Tags(ctx context.Context, each func(tag string) error) (err error) {
	defer func() { err = classed(err) }()
	err = r.budget.run(ctx, each, func(ctx context.Context, page func([]string) error) error {
		return r.remote.Tags(r.scoped(ctx), "", page)
	})
	return r.failed("listing tags", err)
}

// ResolveTag returns the digest that the tag has now: one HEAD request, never from a cache. The tag is absent if the
// registry itself says so; that takes a second request, since the answer to HEAD has no error code. Resolve does not
// ask again for what this learns of the digest.
func (r *Repository) ResolveTag(ctx context.Context, tag string) (answer lookup.Answer[digest.Digest]) {
	defer func() { answer = classedAnswer(answer) }()
	if !tagPattern.MatchString(tag) {
		return lookup.Unknown[digest.Digest](fmt.Errorf("resolving tag %q in %s: not a tag", tag, r.name))
	}
	d, err := r.resolveTag(ctx, tag)
	return lookup.Of(d, r.failed("resolving tag "+tag, err))
}

func (r *Repository) resolveTag(ctx context.Context, tag string) (digest.Digest, error) {
	resp, err := r.ask(ctx, http.MethodHead, "/manifests/"+tag, acceptManifests)
	if isNotFound(err) || headRefused(err) {
		d, err := r.hashedTag(ctx, tag)
		return d, r.absence(ctx, err, "tag", tag)
	}
	if err != nil {
		return "", err
	}
	_ = resp.Body.Close() // HEAD: empty
	if desc, ok := described(resp); ok {
		r.known.add(r.name, desc)
		return desc.Digest, nil
	}
	if reported := resp.Header.Get(contentDigest); reported != "" {
		d, err := digest.Parse(reported)
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrIntegrity, err)
		}
		return d, nil
	}
	return r.hashedTag(ctx, tag)
}

// hashedTag returns the digest of the manifest under a tag, by its bytes. Since nothing else shows that it is a
// manifest, the registry must say so: a web page is not an image.
func (r *Repository) hashedTag(ctx context.Context, tag string) (digest.Digest, error) {
	mediaType, data, err := r.get(ctx, "/manifests/"+tag, acceptManifests, maxManifest)
	if err != nil {
		return "", err
	}
	return digest.FromBytes(data), checkManifestType(mediaType)
}

func checkManifestType(mediaType string) error {
	if !slices.Contains(manifestTypes, mediaType) {
		return fmt.Errorf("the registry calls it %q, which is no manifest", mediaType)
	}
	return nil
}

// get fetches a path, at most limit bytes, and returns the media type that the registry gives.
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
	mediaType = transport.MediaType(resp.Header) // not needed for blobs, compared for manifests
	if mediaType == ocispec.MediaTypeImageIndex {
		// Nothing else can verify a list under a tag.
		err = aboutAnother(resp.Header, digest.FromBytes(data))
	}
	return mediaType, data, err
}

func tooLarge(size, limit int64) error {
	return fmt.Errorf("%d bytes or more, and at most %d are read", size, limit)
}

// match compares bytes with the descriptor they were requested by. A size of zero is unknown.
func match(desc ocispec.Descriptor, data []byte) error {
	if desc.Size > 0 && desc.Size != int64(len(data)) {
		return fmt.Errorf("%w: %d bytes, and %d were announced", ErrIntegrity, len(data), desc.Size)
	}
	if got := desc.Digest.Algorithm().FromBytes(data); got != desc.Digest {
		return fmt.Errorf("%w: the bytes are %s", ErrIntegrity, got)
	}
	return nil
}

// printable returns the digest if it is valid. Others come unchecked from the caller.
func printable(d digest.Digest) string {
	if d.Validate() != nil {
		return "a malformed digest"
	}
	return d.String()
}
