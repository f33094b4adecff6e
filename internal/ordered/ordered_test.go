package ordered

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func numbers(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// The order is the list's, whatever takes longer, and no more than n are in progress.
func TestEachKeepsTheOrderAndTheBound(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 4} {
		synctest.Test(t, func(t *testing.T) {
			var now, most atomic.Int32
			began := time.Now()
			var order []int
			for in, out := range Each(t.Context(), slices.Values(numbers(20)), n, func(_ context.Context, i int) int {
				most.Store(max(most.Load(), now.Add(1)))
				defer now.Add(-1)
				time.Sleep(time.Duration(20-i) * time.Second)
				return i * i
			}) {
				if out != in*in {
					t.Errorf("%d: %d", in, out)
				}
				order = append(order, in)
			}
			if !slices.Equal(order, numbers(20)) {
				t.Errorf("order %v", order)
			}
			if m := int(most.Load()); m != max(n, 1) {
				t.Errorf("%d at the same time, want %d", m, max(n, 1))
			}
			if took := time.Since(began); n == 4 && took > 80*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// Results do not pile up for a consumer that does not take them.
func TestEachDoesNotRunAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var done atomic.Int32
		for in := range Each(t.Context(), slices.Values(numbers(100)), 3, func(context.Context, int) int { return int(done.Add(1)) }) {
			synctest.Wait()
			if ahead := int(done.Load()) - in; ahead > 2*3+2 {
				t.Fatalf("%d ahead of element %d", ahead, in)
			}
		}
	})
}

// Ending early ends what is in progress, and leaves no goroutine behind (synctest fails then).
func TestEachEndsEarly(t *testing.T) {
	t.Parallel()
	wait := func(ctx context.Context, i int) error {
		if i < 2 {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}
	synctest.Test(t, func(t *testing.T) {
		for in := range Each(t.Context(), slices.Values(numbers(100)), 4, wait) {
			if in == 1 {
				break
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		seen := 0
		for _, err := range Each(ctx, slices.Values(numbers(100)), 4, wait) {
			seen++
			if seen > 2 && err == nil {
				t.Error("no error after the end")
			}
		}
		if seen > 2+2*4+2 {
			t.Errorf("%d begun", seen)
		}
	})
}
