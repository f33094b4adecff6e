package state

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A move is one row of the table of allowed stage changes.
type move struct {
	kind EventKind
	from []Stage
}

var (
	moveSign    = move{EventSigned, []Stage{Planned}}
	movePush    = move{EventPushed, []Stage{Signed}}
	moveConfirm = move{EventConfirmed, []Stage{Planned, Signed, Pushed}}
	moveAdopt   = move{EventConfirmed, []Stage{Planned, Confirmed}}
	moveReopen  = move{EventReopened, []Stage{Confirmed, Pushed}}
	moveDiscard = move{EventDiscarded, []Stage{Signed, Failed}}
	moveSkip    = move{EventSkipped, []Stage{Planned, Signed, Pushed}}
	moveFail    = move{EventFailed, []Stage{Planned, Signed, Pushed}}
	moveUndo    = move{EventUndone, []Stage{Planned, Signed, Pushed, Confirmed, Skipped, Failed}}
)

// move changes the item in one transaction, if the move starts from its stage; otherwise it returns a *StaleError.
// change edits the item, may fill in the event, and after writing to the batch must not return an error other than
// the batch's own.
func (l *Ledger) move(m move, k Key, change func(*batch, *Item, *Event) error) error {
	if err := k.check(); err != nil {
		return fmt.Errorf("recording %s: %w", m.kind, err)
	}
	return l.do(func(b *batch) error {
		item, _, err := b.item(k)
		if err != nil {
			return err
		}
		if !slices.Contains(m.from, item.Stage) {
			return refusal{&StaleError{Move: string(m.kind), Key: k, Expected: m.from, Found: item.Stage}}
		}
		before, event := item.Stage, Event{Kind: m.kind, Item: k, GUN: item.GUN}
		if err := change(b, &item, &event); err != nil {
			return err
		}
		if err := b.putItem(item, before); err != nil {
			return err
		}
		if event.Signature == "" {
			event.Signature = item.Signature
		}
		if l.again(event) {
			return nil
		}
		return b.log(event)
	})
}

// maxEnds bounds the remembered ends.
const maxEnds = 100_000

// again reports whether an item ended as it did before, in this process and with nothing in between. A process that
// retries every few minutes would otherwise fill the file with such events.
func (l *Ledger) again(e Event) bool {
	if e.Kind != EventSkipped && e.Kind != EventFailed {
		delete(l.ends, e.Item)
		return false
	}
	end := string(e.Kind) + " " + e.Class
	if l.ends[e.Item] == end {
		return true
	}
	if l.ends == nil || len(l.ends) >= maxEnds {
		l.ends = map[Key]string{} // at worst, an event is repeated
	}
	l.ends[e.Item] = end
	return false
}

// Sign moves the item from planned to signed and puts its envelope into the outbox. When it returns nil the disk has
// both: the envelope may be pushed, and no crash will need the key again for this item. The signature is taken to
// bind the planned tags.
func (l *Ledger) Sign(k Key, e Envelope) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("recording signed for %s: %w", k, err)
	}
	return l.move(moveSign, k, func(b *batch, i *Item, event *Event) error {
		i.Stage, i.Signature, i.SignedBy, i.Class, i.Reason = Signed, e.ManifestDigest, e.SignedBy, "", ""
		event.LeafThumbprint = e.LeafThumbprint
		i.Bound = make(map[string]string, len(i.Tags))
		for _, t := range i.Tags {
			i.Bound[t.Name] = t.Role
		}
		return b.putEnvelope(k, e)
	})
}

// Push moves the item from signed to pushed: the registry accepted the envelope, and signature is the digest of the
// signature's manifest. The envelope is kept.
func (l *Ledger) Push(k Key, signature string) error {
	if signature == "" {
		return fmt.Errorf("recording pushed for %s: %w", k, errNoSignature)
	}
	return l.move(movePush, k, func(_ *batch, i *Item, _ *Event) error {
		i.Stage, i.Signature = Pushed, signature
		return nil
	})
}

// Confirm moves the item to confirmed: the registry shows our signature with the given digest. The item may be
// planned (the registry had it already), signed or pushed. The same transaction deletes the envelope. The event
// records by, which says how the registry showed the signature; empty means in its list.
func (l *Ledger) Confirm(k Key, signature, by string) error {
	if signature == "" {
		return fmt.Errorf("recording confirmed for %s: %w", k, errNoSignature)
	}
	return l.move(moveConfirm, k, func(b *batch, i *Item, event *Event) error {
		event.Reason = bounded(by, MaxReason)
		i.Stage, i.Signature, i.Class, i.Reason = Confirmed, signature, "", ""
		return b.dropEnvelope(k)
	})
}

// Adopt moves a planned item to confirmed: the registry shows a signature of ours that this ledger does not know. by
// says which identity made it, and bound which tags it binds by which roles. If the item is confirmed, Adopt corrects
// all three.
func (l *Ledger) Adopt(k Key, signature string, by SignedBy, bound map[string]string) error {
	if signature == "" {
		return fmt.Errorf("recording confirmed for %s: %w", k, errNoSignature)
	}
	return l.move(moveAdopt, k, func(b *batch, i *Item, _ *Event) error {
		i.Stage, i.Signature, i.SignedBy, i.Class, i.Reason = Confirmed, signature, by, "", ""
		i.Bound = make(map[string]string, len(bound)) // never nil, since it is known
		maps.Copy(i.Bound, bound)
		return b.dropEnvelope(k)
	})
}

// Reopen takes back a confirmed or pushed item because the registry no longer shows its signature, and returns its
// new stage: signed if the envelope is still in the outbox and only has to be pushed again, else planned.
func (l *Ledger) Reopen(k Key) (Stage, error) {
	var to Stage
	err := l.move(moveReopen, k, func(b *batch, i *Item, _ *Event) error {
		to = i.reopened(b)
		return nil
	})
	if err != nil {
		return "", err
	}
	return to, nil
}

// reopened sets the stage at which work on the item resumes. Its signature stays: the reason for reopening may be
// temporary, and the registry may still list it.
func (i *Item) reopened(b *batch) Stage {
	i.Stage, i.Class, i.Reason = Planned, "", ""
	if b.hasEnvelope(i.Key) {
		i.Stage = Signed
	}
	return i.Stage
}

// Discard deletes the envelope of a signed or failed item and plans the item again. Use it for an envelope that must
// not be pushed, such as one made with a certificate that has since been replaced. The event records the reason.
func (l *Ledger) Discard(k Key, reason string) error {
	return l.move(moveDiscard, k, func(b *batch, i *Item, event *Event) error {
		event.Reason = bounded(reason, MaxReason)
		i.Stage, i.Signature, i.SignedBy, i.Class, i.Reason, i.Bound = Planned, "", SignedBy{}, "", "", nil
		return b.dropEnvelope(k)
	})
}

// ClassUndone is the class of an item that is skipped because its signature was removed.
const ClassUndone = "undone"

// Undo records that a signature made by this ledger is gone from the registry. If the item has this signature, it is
// skipped as [ClassUndone] and its envelope deleted; the next Plan takes it up again if DCT still vouches for it. The
// same happens to a planned item without a signature, as earlier versions left before a removal. An item with
// another, later signature keeps it and its stage, and only the event is recorded.
func (l *Ledger) Undo(k Key, signature, reason string) error {
	if signature == "" {
		return fmt.Errorf("recording undone for %s: %w", k, errNoSignature)
	}
	return l.move(moveUndo, k, func(b *batch, i *Item, event *Event) error {
		event.Signature, event.Reason = signature, bounded(reason, MaxReason)
		if i.Signature != signature && (i.Signature != "" || i.Stage != Planned) {
			return nil
		}
		i.Stage, i.Class, i.Reason, i.Signature, i.SignedBy, i.Bound = Skipped, ClassUndone, event.Reason, "", SignedBy{}, nil
		return b.dropEnvelope(k)
	})
}

// Skip ends a planned, signed or pushed item for now: a reason speaks against signing it. The envelope is kept, and
// the next Plan takes the item up again.
func (l *Ledger) Skip(k Key, class, reason string) error {
	return l.move(moveSkip, k, func(_ *batch, i *Item, event *Event) error {
		i.end(Skipped, class, reason, event)
		return nil
	})
}

// Fail ends a planned, signed or pushed item for now: it was tried without success. It counts an attempt. The
// envelope is kept, and the next Plan takes the item up again. For consecutive failures of one class, as for skips, a
// process records one event.
func (l *Ledger) Fail(k Key, class, reason string) error {
	return l.move(moveFail, k, func(_ *batch, i *Item, event *Event) error {
		i.end(Failed, class, reason, event)
		i.Attempts++
		return nil
	})
}

// end sets the item's stage and reason, and the same reason in the event.
func (i *Item) end(s Stage, class, reason string, event *Event) {
	i.Stage, i.Class, i.Reason = s, bounded(class, maxClass), bounded(reason, MaxReason)
	event.Class, event.Reason = i.Class, i.Reason
}

const maxClass = 64 // bytes

var errNoSignature = errors.New("no digest of the signature given")
