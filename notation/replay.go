package notation

import (
	"context"
	"errors"
	"fmt"

	notationgo "github.com/notaryproject/notation-go"
	notationregistry "github.com/notaryproject/notation-go/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// MaxSignatures is how many signatures of an image are judged: as many as in notation verify by default.
const MaxSignatures = 100

// Entry is a listed signature, with the result of fetching and judging it.
type Entry struct {
	Listed    ocispec.Descriptor
	MediaType string // of Blob
	Blob      []byte // the envelope
	Err       error  // why it could not be fetched; nil: Verdict holds
	Verdict   Verdict
}

// Replay runs notation-go's own Verify over what was fetched, in the registry's order, and returns an error that
// begins with the reason if notation verify refuses the image. Its result can differ from the best verdict: notation
// verify stops at the first entry that it cannot fetch, and after [MaxSignatures].
//
// It sends no request and verifies nothing twice: notation-go gets what Verifier.Verify said of each envelope.
// reference is host/repository@digest, and subject has that digest.
func Replay(ctx context.Context, reference string, subject ocispec.Descriptor, entries []Entry) error {
	r := &replay{subject: subject, entries: entries, at: -1}
	_, _, err := notationgo.Verify(ctx, r, r, notationgo.VerifyOptions{ArtifactReference: reference, MaxSignatureAttempts: MaxSignatures})
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	if r.at >= 0 && r.entries[r.at].Err != nil {
		e := r.entries[r.at]
		return fmt.Errorf("entry %d of the list, %s, cannot be fetched: %s", r.at+1, safetext.Safe(e.Listed.Digest.String(), 100), safetext.Safe(e.Err.Error(), 300))
	}
	return errors.New(safetext.Safe(err.Error(), 300))
}

// replay is the registry and the verifier for notation-go, which takes one entry after the other, and asks for each
// blob once.
type replay struct {
	subject ocispec.Descriptor
	entries []Entry
	at      int // index of the entry fetched last
}

var (
	_ notationregistry.Repository = (*replay)(nil)
	_ notationgo.Verifier         = (*replay)(nil)
)

// Resolve implements notation-go's registry.Repository.
func (r *replay) Resolve(context.Context, string) (ocispec.Descriptor, error) { return r.subject, nil }

// ListSignatures implements notation-go's registry.Repository.
func (r *replay) ListSignatures(_ context.Context, _ ocispec.Descriptor, each func([]ocispec.Descriptor) error) error {
	var list []ocispec.Descriptor
	for _, e := range r.entries {
		list = append(list, e.Listed)
	}
	return each(list)
}

// FetchSignatureBlob implements notation-go's registry.Repository.
func (r *replay) FetchSignatureBlob(context.Context, ocispec.Descriptor) ([]byte, ocispec.Descriptor, error) {
	r.at++
	e := r.entries[r.at]
	return e.Blob, ocispec.Descriptor{MediaType: e.MediaType, Size: int64(len(e.Blob))}, e.Err
}

// PushSignature implements notation-go's registry.Repository.
func (r *replay) PushSignature(context.Context, string, []byte, ocispec.Descriptor, map[string]string) (blob, manifest ocispec.Descriptor, err error) {
	return blob, manifest, errors.New("nothing is pushed in a replay")
}

// Verify implements notation-go's Verifier.
func (r *replay) Verify(context.Context, ocispec.Descriptor, []byte, notationgo.VerifierVerifyOptions) (*notationgo.VerificationOutcome, error) {
	v := r.entries[r.at].Verdict
	if v.Trusted {
		return &notationgo.VerificationOutcome{}, nil
	}
	err := errors.New(v.Reason)
	return &notationgo.VerificationOutcome{Error: err}, err
}
