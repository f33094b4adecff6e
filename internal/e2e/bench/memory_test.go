//go:build linux

package main

import (
	"os/exec"
	"testing"
)

// TestGrowthIsSeenInTenths shows that no reading is left out, the last least of all.
func TestGrowthIsSeenInTenths(t *testing.T) {
	t.Parallel()
	var series []int64
	for i := range int64(25) {
		series = append(series, (i+1)<<20)
	}
	if got := tenths(series); got != "2 5 7 10 12 15 17 20 22 25" {
		t.Errorf("got tenths %s, want 2 5 7 10 12 15 17 20 22 25", got)
	}
	if got := tenths(nil); got != "0 0 0 0 0 0 0 0 0 0" {
		t.Errorf("tenths of nothing: got %s, want ten zeros", got)
	}
}

// TestAKilledRunIsNoError, and is gone.
func TestAKilledRunIsNoError(t *testing.T) {
	t.Parallel()
	c := exec.Command("sleep", "60")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	if err := end(c, ended); err != nil {
		t.Error(err)
	}
	if c.ProcessState == nil {
		t.Error("got it not waited for, want its state")
	}
}
