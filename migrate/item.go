package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/retry"
	"github.com/dct2notation/dct2notation/state"
)

// item is one item being processed by a run. It belongs to one goroutine.
type item struct {
	*run
	Work
	stage state.Stage // as the ledger has it
	out   Outcome     // of the current attempt
}

// process brings the item to its end: confirmed, skipped or failed. Its error ends the run; everything else is
// recorded on the item.
func (i *item) process(ctx context.Context) error {
	result := ResultReplayed
	if i.stage == state.Planned || i.stage == state.Confirmed {
		result = ResultSigned // by this run, in however many attempts
	}
	for try := 1; ; try++ {
		err := i.attempt(ctx, result)
		var fatal *failure.Fatal
		switch {
		case err == nil:
			i.breaker.Success("")
			if i.out.Result == ResultSigned || i.out.Result == ResultReplayed {
				i.breaker.pushed()
			}
			i.count(i.Work, i.out)
			return nil
		case ctx.Err() != nil:
			return ctx.Err() // the item stays in its stage; the next run goes on from there
		case errors.Is(err, ErrSpent):
			i.spent.Store(true)
			return nil
		case errors.Is(err, errDrained):
			return nil
		case errors.As(err, &fatal):
			return err
		}
		class := failure.Of(err)
		var later *putOff
		if errors.As(err, &later) {
			return i.fail(class, err)
		}
		// An item that opened the breaker reports it: nobody else will.
		if class.Repeatable() && try < retry.MaxTries && i.breaker.Open() == nil {
			if i.pause(ctx, try) {
				continue
			}
			if ctx.Err() != nil || i.stage == state.Signed || i.stage == state.Pushed {
				return ctx.Err() // the item stays in its stage: being cut short by a signal is not a failure
			}
		}
		i.tellBreaker(class, err)
		if err := i.fail(class, err); err != nil {
			return err
		}
		return failure.Fatally(i.breaker.Open())
	}
}

// tellBreaker reports a failed item to the breaker and to the setbacks.
func (i *item) tellBreaker(class failure.Class, err error) {
	var key *keyError
	var own *refusal
	var push *pushError
	switch {
	case class == failure.Full:
		i.breaker.fill(i.Key.Repository, err)
	case errors.As(err, &key): // the breaker has been told of failures that cannot pass
		i.Setbacks.note(i.Key, class, err, i.now())
		if class.Repeatable() {
			i.breaker.Failure(i.Key.KeyName, class, err)
		}
	case errors.As(err, &own): // likewise
	case errors.As(err, &push):
		i.breaker.Failure(ofPushes, class, err)
	default:
		i.breaker.Failure("", class, err)
	}
}

// errDrained says that an item was left as it was because the run is ending.
var errDrained = errors.New("run is ending")

// pause waits before an item is tried again. It returns false if the run is ending.
func (i *item) pause(ctx context.Context, try int) bool {
	return retry.Pause(ctx, i.stop, cmp.Or(i.Pause, time.Second), try)
}

// attempt takes the item as far as it goes. It updates the stage as the ledger does, so that another attempt
// continues where this one ended. result is the item's result once it is published.
func (i *item) attempt(ctx context.Context, result Result) error {
	i.out = i.outcome(i.Work, result)
	fresh := i.stage == state.Planned || i.stage == state.Confirmed // if so, this attempt signs what it pushes
	var image Image
	var looked *Found
	if fresh {
		x, err := i.inspector.inspect(ctx, i.Work)
		if err != nil {
			return err
		}
		image, i.out.Notes = x.Image, append(i.out.Notes, x.notes()...)
		ours, done, err := i.alreadySigned(ctx, x)
		if done || err != nil {
			return err
		}
		if err := i.sign(ctx, x, len(ours) > 0); err != nil {
			return err
		}
		looked = &x.Found
	} else {
		// An envelope of an earlier run counts as the key's only if the key has that identity, which may be known
		// from the ledger alone.
		err := i.keyTold(i.prove(ctx))
		if err != nil {
			return err
		}
		image, err = i.image(ctx)
		switch {
		case failure.Of(err) == failure.Missing: // keep the envelope for the day when the image is back
			if err := i.missing(ctx); err != nil {
				return err
			}
			return i.skip(failure.Missing, noSuchDigest)
		case err != nil:
			return err
		}
		if err := i.checkListed(image.Descriptor); err != nil {
			return err
		}
		if done, err := i.outdated(ctx, image); err != nil {
			return err
		} else if done {
			return i.attempt(ctx, ResultSigned)
		}
	}
	all, err := i.publish(ctx, image, looked)
	if err != nil {
		return err
	}
	it, _, err := i.Ledger.Item(i.Key)
	i.out.Leaf = cmp.Or(it.SignedBy.Leaf, i.key.Signer.Leaf()) // of an envelope by an older version, which was checked
	i.out.Expires = it.SignedBy.VerifiesUntil()
	i.out.Notes = append(append(i.out.Notes, crowded(all)...), i.recordedNotes(it)...)
	return failure.Fatally(err)
}

// alreadySigned ends an item that is not to be signed, by its inspection: it cannot be signed, or it is signed already.
// Otherwise it returns our existing signatures, if any, which another is to join.
func (i *item) alreadySigned(ctx context.Context, x Inspected) (ours []Signature, done bool, err error) {
	if x.Skip == failure.Missing {
		if err := i.missing(ctx); err != nil {
			return nil, true, err
		}
	}
	if x.Skip != "" {
		if err := i.reopen(); err != nil {
			return nil, true, err
		}
		return nil, true, i.skip(x.Skip, x.Reason)
	}
	known, _, err := i.Ledger.Item(i.Key)
	if err != nil {
		return nil, true, failure.Fatally(err)
	}
	ours, err = i.inspector.ours(ctx, i.Work, x, known, i.relisted)
	if err != nil || len(ours) == 0 {
		return nil, err != nil, i.keyTold(err)
	}
	best, lacking := i.best(ours, known.Signature), i.unbound(ours)
	renew := i.inspector.renews(i.Work, best)
	switch {
	case i.inspector.enough(i.Work, ours, known.Signature):
		i.out.Result, i.out.Leaf, i.out.Expires, i.out.Reason = ResultAlready, best.By.Leaf, best.By.VerifiesUntil(), "the registry has a signature of this key"
		i.out.Notes = append(append(append(i.out.Notes, crowded(x.Found.all())...), unboundNotes(lacking)...), i.otherNotes(best)...)
		return nil, true, failure.Fatally(i.adopt(ours))
	case x.Found.Unread > 0:
		return nil, true, x.tooMany()
	case renew:
		i.out.Notes = append(i.out.Notes, resignedNote(best))
	}
	if i.Rebind {
		i.out.Notes = append(i.out.Notes, reboundNotes(lacking)...)
	}
	return ours, false, nil
}

// skip records that the item is not signed, and why.
func (i *item) skip(class failure.Class, reason string) error {
	i.out.Result, i.out.Class, i.out.Reason = ResultSkipped, class, reason
	return failure.Fatally(i.Ledger.Skip(i.Key, string(class), reason))
}

// missing returns an error unless the registry's word can be believed that it does not have an image. An image that
// an earlier run signed was there: then the registry has to answer for its repository.
func (i *item) missing(ctx context.Context) error {
	if i.stage == state.Planned {
		return nil
	}
	if err := i.Registry.Answers(ctx, i.Key.Repository); err != nil {
		return fmt.Errorf("looking for %s, which an earlier run has signed and the registry says it does not have: %w", i.Key.Digest, err)
	}
	return nil
}

// relisted is a look that repairs a lost entry. If a signature is not listed and the list is in a tag, another writer
// may have overwritten its entry, so relisted stores the signature again unchanged.
func (i *item) relisted(ctx context.Context, w Work, image Image, signature string) (Signature, bool, error) {
	s, found, err := i.inspector.recorded(ctx, w, image, signature)
	if !errors.Is(err, ErrUnlisted) || !i.Registry.ListsInTag(image.Repository) {
		return s, found, err
	}
	if err := i.Registry.Relist(ctx, image, signature); err != nil {
		return Signature{}, false, fmt.Errorf("listing the signature that the ledger names again: %w", err)
	}
	return i.inspector.recorded(ctx, w, image, signature)
}

// keyTold reports the error to the breaker if the key could not be proven. It returns the error.
func (i *item) keyTold(err error) error {
	var key *keyError
	if errors.As(err, &key) {
		return i.keyRefused(err)
	}
	return err
}

// keyRefused reports an error that cannot pass to the breaker at once, unless the key was not asked because the run's
// budget is spent. It returns the error.
func (i *item) keyRefused(err error) error {
	if class := failure.Of(err); !class.Repeatable() && !errors.Is(err, ErrSpent) {
		i.breaker.Failure(i.Key.KeyName, class, err)
	}
	return err
}

// reopen takes back an item that the ledger has as done: the registry has no such signature, or too few tags are
// bound.
func (i *item) reopen() error {
	if i.stage != state.Confirmed {
		return nil
	}
	to, err := i.Ledger.Reopen(i.Key)
	if err != nil {
		return failure.Fatally(err)
	}
	i.stage = to
	return nil
}

// sign makes the expensive effect durable before anything relies on it. It holds the key's slot until the envelope is
// on disk, so that a kill wastes at most one key operation per slot. beside says that the image already has
// signatures of ours, and gets another.
func (i *item) sign(ctx context.Context, x Inspected, beside bool) error {
	slot := i.slots[i.Key.KeyName]
	select {
	case slot <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-i.stop:
		return errDrained
	}
	defer func() { <-slot }()
	if i.breaker.Open() != nil {
		return errDrained
	}
	if err := i.breaker.room(i.Key.Repository); err != nil {
		return failure.New(failure.Full, fmt.Errorf("not signed, as there is no room for its signature: %w", err))
	}
	if err := i.Setbacks.hold(i.Key, i.now()); err != nil {
		return err
	}
	if err := i.Registry.CheckList(ctx, x.Image, x.Found.InTag); err != nil {
		return fmt.Errorf("before signing: %w", err)
	}
	i.notify(Event{Key: &KeyNews{Name: i.Key.KeyName}})
	envelope, err := i.vouch(ctx, x.Image.Descriptor, i.now(), i.Tool)
	i.notify(Event{Key: &KeyNews{Name: i.Key.KeyName, Ended: true}})
	if err != nil {
		return i.keyRefused(err)
	}
	envelope.Beside = beside
	i.breaker.Success(i.Key.KeyName)
	i.Setbacks.forget(i.Key)
	if i.signBeforeRecord {
		if _, err := i.Registry.Push(ctx, x.Image, envelope, x.Found.InTag); err != nil {
			return err
		}
	}
	if err := i.reopen(); err != nil {
		return err
	}
	if err := i.Ledger.Sign(i.Key, envelope); err != nil {
		return failure.Fatally(err)
	}
	i.stage = state.Signed
	return nil
}

// adopt records signatures of ours that were found in the registry, not made now. If the ledger knows them already,
// nothing is written.
func (i *item) adopt(ours []Signature) error {
	it, _, err := i.Ledger.Item(i.Key)
	if err != nil {
		return err
	}
	best, bound := i.best(ours, it.Signature), i.boundBy(ours)
	if best.Digest == it.Signature {
		best.By.Authority = it.SignedBy.Authority // the envelope does not say this
	}
	if it.Stage == state.Confirmed && it.Signature == best.Digest && it.SignedBy.Equal(best.By) && it.Bound != nil && maps.Equal(it.Bound, bound) {
		return nil
	}
	return i.Ledger.Adopt(i.Key, best.Digest, best.By, bound)
}

// fail records a failure on the item, and ends the run only if the ledger cannot record it. An item that was done and
// could not be inspected again stays done in the ledger; the report has the failure.
func (i *item) fail(class failure.Class, cause error) error {
	i.failed(i.Work, class, cause)
	if i.stage == state.Confirmed {
		return nil
	}
	return failure.Fatally(i.Ledger.Fail(i.Key, string(class), cause.Error()))
}

// keyError marks a failure of the key itself.
type keyError struct{ err error }

func (k *keyError) Error() string { return k.err.Error() }
func (k *keyError) Unwrap() error { return k.err }

// pushError marks a signature that a registry did not take.
type pushError struct{ err error }

func (p *pushError) Error() string { return p.err.Error() }
func (p *pushError) Unwrap() error { return p.err }
