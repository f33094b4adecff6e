package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// An EventKind says what happened.
type EventKind string

// The events. Planning leaves none: it can be repeated from trust data.
const (
	EventSigned    EventKind = "signed"
	EventPushed    EventKind = "pushed"
	EventConfirmed EventKind = "confirmed"
	EventReopened  EventKind = "reopened"
	EventDiscarded EventKind = "discarded" // an envelope was thrown away
	EventSkipped   EventKind = "skipped"
	EventFailed    EventKind = "failed"
	EventUndone    EventKind = "undone"  // a signature was removed from the registry on request
	EventRebound   EventKind = "rebound" // the ledger was bound to another configuration
	EventTOFU      EventKind = "tofu"    // a root was trusted on first use

	EventRenewed      EventKind = "renewed"       // a key signs with another certificate of its identity
	EventRootReplaced EventKind = "root-replaced" // another root was accepted in place of the trusted one
)

// An Event is a line in the ledger's history, written in the same transaction as the change it describes. Events are
// never changed or removed.
type Event struct {
	Seq            uint64 // 1, 2, 3, ...
	Time           time.Time
	Kind           EventKind
	Item           Key // zero for EventRebound, EventTOFU, EventRenewed and EventRootReplaced
	GUN            string
	Signature      string // digest of the signature's manifest, the item's afterwards; for EventUndone, the removed one
	LeafThumbprint string // for EventSigned
	Class          string
	Reason         string
	Chain          [][]byte // for EventRenewed: DER, leaf first
	Previous       string   // sha256 (hex) of the previous event, "" for the first
}

// log appends an event to the chain.
func (b *batch) log(e Event) error {
	r := eventRecord{
		stamp: stamp{recordV}, Seq: b.tally.Events + 1, Time: b.now, Kind: e.Kind, GUN: e.GUN,
		Signature: e.Signature, LeafThumbprint: e.LeafThumbprint, Class: e.Class, Reason: e.Reason, Chain: e.Chain,
		Previous: b.tally.LastEvent,
	}
	if e.Item != (Key{}) {
		k := recordKey(e.Item)
		r.Item = &k
	}
	key := sequence(r.Seq)
	value, err := encode(bucketEvents, key, r)
	if err != nil {
		return err
	}
	bucket := b.tx.Bucket([]byte(bucketEvents))
	// Events are only appended, so pages need no free space.
	bucket.FillPercent = 0.95
	if err := bucket.Put(key, value); err != nil {
		return err
	}
	b.dirty = true
	b.tally.Events, b.tally.LastEvent = r.Seq, digest(value)
	return nil
}

// digest links the chain: it covers the whole value, checksum included.
func digest(value []byte) string {
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:])
}

// Events returns up to limit events (see Items) with numbers above after.
func (l *Ledger) Events(after uint64, limit int) ([]Event, error) {
	limit = pageSize(limit)
	var events []Event
	err := l.view(func(t *table) error {
		return t.events(after, limit, func(e Event, _ string) error {
			events = append(events, e)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return events, nil
}

// events visits up to limit events with numbers above after, with the digest
// of each.
func (t *table) events(after uint64, limit int, visit func(Event, string) error) error {
	c := t.tx.Bucket([]byte(bucketEvents)).Cursor()
	start := sequence(after)
	key, value := c.Seek(start)
	if bytes.Equal(key, start) {
		key, value = c.Next()
	}
	for ; key != nil && limit > 0; key, value = c.Next() {
		var r eventRecord
		if err := decode(bucketEvents, key, value, &r); err != nil {
			return err
		}
		if len(key) != 8 || binary.BigEndian.Uint64(key) != r.Seq {
			return damage("the event at %x has the number %d", key, r.Seq)
		}
		if err := visit(r.event(), digest(value)); err != nil {
			return err
		}
		limit--
	}
	return nil
}

func (r eventRecord) event() Event {
	e := Event{
		Seq: r.Seq, Time: r.Time, Kind: r.Kind, GUN: r.GUN, Signature: r.Signature,
		LeafThumbprint: r.LeafThumbprint, Class: r.Class, Reason: r.Reason, Chain: r.Chain, Previous: r.Previous,
	}
	if r.Item != nil {
		e.Item = r.Item.key()
	}
	return e
}

// VerifyEvents checks that no event was changed, removed or added other than by a ledger: the numbers have no gap,
// each event names the hash of the previous one, and the last one is the recorded one. The error is ErrDamaged. Moves
// may go on meanwhile.
func (l *Ledger) VerifyEvents() error {
	var seq uint64
	var last string
	for more := true; more; {
		err := l.view(func(t *table) error {
			before := seq
			err := t.events(seq, MaxPage, func(e Event, digest string) error {
				if e.Seq != seq+1 || e.Previous != last {
					return damage("event %d does not follow event %d", e.Seq, seq)
				}
				seq, last = e.Seq, digest
				return nil
			})
			if err != nil {
				return err
			}
			if more = seq-before == MaxPage; more {
				return nil
			}
			tally, err := t.tally()
			if err == nil && (tally.Events != seq || tally.LastEvent != last) {
				err = damage("the last event is number %d, on record is %d", seq, tally.Events)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
