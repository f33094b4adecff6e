package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/lookup"
)

// ErrNotRegistry is returned when something answers, but not as a registry does.
var ErrNotRegistry = errors.New("not the answer of a registry")

// nothing is a digest that no image has.
const nothing = digest.Digest("sha256:0000000000000000000000000000000000000000000000000000000000000000")

// CanPull requests an image by its digest, or by one that no registry has if the digest is empty. Found and absent
// both say that images can be read: only a client that may read is told that the registry does not have one. (Listing
// tags is another permission, which signing does not need.) An unknown answer says why they cannot.
func (r *Repository) CanPull(ctx context.Context, image digest.Digest) (answer lookup.Answer[digest.Digest]) {
	defer func() { answer = classedAnswer(answer) }()
	if image == "" {
		image = nothing
	}
	return lookup.Of(image, r.failed("reading images", r.canPull(ctx, image)))
}

func (r *Repository) canPull(ctx context.Context, image digest.Digest) error {
	mediaType, data, err := r.get(ctx, "/manifests/"+image.String(), acceptManifests, maxManifest)
	err = r.absence(ctx, err, "manifest", image.String())
	switch {
	case err == nil && mediaType == "text/html":
		return fmt.Errorf("%w: it is a web page", ErrNotRegistry)
	case err == nil:
		return match(ocispec.Descriptor{Digest: image}, data)
	case errors.Is(err, errForeign404):
		return fmt.Errorf("%w: %w", ErrNotRegistry, err)
	}
	return err
}

// CanPush begins an upload of a blob and cancels it: only the registry can tell whether it would accept a push. left
// reports whether the registry accepted the upload but not its cancellation; such an upload holds no bytes, and the
// registry drops it itself. An error says why a push would fail.
func (r *Repository) CanPush(ctx context.Context) (left bool, err error) {
	defer func() { err = classed(err) }()
	if r.readOnly {
		return false, r.failed("beginning an upload", errReadOnly)
	}
	upload, err := r.beginUpload(ctx)
	if err != nil {
		return false, r.failed("beginning an upload", err)
	}
	return r.cancelUpload(ctx, upload) != nil, nil
}

// cancelUpload cancels an upload. A registry may refuse that; 404 means that it is gone.
func (r *Repository) cancelUpload(ctx context.Context, at *url.URL) error {
	req, err := http.NewRequestWithContext(r.scoped(ctx), http.MethodDelete, at.String(), nil)
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices && resp.StatusCode != http.StatusNotFound {
		return problem(resp)
	}
	return nil
}

// HasReferrers reports whether the referrers API lists signatures, rather than tags. It finds out once for each
// repository, by listing the signatures of an image, or of one that does not exist if the digest is empty.
func (r *Repository) HasReferrers(ctx context.Context, of digest.Digest) (_ bool, err error) {
	defer func() { err = classed(err) }()
	if of == "" {
		of = nothing
	}
	if err := r.probe(ctx, of); err != nil {
		return false, r.failed("listing signatures", err)
	}
	return r.api.Load(), nil
}
