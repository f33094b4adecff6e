//go:build linux

package main

import (
	"testing"
	"time"
)

// TestTheFirstBurstIsNotRate shows that what a limit lets through at once is not counted as a rate
// above the limit.
func TestTheFirstBurstIsNotRate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		burst, n int
		gap      time.Duration
		want     float64
	}{
		"spread": {1, 200, 20 * time.Millisecond, 50},
		"burst":  {50, 200, 20 * time.Millisecond, 50},
		"slow":   {50, 20, 100 * time.Millisecond, 10},
		"only":   {50, 0, 0, 0},
		"none":   {},
	} {
		begin := time.Unix(1000, 0)
		var pushes []time.Time
		for range c.burst {
			pushes = append(pushes, begin)
		}
		for i := range c.n {
			pushes = append(pushes, begin.Add(time.Second+time.Duration(i+1)*c.gap))
		}
		if got := steadyRate(pushes); got < c.want*0.999 || got > c.want*1.001 {
			t.Errorf("%s: got %.2f/s, want %.0f/s", name, got, c.want)
		}
	}
}

func TestPartsAreChosenByName(t *testing.T) {
	t.Parallel()
	for only, want := range map[string]int{"": len(parts) - 2, "trust": 3, "many": 1} {
		if got, err := choose(only); err != nil || len(got) != want {
			t.Errorf("%q: got %d parts, error %v, want %d", only, len(got), err, want)
		}
	}
	if got, err := choose("thrust"); err == nil {
		t.Errorf("an unknown part: got %v, want an error", got)
	}
}
