package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/state"
)

// vouch is the only way to the key for an image (promise 1; a test counts the callers of
// Signer.Sign, and the other is attest, which signs saved trust data). It takes the work's
// targets, which only verified trust data can yield, and refuses a descriptor that is not
// their own digest, nor listed by the very bytes of an index of that digest. Expiry is
// checked again here: a run may outlive the metadata it began with.
func (e *Engine) vouch(ctx context.Context, w Work, image ocispec.Descriptor) (state.Envelope, error) {
	if len(w.Targets) == 0 || w.key.Signer == nil {
		return state.Envelope{}, &Failure{Security, errors.New("no target vouches for the image")}
	}
	now := e.now()
	for _, t := range w.Targets {
		if err := t.Check(now); err != nil {
			return state.Envelope{}, err
		}
		if !w.key.signs(t) {
			return state.Envelope{}, &Failure{Security, fmt.Errorf("key %s does not stand for tag %s of %s", w.key.Signer.Name(), t.Tag(), t.GUN())}
		}
		if t.GUN() != w.Targets[0].GUN() {
			return state.Envelope{}, &Failure{Security, fmt.Errorf("tag %s is of %s, and tag %s of %s", t.Tag(), t.GUN(), w.Targets[0].Tag(), w.Targets[0].GUN())}
		}
		if err := w.leads(t, image); err != nil {
			return state.Envelope{}, &Failure{Security, fmt.Errorf("tag %s of %s has digest %s in DCT: %w", t.Tag(), t.GUN(), t.Digest(), err)}
		}
	}
	for _, c := range w.chains { // they are signed as metadata
		if !slices.ContainsFunc(w.Targets, func(t dct.Target) bool { return t.Digest() == c.head() }) {
			return state.Envelope{}, &Failure{Security, fmt.Errorf("no target vouches for index %s", c.head())}
		}
	}
	return w.key.Signer.Sign(ctx, image, w.metadata(e.Tool))
}
