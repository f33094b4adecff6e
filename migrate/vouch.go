package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// vouch is the only way to the key for an image (promise 1; a test counts the callers of Signer.Sign, and the other
// is attest, which signs saved trust data and reports). It takes the work's targets, which only verified trust data
// can yield. It refuses a descriptor unless it has their own digest, or the bytes of an index with that digest list
// it. Expiry is checked again here: a run may outlive the metadata it began with.
func (w Work) vouch(ctx context.Context, image ocispec.Descriptor, now time.Time, tool string) (state.Envelope, error) {
	if err := w.vouched(image, now); err != nil {
		return state.Envelope{}, &refusal{err}
	}
	envelope, err := w.key.Signer.Sign(ctx, image, w.metadata(tool))
	if err != nil {
		return state.Envelope{}, &keyError{err}
	}
	return envelope, nil
}

// vouched returns an error unless the work's targets vouch for the image.
func (w Work) vouched(image ocispec.Descriptor, now time.Time) error {
	if len(w.Targets) == 0 || w.key == nil || w.key.Signer == nil {
		return failure.New(failure.Security, errors.New("no target vouches for the image"))
	}
	for _, t := range w.Targets {
		if err := t.Check(now); err != nil {
			return err
		}
		if !w.key.Signs(t) {
			return failure.New(failure.Security, fmt.Errorf("key %s does not stand for tag %s of %s", w.key.Signer.Name(), t.Tag(), t.GUN()))
		}
		if t.GUN() != w.Targets[0].GUN() {
			return failure.New(failure.Security, fmt.Errorf("tag %s is of %s, and tag %s of %s", t.Tag(), t.GUN(), w.Targets[0].Tag(), w.Targets[0].GUN()))
		}
		if err := w.checkMembership(t, image); err != nil {
			return failure.New(failure.Security, fmt.Errorf("tag %s of %s has digest %s in DCT: %w", t.Tag(), t.GUN(), t.Digest(), err))
		}
	}
	for _, c := range w.chains { // they are signed as metadata
		if !slices.ContainsFunc(w.Targets, func(t dct.Target) bool { return t.Digest() == c.head() }) {
			return failure.New(failure.Security, fmt.Errorf("no target vouches for index %s", c.head()))
		}
	}
	return nil
}

// refusal marks what was not signed because nothing vouches for it. The key was not asked.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }
