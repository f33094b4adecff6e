//go:build unix

package main

import (
	"slices"
	"sync"
	"testing"
)

// A file lock belongs to the opened file. Goroutines that each open it meet as processes do, only
// more often.
func TestNoTwoCallsGetTheSameNumber(t *testing.T) {
	t.Parallel()
	const workers, each = 8, 100
	count := tally{t.TempDir()}
	var mu sync.Mutex
	var all sync.WaitGroup
	var numbers []int
	for range workers {
		all.Go(func() {
			for range each {
				n, err := count.next("generate-signature")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				numbers = append(numbers, n)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(numbers)
	for i, n := range numbers {
		if n != i+1 {
			t.Fatalf("got number %d, want %d", n, i+1)
		}
	}
	if len(numbers) != workers*each {
		t.Errorf("got %d numbers, want %d, one for each call", len(numbers), workers*each)
	}
}

// At one in 1000 s, the second is too many, whoever asks.
func TestNoMoreThanTheLimitIsAllowed(t *testing.T) {
	t.Parallel()
	limit := tally{t.TempDir()}
	var mu sync.Mutex
	var all sync.WaitGroup
	allowed := 0
	for range 40 {
		all.Go(func() {
			ok, err := limit.allow(0.001)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if ok {
				allowed++
			}
		})
	}
	all.Wait()
	if allowed != 1 {
		t.Errorf("got %d allowed, want 1", allowed)
	}
}
