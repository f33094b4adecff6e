package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/dct2notation/dct2notation/internal/lookup"
)

// ArtifactType is that of Notation signatures.
const ArtifactType = "application/vnd.cncf.notary.signature"

// Bounds of one list. Anyone who may push can plant more; what lies beyond would be unknown,
// so it is an error.
const (
	maxSignatures = 1000
	maxListed     = 10 * maxSignatures // with what is repeated or something else
	maxPages      = 100                // a registry may page before it filters, and every page costs a request
)

// Signatures lists the Notation signatures of the image, each once: see AsListed.
func (r *Repository) Signatures(ctx context.Context, subject ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	all, err := r.AsListed(ctx, subject)
	list := Distinct(all)
	if err == nil && len(list) > maxSignatures {
		err = r.failed("listing signatures of "+printable(subject.Digest), fmt.Errorf("more than %d are listed", maxSignatures))
	}
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Distinct returns the signatures of a list, each once. Some registries claim to have filtered
// and have not, and some repeat what is at the end of a page.
func Distinct(listed []ocispec.Descriptor) []ocispec.Descriptor {
	type entry struct { // what tells two entries apart
		mediaType string
		digest    digest.Digest
		size      int64
	}
	seen := make(map[entry]bool)
	var list []ocispec.Descriptor
	for _, d := range listed {
		is := entry{d.MediaType, d.Digest, d.Size}
		if !seen[is] && IsSignature(d) {
			seen[is] = true
			list = append(list, d)
		}
	}
	return list
}

// IsSignature reports whether a listed entry does not say that it is anything else.
func IsSignature(listed ocispec.Descriptor) bool {
	return listed.ArtifactType == "" || listed.ArtifactType == ArtifactType
}

// AsListed lists what the registry has as Notation signatures of the image, in its order and as
// often as it says so, as notation sees it: every page of the referrers API, or the index under
// the referrers tag where there is no API. It is asked anew each time. An error means unknown,
// never none. Entries are as listed, annotations included, and prove nothing: FetchSignature
// refuses those that make no sense.
func (r *Repository) AsListed(ctx context.Context, subject ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	doing := "listing signatures of " + printable(subject.Digest)
	if err := subject.Digest.Validate(); err != nil {
		return nil, r.failed(doing, err)
	}
	if err := r.probe(ctx, subject.Digest); err != nil {
		return nil, r.failed(doing, err)
	}
	var list []ocispec.Descriptor
	err := r.referrers(ctx, subject, func(page []ocispec.Descriptor) error {
		if list = append(list, page...); len(list) > maxListed {
			return fmt.Errorf("more than %d are listed", maxListed)
		}
		return nil
	})
	if err != nil {
		return nil, r.failed(doing, err)
	}
	return list, nil
}

// referrers calls each with the entries of the image's list, page by page. Under the referrers
// tag, oras-go would take any 404 for an image without signatures.
func (r *Repository) referrers(ctx context.Context, subject ocispec.Descriptor, each func([]ocispec.Descriptor) error) error {
	if r.api.Load() {
		return r.remote.Referrers(r.scoped(ctx), subject, ArtifactType, each)
	}
	list, err := r.fallbackList(ctx, subject.Digest)
	if lookup.IsAbsent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var index ocispec.Index
	if err := json.Unmarshal(list, &index); err != nil {
		return fmt.Errorf("reading the list of signatures: %w", err)
	}
	// SPEC (OCI distribution, referrers tag schema): the client filters by itself.
	return each(slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool { return d.ArtifactType != ArtifactType }))
}

// probe finds out, once per repository, whether it has the referrers API. oras-go could
// too, but while it does not know yet it takes a list that breaks off on its second page for
// a registry without the API; and after a push whose answer lacks OCI-Subject it takes the
// API for missing.
func (r *Repository) probe(ctx context.Context, d digest.Digest) error {
	return r.probed.do(ctx, func() error {
		supported, err := r.asksReferrers(ctx, d)
		if err == nil && !supported {
			// Registries without the API answer 404 as they do for any path, and so does a
			// proxy for a moment; signatures that the API lists would be overlooked then.
			supported, err = r.asksReferrers(ctx, d)
		}
		if err != nil {
			return fmt.Errorf("asking for the referrers API: %w", err)
		}
		r.api.Store(supported)
		return r.remote.SetReferrersCapability(supported)
	})
}

// asksReferrers asks once, and reports whether the answer is that of the API.
func (r *Repository) asksReferrers(ctx context.Context, d digest.Digest) (bool, error) {
	path := "/referrers/" + d.String() + "?artifactType=" + url.QueryEscape(ArtifactType)
	resp, err := r.ask(ctx, http.MethodGet, path, ocispec.MediaTypeImageIndex)
	if err != nil {
		if withoutReferrers(err) {
			return false, nil
		}
		return false, err
	}
	// Only what kind of answer it is matters; it is read for the connection's sake.
	_, _ = io.CopyN(io.Discard, resp.Body, maxProblem)
	_ = resp.Body.Close()
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case err == nil && mediaType == ocispec.MediaTypeImageIndex:
		return true, nil
	case err == nil && mediaType == "application/json":
		return false, nil // an old Harbor; notation uses the tag then
	}
	return false, fmt.Errorf("%w: 200 with content type %q", ErrNotRegistry, mediaType)
}

// withoutReferrers reports whether an answer says that the API is not there, and not only
// that this request failed.
//
// SPEC (OCI distribution, listing referrers): "If the registry does not support the
// referrers API, it MUST return 404 Not Found."
func withoutReferrers(err error) bool {
	var e *errcode.ErrorResponse
	if !errors.As(err, &e) {
		return false
	}
	switch e.StatusCode {
	case http.StatusNotFound:
		return !hasCode(e, errcode.ErrorCodeNameUnknown) // else the repository is missing
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}
