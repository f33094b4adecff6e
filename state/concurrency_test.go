package state_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dct2notation/dct2notation/state"
)

// settle leads item n to its end, as a worker of the engine would.
func settle(l *state.Ledger, n int) error {
	for _, step := range []func() error{
		func() error { return l.Sign(key(n), envelope(n)) },
		func() error { return l.Push(key(n), signature(n)) },
		func() error { return l.Confirm(key(n), signature(n)) },
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
		t.Errorf("%d of %d workers were refused the shared item", stale.Load(), workers)
	}
	l = reload(t, l, path)
	counts, err := l.Counts()
	must(t, err)
	if counts[state.Confirmed] != shared || counts[state.Skipped] != 1 || counts[state.Planned] != 0 || len(counts) != len(state.Stages()) {
		t.Errorf("counts %v", counts)
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
			t.Fatalf("%d workers signed item %d", won.Load(), n)
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
