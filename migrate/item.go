package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/retry"
	"github.com/dct2notation/dct2notation/state"
)

// processItem brings one item to its end: confirmed, skipped or failed. Its error ends the
// run; all else is recorded on the item. stage is where the ledger has it.
func (r *run) processItem(ctx context.Context, w Work, stage state.Stage) error {
	result := ResultReplayed
	if stage == state.Planned || stage == state.Confirmed {
		result = ResultSigned // by this run, in however many attempts
	}
	for try := 1; ; try++ {
		o, err := r.attempt(ctx, w, &stage, result)
		var fatal *failure.Fatal
		switch {
		case err == nil:
			r.breaker.Success("")
			if o.Result == ResultSigned || o.Result == ResultReplayed {
				r.breaker.pushed()
			}
			r.count(w, o)
			return nil
		case ctx.Err() != nil:
			return ctx.Err() // the item stays in its stage; the next run goes on from there
		case errors.Is(err, errDrained):
			return nil
		case errors.As(err, &fatal):
			return err
		}
		class := failure.Of(err)
		var later *putOff
		if errors.As(err, &later) {
			return r.fail(w, stage, class, err)
		}
		// Whoever opened the breaker says so: nobody else will.
		if class.Repeatable() && try < retry.MaxTries && r.breaker.Open() == nil {
			if r.pause(ctx, try) {
				continue
			}
			if ctx.Err() != nil || stage == state.Signed || stage == state.Pushed {
				return ctx.Err() // the item stays in its stage: what a signal cuts short is no failure
			}
		}
		var key *keyError
		var own *refusal
		var push *pushError
		switch {
		case class == failure.Full:
			r.breaker.fill(w.Key.Repository, err)
		case errors.As(err, &key): // the breaker was told of what cannot pass
			r.Setbacks.note(w.Key, class, err, r.now())
			if class.Repeatable() {
				r.breaker.Failure(w.Key.KeyName, class, err)
			}
		case errors.As(err, &own): // as well
		case errors.As(err, &push):
			r.breaker.Failure(ofPushes, class, err)
		default:
			r.breaker.Failure("", class, err)
		}
		if err := r.fail(w, stage, class, err); err != nil {
			return err
		}
		return failure.Fatally(r.breaker.Open())
	}
}

// errDrained says that an item was left as it was because the run is ending.
var errDrained = errors.New("run is ending")

// Pause waits before an item is tried again. It returns false when the run is to end.
func (r *run) pause(ctx context.Context, try int) bool {
	return retry.Pause(ctx, r.stop, cmp.Or(r.Pause, time.Second), try)
}

// attempt takes the item as far as it goes. It updates stage as the ledger does, so that
// another attempt goes on where this one ended; result is what publishing it amounts to.
func (r *run) attempt(ctx context.Context, w Work, stage *state.Stage, result Result) (Outcome, error) {
	o := r.outcome(w, result)
	fresh := *stage == state.Planned || *stage == state.Confirmed // what is pushed is what this attempt signed
	var image Image
	var looked *Found
	if fresh {
		x, err := r.inspect(ctx, w)
		if err != nil {
			return o, err
		}
		image, o.Notes = x.Image, append(o.Notes, x.notes()...)
		ours, done, err := r.alreadySigned(ctx, w, x, stage, &o)
		if done || err != nil {
			return o, err
		}
		if err := r.sign(ctx, w, x, len(ours) > 0, stage); err != nil {
			return o, err
		}
		looked = &x.Found
	} else {
		// What an earlier run left counts as the key's only if the key has that identity, which may
		// be known from the ledger alone.
		err := r.keyTold(w, r.prove(ctx, w))
		if err != nil {
			return o, err
		}
		image, err = r.image(ctx, w)
		switch {
		case failure.Of(err) == failure.Missing: // the envelope is kept for the day on which the image is back
			if err := r.missing(ctx, w, *stage); err != nil {
				return o, err
			}
			o.Result, o.Class, o.Reason = ResultSkipped, failure.Missing, noSuchDigest
			return o, failure.Fatally(r.Ledger.Skip(w.Key, string(failure.Missing), noSuchDigest))
		case err != nil:
			return o, err
		}
		if done, err := r.outdated(ctx, w, image, stage); err != nil {
			return o, err
		} else if done {
			return r.attempt(ctx, w, stage, ResultSigned)
		}
	}
	all, err := r.publish(ctx, w, image, stage, looked, &o)
	if err != nil {
		return o, err
	}
	it, _, err := r.Ledger.Item(w.Key)
	o.Leaf = cmp.Or(it.SignedBy.Leaf, w.key.Signer.Leaf()) // of an older version's envelope, which was checked
	o.Expires = it.SignedBy.VerifiesUntil()
	o.Notes = append(append(o.Notes, crowded(all)...), w.recordedNotes(it)...)
	return o, failure.Fatally(err)
}

// alreadySigned ends an item that is not to be signed after what the registry showed of it: it
// cannot be, or it is already. It says in o how it ended. Else it returns the signatures of ours, if
// there are any, beside which another is wanted.
func (r *run) alreadySigned(ctx context.Context, w Work, x Inspected, stage *state.Stage, o *Outcome) (ours []Signature, done bool, err error) {
	if x.Skip == failure.Missing {
		if err := r.missing(ctx, w, *stage); err != nil {
			return nil, true, err
		}
	}
	if x.Skip != "" {
		o.Result, o.Class, o.Reason = ResultSkipped, x.Skip, x.Reason
		if err := r.reopen(w, stage); err != nil {
			return nil, true, err
		}
		return nil, true, failure.Fatally(r.Ledger.Skip(w.Key, string(x.Skip), x.Reason))
	}
	known, _, err := r.Ledger.Item(w.Key)
	if err != nil {
		return nil, true, failure.Fatally(err)
	}
	ours, err = r.ours(ctx, w, x, known, r.relisted)
	if err != nil || len(ours) == 0 {
		return nil, err != nil, r.keyTold(w, err)
	}
	best, lacking := w.best(ours, known.Signature), w.unbound(ours)
	renew := r.renews(w, best)
	switch {
	case r.enough(w, ours, known.Signature):
		o.Result, o.Leaf, o.Expires, o.Reason = ResultAlready, best.By.Leaf, best.By.VerifiesUntil(), "the registry has a signature of this key"
		o.Notes = append(append(append(o.Notes, crowded(x.Found.all())...), unboundNotes(lacking)...), w.otherNotes(best)...)
		return nil, true, failure.Fatally(r.adopt(w, ours))
	case x.Found.Unread > 0:
		return nil, true, x.tooMany()
	case renew:
		o.Notes = append(o.Notes, resignedNote(best))
	}
	if r.Rebind {
		o.Notes = append(o.Notes, reboundNotes(lacking)...)
	}
	return ours, false, nil
}

// missing returns an error unless it may be believed that the registry does not have an image.
// One that an earlier run has signed was there: then the registry has to answer for its repository.
func (r *run) missing(ctx context.Context, w Work, stage state.Stage) error {
	if stage == state.Planned {
		return nil
	}
	if err := r.Registry.Answers(ctx, w.Key.Repository); err != nil {
		return fmt.Errorf("looking for %s, which an earlier run has signed and the registry says it does not have: %w", w.Key.Digest, err)
	}
	return nil
}

// keyTold tells the breaker of an error, if the key could not be proven. It returns the error.
func (r *run) keyTold(w Work, err error) error {
	var key *keyError
	if errors.As(err, &key) {
		return r.keyRefused(w, err)
	}
	return err
}

// keyRefused tells the breaker at once of an error that cannot pass. It returns the error.
func (r *run) keyRefused(w Work, err error) error {
	if class := failure.Of(err); !class.Repeatable() {
		r.breaker.Failure(w.Key.KeyName, class, err)
	}
	return err
}

// reopen takes back an item that the ledger has as done: the registry says otherwise, or not
// enough is bound.
func (r *run) reopen(w Work, stage *state.Stage) error {
	if *stage != state.Confirmed {
		return nil
	}
	to, err := r.Ledger.Reopen(w.Key)
	if err != nil {
		return failure.Fatally(err)
	}
	*stage = to
	return nil
}

// sign makes the expensive effect durable before anything rests on it. The key's slot is
// held until the envelope is on disk, so that a kill wastes at most one key operation for
// each slot. beside says that the image has signatures of ours, and is to have another.
func (r *run) sign(ctx context.Context, w Work, x Inspected, beside bool, stage *state.Stage) error {
	image := x.Image
	slot := r.slots[w.Key.KeyName]
	select {
	case slot <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.stop:
		return errDrained
	}
	defer func() { <-slot }()
	if r.breaker.Open() != nil {
		return errDrained
	}
	if err := r.breaker.room(w.Key.Repository); err != nil {
		return failure.New(failure.Full, fmt.Errorf("not signed, as there is no room for its signature: %w", err))
	}
	if err := r.Setbacks.hold(w.Key, r.now()); err != nil {
		return err
	}
	if err := r.Registry.CheckList(ctx, image, x.Found.InTag); err != nil {
		return fmt.Errorf("before signing: %w", err)
	}
	envelope, err := r.vouch(ctx, w, image.Descriptor)
	if err != nil {
		return r.keyRefused(w, err)
	}
	envelope.Beside = beside
	r.breaker.Success(w.Key.KeyName)
	r.Setbacks.forget(w.Key)
	if r.signBeforeRecord {
		if err := r.Registry.Push(ctx, image, envelope, x.Found.InTag); err != nil {
			return err
		}
	}
	if err := r.reopen(w, stage); err != nil {
		return err
	}
	if err := r.Ledger.Sign(w.Key, envelope); err != nil {
		return failure.Fatally(err)
	}
	*stage = state.Signed
	return nil
}

// notes tell what a person should know of an item that was looked at.
func (x Inspected) notes() []string {
	notes := x.Notes
	for _, t := range x.Tags {
		switch t.Class {
		case TagMoved:
			notes = append(notes, fmt.Sprintf("%s: tag %s points to %s in the registry; DCT's digest is signed", TagMoved, t.Tag, t.Now))
		case TagGone:
			notes = append(notes, fmt.Sprintf("%s: the registry has no tag %s; DCT's digest is signed", TagGone, t.Tag))
		}
	}
	return notes
}

// fail records a failure on its item, and ends the run only if the ledger cannot. An item that
// was done and could not be looked at again stays done in the ledger; the report tells.
func (r *run) fail(w Work, stage state.Stage, class failure.Class, cause error) error {
	o := r.outcome(w, ResultFailed)
	o.Class, o.HostCause, o.Reason = class, failure.HostCause(cause), cause.Error()
	r.count(w, o)
	if stage == state.Confirmed {
		return nil
	}
	return failure.Fatally(r.Ledger.Fail(w.Key, string(class), cause.Error()))
}

// keyError marks what went wrong with the key itself.
type keyError struct{ err error }

func (k *keyError) Error() string { return k.err.Error() }
func (k *keyError) Unwrap() error { return k.err }

// pushError marks a signature that a registry did not take.
type pushError struct{ err error }

func (p *pushError) Error() string { return p.err.Error() }
func (p *pushError) Unwrap() error { return p.err }
