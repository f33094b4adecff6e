package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/retry"
	"github.com/dct2notation/dct2notation/state"
)

// publish replays the envelope from the ledger until the registry lists it, whether this
// run signed it or an earlier one: recovery takes the way that is taken every day. It returns
// how many signatures the registry lists then. Where another machine has signed meanwhile, it
// throws the envelope away and says so in o. looked is what the look found on which this attempt
// has signed; nil: it has not.
func (r *run) publish(ctx context.Context, w Work, image Image, stage *state.Stage, looked *Found, o *Outcome) (all int, err error) {
	envelope, ok, err := r.Ledger.Envelope(w.Key)
	if err == nil && !ok {
		err = fmt.Errorf("ledger has no envelope of %s, which it says is %s", w.Key, *stage)
	}
	if err != nil {
		return 0, failure.Fatally(err)
	}
	// The ledger may have been changed by others since, or the key's certificate. What was
	// signed a moment ago was checked then.
	if looked == nil {
		err = w.key.Signer.Check(image.Descriptor, envelope)
	}
	if errors.Is(err, ErrEnded) { // in the last moment: the next attempt makes another
		return 0, failure.New(failure.Transient, fmt.Errorf("envelope of %s@%s in the ledger: %w", w.Key.Repository, w.Key.Digest, err))
	}
	if err != nil {
		return 0, failure.New(failure.Security, fmt.Errorf("envelope of %s@%s in the ledger: %w\nhint: somebody has changed the ledger, or its file is damaged: begin a new one with --state, and name the certificates of earlier signatures with --accept-certificate", w.Key.Repository, w.Key.Digest, err))
	}
	if *stage == state.Pushed {
		// Pushed before and not seen to be listed. On a registry without the referrers API
		// another writer may have overwritten the list; pushing the same bytes again
		// repairs that.
		listed, err := r.Registry.Listed(ctx, image)
		if err != nil {
			return 0, fmt.Errorf("confirming the signature: %w", err)
		}
		if slices.Contains(listed, envelope.ManifestDigest) {
			return len(listed), failure.Fatally(r.Ledger.Confirm(w.Key, envelope.ManifestDigest))
		}
	}
	inTag := false
	if *stage == state.Signed {
		last, done, err := r.meanwhile(ctx, w, image, envelope, looked, o)
		if done || err != nil {
			return last.all(), err
		}
		inTag = last.InTag
	}
	if err := r.Registry.Push(ctx, image, envelope, inTag); err != nil {
		return 0, &pushError{err}
	}
	if *stage == state.Signed {
		// Recorded even when ctx has ended meanwhile: the signature exists.
		if err := r.Ledger.Push(w.Key, envelope.ManifestDigest); err != nil {
			return 0, failure.Fatally(err)
		}
		*stage = state.Pushed
	}
	return r.confirm(ctx, w, image, envelope.ManifestDigest)
}

// meanwhile looks, where others may sign the same images with the same key, or an earlier attempt has
// left the envelope, whether a signature is there now that makes it needless. Then the envelope is not
// pushed: it would be one signature more. It returns what the last look found.
func (r *run) meanwhile(ctx context.Context, w Work, image Image, envelope state.Envelope, looked *Found, o *Outcome) (_ Found, done bool, err error) {
	if looked != nil && !r.Shared && !r.Registry.ListsInTag(image.Repository) {
		return *looked, false, nil
	}
	found, err := r.Registry.Find(ctx, image, w.Key.KeyName)
	if err != nil {
		return Found{}, false, fmt.Errorf("looking again before the push: %w", err)
	}
	others, needless := r.superseded(w, envelope, found.Ours)
	if !needless {
		return found, false, nil
	}
	if err := r.keyTold(w, r.prove(ctx, w)); err != nil {
		return Found{}, false, err
	}
	if err := r.Ledger.Discard(w.Key, "another run has signed it meanwhile"); err != nil {
		return Found{}, false, failure.Fatally(err)
	}
	if err := r.adopt(w, others); err != nil {
		return Found{}, false, failure.Fatally(err)
	}
	o.Result, o.Reason, o.Wasted = ResultAlready, "another run has signed it meanwhile", true
	o.Notes = append(o.Notes, "wasted: one key operation, whose signature was not pushed")
	return found, true, nil
}

// image describes an item's image anew, for an item that was signed earlier.
func (r *run) image(ctx context.Context, w Work) (Image, error) {
	desc, err := r.Registry.Resolve(ctx, w.Key.Repository, w.digest())
	if err != nil {
		return Image{}, err
	}
	return Image{w.Key.Repository, desc}, nil
}

// confirm waits until the registry lists the signature: a push that was answered is not
// yet a signature that others find.
func (r *run) confirm(ctx context.Context, w Work, image Image, signature string) (all int, err error) {
	for try := 1; ; try++ {
		listed, err := r.Registry.Listed(ctx, image)
		if err != nil {
			return 0, fmt.Errorf("confirming the signature: %w", err)
		}
		if slices.Contains(listed, signature) {
			return len(listed), failure.Fatally(r.Ledger.Confirm(w.Key, signature))
		}
		if try < retry.MaxTries && !r.pause(ctx, try) {
			return 0, errDrained // it is pushed, and the next run looks again
		}
		if try == retry.MaxTries {
			return 0, failure.New(failure.Transient, fmt.Errorf("the signature of %s@%s was pushed, and the registry does not list it", w.Key.Repository, w.Key.Digest))
		}
	}
}
