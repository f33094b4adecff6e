package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/lookup"
)

// ErrDeleteRefused is returned when the registry does not support deleting manifests.
var ErrDeleteRefused = errors.New("the registry does not delete manifests")

// ErrNotSignature is returned when the digest of a signature leads to something else, or to a signature of another
// image. It must not be deleted.
var ErrNotSignature = errors.New("it is no signature of this image")

// Stored is a signature as the registry has it. Its bytes match their digests.
type Stored struct {
	MediaType string // of the envelope
	Envelope  []byte
	Manifest  []byte
}

// StoredSignature fetches what the registry has under the digest of a signature of the image. It is absent if the
// registry itself says that it has no such manifest. Anything but a Notation signature manifest of exactly this image
// is ErrNotSignature, or ErrIntegrity. The caller has to check who signed the envelope, and what.
func (r *Repository) StoredSignature(ctx context.Context, image, signature digest.Digest) (answer lookup.Answer[Stored]) {
	defer func() { answer = classedAnswer(answer) }()
	var s Stored
	err := errors.Join(image.Validate(), signature.Validate())
	if err == nil {
		s, err = r.storedSignature(ctx, image, signature)
	}
	return lookup.Of(s, r.failed("fetching signature "+printable(signature), err))
}

func (r *Repository) storedSignature(ctx context.Context, image, signature digest.Digest) (Stored, error) {
	if image == signature {
		return Stored{}, fmt.Errorf("%w: it is the image", ErrNotSignature)
	}
	data, err := r.manifestOf(ctx, signature)
	if err != nil {
		return Stored{}, err
	}
	layer, about, err := readSignature(ocispec.MediaTypeImageManifest, data)
	switch {
	case err != nil:
		return Stored{}, fmt.Errorf("%w: %w", ErrNotSignature, err)
	case about.Digest != image:
		return Stored{}, fmt.Errorf("%w: its subject is %s", ErrNotSignature, about.Digest)
	case layer.Size > maxEnvelope:
		return Stored{}, fmt.Errorf("%w: %w", ErrNotSignature, tooLarge(layer.Size, maxEnvelope))
	}
	_, envelope, err := r.get(ctx, "/blobs/"+layer.Digest.String(), "", maxEnvelope)
	if isNotFound(err) {
		return Stored{}, fmt.Errorf("its envelope is missing, so that nobody can tell whose it is: %w", err)
	}
	if err != nil {
		return Stored{}, err
	}
	if err := match(layer, envelope); err != nil {
		return Stored{}, err
	}
	return Stored{layer.MediaType, envelope, data}, nil
}

// proven returns the error of a request for something seen before. It believes that it is gone only if the registry
// answers for the repository.
func (r *Repository) proven(ctx context.Context, err error) error {
	if lookup.IsAbsent(err) {
		if err := r.answers(ctx); err != nil {
			return err
		}
	}
	return err
}

// manifestOf fetches an OCI image manifest, the form of every signature that PackSignature makes. The error is a
// [*lookup.AbsentError] if the registry itself says that it has none.
func (r *Repository) manifestOf(ctx context.Context, d digest.Digest) ([]byte, error) {
	mediaType, data, err := r.get(ctx, "/manifests/"+d.String(), acceptManifests, maxManifest)
	if err != nil {
		return nil, r.proven(ctx, r.absence(ctx, err, "manifest", d.String()))
	}
	if err := match(ocispec.Descriptor{Digest: d}, data); err != nil {
		return nil, err
	}
	if mediaType != ocispec.MediaTypeImageManifest {
		return nil, fmt.Errorf("%w: the registry calls it %q", ErrNotSignature, mediaType)
	}
	return data, nil
}

// RemoveSignature removes a signature of the image from the list that clients keep under the referrers tag, and then
// deletes its manifest. It does not look at what it deletes: the caller has, with StoredSignature. Repeating it is
// harmless.
//
// In this order, a crash in between leaves no entry that points to nothing, at which notation would give up whatever
// other signatures exist. It leaves a manifest that nobody finds, for the next call.
func (r *Repository) RemoveSignature(ctx context.Context, image, signature digest.Digest) (err error) {
	defer func() { err = classed(err) }()
	return r.remove(ctx, "deleting signature ", image, signature, true)
}

// UnlistSignature removes the entry of a signature that is gone from the list. It deletes nothing.
func (r *Repository) UnlistSignature(ctx context.Context, image, signature digest.Digest) (err error) {
	defer func() { err = classed(err) }()
	return r.remove(ctx, "taking off the list signature ", image, signature, false)
}

// remove and pushes for the same image wait for each other. It does not wait for other processes.
func (r *Repository) remove(ctx context.Context, doing string, image, signature digest.Digest, stored bool) error {
	doing += printable(signature)
	if r.readOnly {
		return r.failed(doing, errReadOnly)
	}
	if err := errors.Join(image.Validate(), signature.Validate()); err != nil {
		return r.failed(doing, err)
	}
	if stored {
		// Find out once per repository whether it deletes manifests at all, by deleting one that does not exist. This
		// comes before the list is changed, so that nothing is left half done.
		if err := r.deletes.do(ctx, func() error { return r.deleteManifest(ctx, nothing) }); err != nil {
			return r.failed(doing, err)
		}
	}
	unlock, err := r.subjects.lock(ctx, image.String())
	if err != nil {
		return r.failed(doing, err)
	}
	defer unlock()
	if err := r.unlist(ctx, image, signature); err != nil {
		return r.failed(doing, fmt.Errorf("changing the list: %w", err))
	}
	if !stored {
		return nil
	}
	return r.failed(doing, r.deleteManifest(ctx, signature))
}

// deleteManifest deletes by digest. A manifest that is gone already is a success; a caller that needs to know asks
// for it afterwards.
//
// SPEC (OCI distribution, deleting manifests): "Upon success, the registry MUST respond with a
// 202 Accepted code. If the repository does not exist, the response MUST return 404 Not Found.
// If manifest deletion is disabled, the registry MUST respond with either a 400 Bad Request or
// a 405 Method Not Allowed."
func (r *Repository) deleteManifest(ctx context.Context, d digest.Digest) error {
	req, err := http.NewRequestWithContext(r.scoped(ctx), http.MethodDelete, r.base+"/manifests/"+d.String(), nil)
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.Request.Method != http.MethodDelete { // a redirect made it a GET, whose answer says nothing
		return errors.New("the registry, or a proxy before it, redirected the deletion, and it was not done\nhint: name the registry by the address that it redirects to, or ask its administrator")
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return nil
	}
	err = problem(resp)
	switch resp.StatusCode {
	case http.StatusNotFound:
		if err := r.proven(ctx, r.absence(ctx, err, "manifest", d.String())); !lookup.IsAbsent(err) {
			return err
		}
		return nil
	case http.StatusMethodNotAllowed, http.StatusBadRequest, http.StatusNotImplemented:
		if !isImmutable(err) { // concerns one manifest, not all
			return fmt.Errorf("%w: %w", ErrDeleteRefused, err)
		}
	}
	return err
}
