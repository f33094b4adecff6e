package state_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/dct2notation/dct2notation/state"
)

// A process that retries every few minutes does not fill the ledger. News about an item is still
// recorded.
func TestSameEndLeavesOneEvent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "m.db")
	l := openLedger(t, path)
	k := key(1)
	fail := func(class string) func() error {
		return func() error { return l.Fail(k, class, "no answer") }
	}
	skip := func() error { return l.Skip(k, "transient", "gone") }
	for range 3 {
		for _, end := range []func() error{fail("transient"), fail("transient"), skip, skip, fail("denied"), fail("denied")} {
			plan(t, l, item(1))
			must(t, end())
		}
	}
	plan(t, l, item(1))
	must(t, l.Sign(k, envelope(1)))
	must(t, l.Fail(k, "denied", "after the key was used: that is news"))
	var kinds []state.EventKind
	events, err := l.Events(0, 0)
	must(t, err)
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	once := []state.EventKind{state.EventFailed, state.EventSkipped, state.EventFailed}
	want := slices.Concat(once, once, once, []state.EventKind{state.EventSigned, state.EventFailed})
	if !slices.Equal(kinds, want) {
		t.Errorf("got events %v, want %v", kinds, want)
	}
	if it, _, err := l.Item(k); err != nil || it.Attempts != 13 || it.Stage != state.Failed {
		t.Errorf("got item %+v, %v, want 13 attempts, %s", it, err, state.Failed)
	}
}
