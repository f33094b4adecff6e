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

// ErrNotSignature is returned when what the registry has under the digest of a signature is
// none, or one of another image. It must not be deleted.
var ErrNotSignature = errors.New("it is no signature of this image")

// Stored is a signature as the registry has it, its bytes checked against their digests.
type Stored struct {
	MediaType string // of the envelope
	Envelope  []byte
	Manifest  []byte
}

// StoredSignature fetches what the registry has under the digest of a signature of the image.
// It is absent where the registry itself says that it has no such manifest. Whatever is no
// Notation signature manifest of exactly this image is ErrNotSignature, or ErrIntegrity. By
// whom the envelope is, and over what, is the caller's to check.
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

// proven returns the error of a request for what was seen before. That it is gone is believed only
// from a registry that answers for the repository.
func (r *Repository) proven(ctx context.Context, err error) error {
	if lookup.IsAbsent(err) {
		if err := r.answers(ctx); err != nil {
			return err
		}
	}
	return err
}

// manifestOf fetches an OCI image manifest, the form of every signature that PackSignature
// makes. The error is a [*lookup.AbsentError] where the registry itself says that there is none.
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

// RemoveSignature takes a signature of the image off the list that clients keep under the
// referrers tag, and then deletes its manifest. What is deleted is not looked at: the caller
// has, by StoredSignature. Repeating it is harmless.
//
// The order is so that a crash in between leaves no entry that points to nothing: at such an
// entry notation gives up, whatever other signatures there are. What it leaves is a manifest
// that nobody finds, for the next call.
func (r *Repository) RemoveSignature(ctx context.Context, image, signature digest.Digest) (err error) {
	defer func() { err = classed(err) }()
	return r.remove(ctx, "deleting signature ", image, signature, true)
}

// UnlistSignature takes what is left of a signature that is gone off the list. It deletes
// nothing.
func (r *Repository) UnlistSignature(ctx context.Context, image, signature digest.Digest) (err error) {
	defer func() { err = classed(err) }()
	return r.remove(ctx, "taking off the list signature ", image, signature, false)
}

// remove waits for pushes for the image, as they do for it. Other processes are not waited for.
func (r *Repository) remove(ctx context.Context, doing string, image, signature digest.Digest, stored bool) error {
	doing += printable(signature)
	if r.readOnly {
		return r.failed(doing, errReadOnly)
	}
	if err := errors.Join(image.Validate(), signature.Validate()); err != nil {
		return r.failed(doing, err)
	}
	if stored {
		// Whether manifests are deleted at all is found out, once per repository, by deleting
		// one that is not there: before the list is touched, so that nothing is left half done.
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

// deleteManifest deletes by digest. That it is gone already is what was wanted; whoever needs
// to know asks for it afterwards.
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
		if !isImmutable(err) { // of one manifest, not of all
			return fmt.Errorf("%w: %w", ErrDeleteRefused, err)
		}
	}
	return err
}
