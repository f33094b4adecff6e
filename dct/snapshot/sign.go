package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
)

// Verified is the manifest of trust data that [Save] has verified and saved in this process. Only Save makes one; the
// zero Verified must not be signed.
type Verified struct {
	gun      dct.GUN
	manifest ocispec.Descriptor
	expired  []string
}

// verified returns what may be signed of a repository read in this call. It drops the targets, since many wait for
// the next commit.
func verified(r *dct.Repository, manifest ocispec.Descriptor) Verified {
	return Verified{r.GUN(), manifest, r.Expired()}
}

// GUN returns the repository, or the zero GUN for the zero Verified.
func (v Verified) GUN() dct.GUN { return v.gun }

// Manifest returns what to sign: it lists each file with its SHA-256.
func (v Verified) Manifest() ocispec.Descriptor { return v.manifest }

// Expired names what was expired and allowed to be.
func (v Verified) Expired() []string { return slices.Clone(v.expired) }

// A Signer signs what [Save] has verified. It is called from one goroutine.
type Signer interface {
	// Ours reports whether a signature is intact, over the manifest, and by this signer's key. It spends no key
	// operation. An error means that this is unknown.
	Ours(ctx context.Context, manifest ocispec.Descriptor, mediaType string, envelope []byte) (bool, error)
	// Attest spends a key operation. After an error the repository stays saved, without a signature.
	Attest(ctx context.Context, v Verified) (Signature, error)
}

// Signature is an envelope, and the manifest that attaches it to its subject.
type Signature struct {
	MediaType string // of Envelope
	Envelope  []byte
	Manifest  []byte
}

// signPending signs what was saved since the last call. The index must be on the disk: then a signature that a killed
// run did not list is found by its manifest, and a kill costs at most one key operation.
func (w *writer) signPending(ctx context.Context, sum *Summary) error {
	for _, p := range w.pending {
		fresh, err := w.sign(ctx, p.verified)
		var disk *diskError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &disk):
			return disk.err
		case err != nil:
			sum.Unsigned++
			p.saved.Unsigned = fmt.Errorf("signing the trust data of %s: %w", p.saved.GUN, err)
			sum.attend(p.saved)
		case fresh:
			sum.Signed++
		default:
			sum.SignedBefore++
		}
	}
	w.pending = nil
	return nil
}

// pending is a repository that waits for its signature.
type pending struct {
	saved    Saved
	verified Verified
}

// sign adds a signature to a manifest, unless one of ours exists. fresh reports whether a key operation was spent.
func (w *writer) sign(ctx context.Context, v Verified) (fresh bool, err error) {
	if _, ok, err := w.ours(ctx, w.saved, v.manifest); ok || err != nil {
		return false, err
	}
	if a, ok, err := w.ours(ctx, &Snapshot{fsys: w.saved.fsys, attached: w.unlisted}, v.manifest); err != nil {
		return false, err
	} else if ok {
		w.saved.attached = append(w.saved.attached, a)
		return false, nil
	}
	sig, err := w.options.Signer.Attest(ctx, v)
	if err != nil {
		return false, err
	}
	d := signatureDescriptor(sig.Manifest)
	a, ok := attachmentOf(d, sig.Manifest)
	wrong := errors.New("what the signer made is no signature of it")
	if !ok || !a.signs(v.manifest) || a.envelope.Digest != sumOf(sig.Envelope) || d.Size > maxManifest {
		return false, wrong
	}
	if ours, err := w.options.Signer.Ours(ctx, v.manifest, a.envelope.MediaType, sig.Envelope); err != nil {
		return false, err
	} else if !ours {
		return false, wrong
	}
	// Each is on the disk before the next key operation.
	if err := w.put(sig.Envelope, ocispec.DescriptorEmptyJSON.Data, sig.Manifest); err != nil {
		return false, &diskError{err}
	}
	w.saved.attached = append(w.saved.attached, a)
	return true, nil
}

// diskError marks, among the errors of one repository, the one that ends the run.
type diskError struct{ err error }

func (d *diskError) Error() string { return d.err.Error() }

// signatureDescriptor returns a signature's entry in index.json.
func signatureDescriptor(manifest []byte) ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: signatureType,
		Digest: sumOf(manifest), Size: int64(len(manifest)),
	}
}

// ours finds the signer's own signature of a manifest.
func (w *writer) ours(ctx context.Context, s *Snapshot, manifest ocispec.Descriptor) (attachment, bool, error) {
	for _, a := range s.signatures(manifest) {
		blob, err := s.blob(a.envelope.Digest, a.envelope.Size)
		if err != nil {
			continue
		}
		if ours, err := w.options.Signer.Ours(ctx, manifest, a.envelope.MediaType, blob); ours || err != nil {
			return a, ours, err
		}
	}
	return attachment{}, false, nil
}

// findUnlisted looks for signatures among the blobs that no index leads to, which a killed run leaves behind.
func (w *writer) findUnlisted() error {
	names, err := filesIn(blobDir(w.dir), w.unused())
	if err != nil {
		return err
	}
	for _, name := range names {
		sum := digest.NewDigestFromEncoded(digest.SHA256, name)
		raw, err := readRegular(w.saved.fsys, blobName(sum), maxEnvelope)
		if err != nil || sumOf(raw) != sum {
			continue // not a usable signature, whatever it is
		}
		if a, ok := attachmentOf(signatureDescriptor(raw), raw); ok && a.envelope.Size > 0 {
			w.unlisted = append(w.unlisted, a)
		}
	}
	return nil
}

// maySign reports whether a saved manifest can stay as it is when a signer is given. It can if it is signed already,
// or if it equals what would be written now except for the time and the tool's version. So only what was made or
// verified in this process is signed.
func (w *writer) maySign(ctx context.Context, before *entry, now []byte) bool {
	if w.options.Signer == nil || w.asWritten(before, now) {
		return true
	}
	_, signed, err := w.ours(ctx, w.saved, subject(before.manifest))
	return signed || err != nil // sign reports the error
}

func (w *writer) asWritten(before *entry, now []byte) bool {
	raw, err := w.saved.blob(before.manifest.digest(), before.manifest.size)
	if err != nil {
		return false
	}
	var a, b ocispec.Manifest
	if decode(raw, &a) != nil || decode(now, &b) != nil {
		return false
	}
	for _, name := range []string{annotationSaved, annotationTool} {
		delete(a.Annotations, name)
		delete(b.Annotations, name)
	}
	x, err := encode(a)
	y, err2 := encode(b)
	return err == nil && err2 == nil && string(x) == string(y)
}
