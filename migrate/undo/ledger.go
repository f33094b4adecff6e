package undo

import (
	"cmp"
	"slices"

	"github.com/dct2notation/dct2notation/state"
)

// maxWindow is how many items are in memory at once while reading a ledger. The history is in order of time, so it is
// read once for each window.
const maxWindow = 20_000

// window is a part of the ledger, in the ledger's order.
type window struct {
	items []*owned
	last  state.Key // the last key that was read
	more  bool      // there may be items after it
}

// owned is an item with what the history says about its signatures.
type owned struct {
	tags []string
	// The signature by which the item is done, if the ledger has it as done.
	stage     state.Stage
	signature string

	claims  []Claim // made by this ledger's runs, and not undone; in the order of time
	foreign []Claim // found in the registry

	undone []Claim

	outcome  []Undone // what to pass to Observe
	finished bool     // guarded by undoing.mu
}

// window reads the items after a key, and what the history says about them.
func (u *Undo) window(after state.Key) (window, error) {
	w := window{last: after, more: true}
	byKey := make(map[state.Key]*owned)
	for w.more && len(w.items) < cmp.Or(u.atOnce, maxWindow) {
		page, err := u.History.Items(w.last, u.atOnce)
		if err != nil {
			return w, err
		}
		w.more = len(page) > 0
		for _, it := range page {
			w.last = it.Key
			if u.Wanted == nil || u.Wanted(it) {
				o := &owned{tags: make([]string, 0, len(it.Tags)), stage: it.Stage, signature: it.Signature}
				for _, t := range it.Tags {
					o.tags = append(o.tags, t.Name)
				}
				w.items, byKey[it.Key] = append(w.items, o), o
			}
		}
	}
	if len(w.items) == 0 {
		return w, nil
	}
	for seq := uint64(0); ; {
		page, err := u.History.Events(seq, 0)
		if err != nil {
			return w, err
		}
		if len(page) == 0 {
			break
		}
		seq = page[len(page)-1].Seq
		for _, e := range page {
			if o := byKey[e.Item]; o != nil && e.Signature != "" {
				o.take(e)
			}
		}
	}
	for _, o := range w.items {
		before := func(c Claim) bool { return c.At.Before(u.Since) }
		o.claims, o.foreign = slices.DeleteFunc(o.claims, before), slices.DeleteFunc(o.foreign, before)
	}
	return w, nil
}

// take processes the next event of the history. A signature made by this ledger's runs is a claim until it is undone,
// and again when a run finds it in the registry after that.
func (o *owned) take(e state.Event) {
	is := func(c Claim) bool { return c.Signature == e.Signature }
	claim := Claim{e.Item, e.GUN, e.Signature, e.LeafThumbprint, e.Time}
	switch e.Kind {
	case state.EventSigned:
		o.claims = append(slices.DeleteFunc(o.claims, is), claim)
	case state.EventUndone:
		if i := slices.IndexFunc(o.claims, is); i >= 0 {
			o.undone = append(o.undone, o.claims[i])
			o.claims = slices.Delete(o.claims, i, i+1)
		}
	case state.EventConfirmed:
		if slices.ContainsFunc(o.claims, is) || slices.ContainsFunc(o.foreign, is) {
			return
		}
		if i := slices.IndexFunc(o.undone, is); i >= 0 {
			o.claims = append(o.claims, o.undone[i])
			o.undone = slices.Delete(o.undone, i, i+1)
			return
		}
		o.foreign = append(o.foreign, claim)
	}
}
