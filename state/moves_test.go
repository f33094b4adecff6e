package state_test

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dct2notation/dct2notation/state"
)

// bring takes item 1 to a stage by legal moves.
func bring(t *testing.T, l *state.Ledger, to state.Stage) {
	t.Helper()
	if to == "" {
		return
	}
	plan(t, l, item(1))
	k := key(1)
	steps := map[state.Stage][]func() error{
		state.Signed:    {func() error { return l.Sign(k, envelope(1)) }},
		state.Skipped:   {func() error { return l.Skip(k, "missing", "no such digest") }},
		state.Failed:    {func() error { return l.Fail(k, "transient", "try again") }},
		state.Pushed:    {func() error { return l.Sign(k, envelope(1)) }, func() error { return l.Push(k, signature(1)) }},
		state.Confirmed: {func() error { return l.Confirm(k, signature(1), "") }},
	}
	for _, step := range steps[to] {
		must(t, step())
	}
}

// TestMovesAreLegalOnlyFromTheirStages tries every move from every stage, and
// reads the outcome from the disk.
func TestMovesAreLegalOnlyFromTheirStages(t *testing.T) {
	t.Parallel()
	k := key(1)
	moves := map[string]struct {
		do func(*state.Ledger) error
		to map[state.Stage]state.Stage // by the stage it starts from; others are refused
	}{
		"sign": {func(l *state.Ledger) error { return l.Sign(k, envelope(1)) },
			map[state.Stage]state.Stage{state.Planned: state.Signed}},
		"push": {func(l *state.Ledger) error { return l.Push(k, signature(1)) },
			map[state.Stage]state.Stage{state.Signed: state.Pushed}},
		"confirm": {func(l *state.Ledger) error { return l.Confirm(k, signature(1), "") },
			map[state.Stage]state.Stage{state.Planned: state.Confirmed, state.Signed: state.Confirmed, state.Pushed: state.Confirmed}},
		"adopt": {func(l *state.Ledger) error { return l.Adopt(k, signature(1), by, map[string]string{"v1": "targets"}) },
			map[state.Stage]state.Stage{state.Planned: state.Confirmed, state.Confirmed: state.Confirmed}},
		"reopen": {func(l *state.Ledger) error { _, err := l.Reopen(k); return err },
			map[state.Stage]state.Stage{state.Pushed: state.Signed, state.Confirmed: state.Planned}},
		"discard": {func(l *state.Ledger) error { return l.Discard(k, "old certificate") },
			map[state.Stage]state.Stage{state.Signed: state.Planned, state.Failed: state.Planned}},
		"undo": {func(l *state.Ledger) error {
			i, _, _ := l.Item(k)
			return l.Undo(k, cmp.Or(i.Signature, signature(9)), "asked for")
		},
			map[state.Stage]state.Stage{state.Planned: state.Skipped, state.Signed: state.Skipped, state.Pushed: state.Skipped,
				state.Confirmed: state.Skipped, state.Skipped: state.Skipped, state.Failed: state.Failed}},
		"skip": {func(l *state.Ledger) error { return l.Skip(k, "missing", "gone") },
			map[state.Stage]state.Stage{state.Planned: state.Skipped, state.Signed: state.Skipped, state.Pushed: state.Skipped}},
		"fail": {func(l *state.Ledger) error { return l.Fail(k, "permanent", "denied") },
			map[state.Stage]state.Stage{state.Planned: state.Failed, state.Signed: state.Failed, state.Pushed: state.Failed}},
	}
	// A signed or pushed item has its envelope in the outbox until it is
	// confirmed or discarded, whatever else happens to it.
	for name, m := range moves {
		for _, from := range append(state.Stages(), "") {
			t.Run(fmt.Sprintf("%s from %q", name, from), func(t *testing.T) {
				t.Parallel()
				l, path := newLedger(t)
				bring(t, l, from)
				before, _, err := l.Item(k)
				must(t, err)
				_, kept, err := l.Envelope(k)
				must(t, err)
				want, legal := m.to[from]
				err = m.do(l)
				l = reload(t, l, path)
				after, known, e := l.Item(k)
				must(t, e)
				if !legal {
					var stale *state.StaleError
					if !errors.Is(err, state.ErrStale) || !errors.As(err, &stale) || stale.Found != from || len(stale.Expected) == 0 {
						t.Fatalf("got %v, want %v that found %q", err, state.ErrStale, from)
					}
					if want := ", found " + cmp.Or(string(from), "no record"); !strings.HasSuffix(err.Error(), want) {
						t.Errorf("got %q, want %q at its end", err, want)
					}
					if !reflect.DeepEqual(before, after) {
						t.Errorf("refused: got\n%+v, want no change of\n%+v", after, before)
					}
					return
				}
				must(t, err)
				if !known || after.Stage != want {
					t.Fatalf("got stage %q, want %q", after.Stage, want)
				}
				_, has, err := l.Envelope(k)
				must(t, err)
				if wantEnvelope := name == "sign" || kept && name != "confirm" && name != "adopt" && name != "discard" && name != "undo"; has != wantEnvelope {
					t.Errorf("got envelope in the outbox %v, want %v", has, wantEnvelope)
				}
				must(t, l.VerifyEvents())
			})
		}
	}
}

func TestSignKeepsTheEnvelopeByteForByteUntilConfirmed(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	plan(t, l, item(1))
	must(t, l.Sign(key(1), envelope(1)))
	for _, next := range []func() error{
		func() error { return l.Push(key(1), signature(1)) },
		func() error { return l.Fail(key(1), "transient", "busy") },
	} {
		l = reload(t, l, path)
		got, found, err := l.Envelope(key(1))
		if err != nil || !found || !reflect.DeepEqual(got, envelope(1)) {
			t.Fatalf("got envelope %+v, %v, %v, want %+v", got, found, err, envelope(1))
		}
		must(t, next())
	}
	if got := plan(t, l, item(1)); got[0] != state.Signed {
		t.Fatalf("planned again with an envelope at hand: %v, want signed", got)
	}
	must(t, l.Confirm(key(1), signature(1), ""))
	if _, found, err := l.Envelope(key(1)); found || err != nil {
		t.Errorf("got still in the outbox %v, %v, want it gone", found, err)
	}
}

// The item waits for the next plan, which signs it as if nothing had happened. The history keeps
// what was done.
func TestUndoTakesBackOnlyTheSignatureItNames(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(l *state.Ledger) error{
		"signed":    func(*state.Ledger) error { return nil },
		"pushed":    func(l *state.Ledger) error { return l.Push(key(1), signature(1)) },
		"confirmed": func(l *state.Ledger) error { return l.Confirm(key(1), signature(1), "") },
		"skipped":   func(l *state.Ledger) error { return l.Skip(key(1), "missing", "gone") },
		"failed":    func(l *state.Ledger) error { return l.Fail(key(1), "transient", "busy") },
	} {
		l, path := newLedger(t)
		plan(t, l, item(1), item(2))
		must(t, l.Sign(key(1), envelope(1)))
		must(t, end(l))
		before, _, err := l.Item(key(1))
		must(t, err)
		must(t, l.Undo(key(1), signature(2), "an older one"))
		l = reload(t, l, path)
		if after, _, err := l.Item(key(1)); err != nil || after.Stage != before.Stage || after.Signature != signature(1) || len(after.Bound) == 0 {
			t.Errorf("%s: undoing another signature: got %+v, %v, want %s, unchanged", name, after, err, before.Stage)
		}
		must(t, l.Undo(key(1), signature(1), "asked for"))
		l = reload(t, l, path)
		after, _, err := l.Item(key(1))
		if err != nil || after.Stage != state.Skipped || after.Signature != "" || after.Bound != nil || after.Class != state.ClassUndone || after.Reason != "asked for" {
			t.Errorf("%s: undone: got %+v, %v, want %s without a signature", name, after, err, state.Skipped)
		}
		if _, kept, err := l.Envelope(key(1)); kept || err != nil {
			t.Errorf("%s: got its envelope there %v, %v, want it gone", name, kept, err)
		}
		events, err := l.Events(0, 0)
		must(t, err)
		last := events[len(events)-2:]
		for i, want := range []string{signature(2), signature(1)} {
			if last[i].Kind != state.EventUndone || last[i].Signature != want || last[i].Item != key(1) || last[i].Reason == "" {
				t.Errorf("%s: got event %+v, want %s of %s", name, last[i], state.EventUndone, want)
			}
		}
		counts, err := l.Counts()
		if err != nil || counts[state.Planned] != 1 || counts[state.Skipped] != 1 {
			t.Errorf("%s: got counts %v, %v, want 1 planned, 1 skipped", name, counts, err)
		}
		must(t, l.VerifyEvents())
		plan(t, l, item(1))
		must(t, l.Sign(key(1), envelope(1))) // as if nothing had happened
	}
}

func TestPlanTakesUpWhatEndedAndKeepsWhatIsDone(t *testing.T) {
	t.Parallel()
	for from, want := range map[state.Stage]state.Stage{
		"": state.Planned, state.Planned: state.Planned, state.Skipped: state.Planned, state.Failed: state.Planned,
		state.Signed: state.Signed, state.Pushed: state.Pushed, state.Confirmed: state.Confirmed,
	} {
		l, path := newLedger(t)
		bring(t, l, from)
		changed := item(1)
		changed.Tags = append(changed.Tags, state.Tag{Name: "latest", Role: "targets", TargetsVersion: 9})
		changed.Notes = []string{"allowed expired: targets"}
		other := item(2)
		if got := plan(t, l, changed, other); !slices.Equal(got, []state.Stage{want, state.Planned}) {
			t.Errorf("from %q: %v, want %v", from, got, want)
		}
		l = reload(t, l, path)
		got, _, err := l.Item(key(1))
		must(t, err)
		if !slices.Equal(got.Tags, changed.Tags) || !slices.Equal(got.Notes, changed.Notes) || got.Class != "" || got.Reason != "" {
			t.Errorf("from %q: got %+v, want tags %v, notes %v", from, got, changed.Tags, changed.Notes)
		}
		if wantAttempts := map[bool]int{true: 1}[from == state.Failed]; got.Attempts != wantAttempts {
			t.Errorf("from %q: %d attempts, want %d", from, got.Attempts, wantAttempts)
		}
	}
}

func TestReasonsAreBoundedAndSafeToKeep(t *testing.T) {
	t.Parallel()
	l, _ := newLedger(t)
	plan(t, l, item(1))
	must(t, l.Fail(key(1), strings.Repeat("c", 500), strings.Repeat("ä", 5000)+"\xff"))
	got, _, err := l.Item(key(1))
	must(t, err)
	if len(got.Reason) != state.MaxReason || strings.Trim(got.Reason, "ä") != "" || len(got.Class) != 64 {
		t.Errorf("got %d bytes of reason, %d of class, want %d and 64: %q", len(got.Reason), len(got.Class), state.MaxReason, got.Reason)
	}
}

func TestUnusableInputIsRefusedAndHarmsNothing(t *testing.T) {
	t.Parallel()
	l, _ := newLedger(t)
	plan(t, l, item(1))
	for _, bad := range []state.Key{
		{}, {Repository: "a\x00b", Digest: key(1).Digest, KeyName: "k"}, {Repository: "a\xff", Digest: key(1).Digest, KeyName: "k"},
		{Repository: "a", Digest: "sha256:ABC", KeyName: "k"}, {Repository: "a", Digest: "sha256:" + strings.Repeat("g", 64), KeyName: "k"},
		{Repository: strings.Repeat("a", 5000), Digest: key(1).Digest, KeyName: "k"}, {Repository: "a", Digest: key(1).Digest},
	} {
		if _, err := l.Plan([]state.Item{item(2), {Key: bad}}); err == nil {
			t.Errorf("planning %q: got no error, want one", bad)
		}
		if err := l.Skip(bad, "c", "r"); err == nil || errors.Is(err, state.ErrStale) {
			t.Errorf("skipping %q: got %v, want an error other than %v", bad, err, state.ErrStale)
		}
		if _, found, err := l.Item(bad); found || err != nil {
			t.Errorf("item %q: got %v, %v, want none", bad, found, err)
		}
	}
	for name, err := range map[string]error{
		"an empty envelope":         l.Sign(key(1), state.Envelope{MediaType: "x"}),
		"a huge envelope":           l.Sign(key(1), state.Envelope{MediaType: "x", Blob: make([]byte, 33<<20)}),
		"pushed without digest":     l.Push(key(1), ""),
		"confirmed without digest":  l.Confirm(key(1), "", ""),
		"adopted without digest":    l.Adopt(key(1), "", by, nil),
		"undone without digest":     l.Undo(key(1), "", ""),
		"a repository without name": l.SetRepository(state.Repository{}),
	} {
		if err == nil || errors.Is(err, state.ErrStale) {
			t.Errorf("%s: got %v, want an error other than %v", name, err, state.ErrStale)
		}
	}
	items, err := all(l, 10)
	if err != nil || len(items) != 1 || items[0].Stage != state.Planned {
		t.Errorf("got %+v, %v, want one item, %s", items, err, state.Planned)
	}
}

// settle takes item n to its last stage, as a worker of the engine would.
func settle(l *state.Ledger, n int) error {
	for _, step := range []func() error{
		func() error { return l.Sign(key(n), envelope(n)) },
		func() error { return l.Push(key(n), signature(n)) },
		func() error { return l.Confirm(key(n), signature(n), "") },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func TestManyWorkersShareCommitsAndARefusalHitsOneOnly(t *testing.T) {
	t.Parallel()
	const workers, each = 64, 6
	l, path := newLedger(t)
	const shared = workers * each // an item that everyone wants to skip
	var items []state.Item
	for n := range shared + 1 {
		items = append(items, item(n))
	}
	plan(t, l, items...)
	var group sync.WaitGroup
	var stale atomic.Int64
	for w := range workers {
		group.Go(func() {
			for i := range each {
				if err := settle(l, w*each+i); err != nil {
					t.Error(err)
				}
			}
			switch err := l.Skip(key(shared), "class", "reason"); {
			case errors.Is(err, state.ErrStale):
				stale.Add(1)
			case err != nil:
				t.Error(err)
			}
		})
	}
	group.Wait()
	if stale.Load() != workers-1 {
		t.Errorf("the shared item: got %d workers refused, want %d", stale.Load(), workers-1)
	}
	l = reload(t, l, path)
	counts, err := l.Counts()
	must(t, err)
	if counts[state.Confirmed] != shared || counts[state.Skipped] != 1 || counts[state.Planned] != 0 || len(counts) != len(state.Stages()) {
		t.Errorf("got counts %v, want %d confirmed, 1 skipped, none planned", counts, shared)
	}
	must(t, l.VerifyEvents())
}

func TestOfTwoWorkersExactlyOneMovesAnItem(t *testing.T) {
	t.Parallel()
	l, _ := newLedger(t)
	for n := range 20 {
		plan(t, l, item(n))
		var won atomic.Int64
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				switch err := l.Sign(key(n), envelope(n)); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, state.ErrStale):
					t.Error(err)
				}
			})
		}
		group.Wait()
		if won.Load() != 1 {
			t.Fatalf("item %d: got %d workers that signed it, want 1", n, won.Load())
		}
	}
}

func BenchmarkMoves16(b *testing.B) {
	l, _ := newLedger(b)
	var items []state.Item
	for n := range b.N {
		items = append(items, item(n))
	}
	plan(b, l, items...)
	var next atomic.Int64
	b.ResetTimer()
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for n := int(next.Add(1)) - 1; n < b.N; n = int(next.Add(1)) - 1 {
				if err := settle(l, n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.StopTimer()
	b.ReportMetric(float64(3*b.N)/b.Elapsed().Seconds(), "moves/s")
	if err := l.VerifyEvents(); err != nil {
		b.Error(fmt.Errorf("afterwards: %w", err))
	}
}
