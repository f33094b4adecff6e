//go:build linux

package main

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// every is so many moments, a gap apart, that begin with a burst in one instant.
func every(burst, n int, gap time.Duration) []time.Time {
	begin := time.Unix(1000, 0)
	var at []time.Time
	for range burst {
		at = append(at, begin)
	}
	for i := range n {
		at = append(at, begin.Add(time.Second+time.Duration(i+1)*gap))
	}
	return at
}

// TestTheFirstBurstIsNotRate shows that what a limit lets through at once does not pass
// for a rate above it.
func TestTheFirstBurstIsNotRate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pushes []time.Time
		want   float64
	}{
		"spread": {every(1, 200, 20*time.Millisecond), 50},
		"burst":  {every(50, 200, 20*time.Millisecond), 50},
		"slow":   {every(50, 20, 100*time.Millisecond), 10},
		"only":   {every(50, 0, 0), 0},
		"none":   {nil, 0},
	} {
		if got := steadyRate(c.pushes); got < c.want*0.999 || got > c.want*1.001 {
			t.Errorf("%s: got %.2f/s, want %.0f/s", name, got, c.want)
		}
	}
}

func TestATraceShowsAStall(t *testing.T) {
	t.Parallel()
	pushes := every(0, 201, 20*time.Millisecond) // 4 s
	for _, p := range every(0, 101, 20*time.Millisecond) {
		pushes = append(pushes, p.Add(8*time.Second)) // 4 s later, for 2 s
	}
	if got := trace(pushes); got != "50 50 0 0 50" {
		t.Errorf("got trace %s, want 50 50 0 0 50", got)
	}
	if got := trace(nil); got != "" {
		t.Errorf("trace of nothing: got %s, want nothing", got)
	}
}

// TestALimitMissedIsSaid: a run that keeps the rate and loses items has missed the aim, as
// has one that loses time.
func TestALimitMissedIsSaid(t *testing.T) {
	t.Parallel()
	for want, l := range map[string]limited{
		"100.0 % and 0, met":    {ours: contestant{pushes: every(50, 200, 20*time.Millisecond)}},
		"100.0 % and 1, MISSED": {failed: 1, ours: contestant{pushes: every(50, 200, 20*time.Millisecond)}},
		"90.0 % and 0, MISSED":  {ours: contestant{pushes: every(50, 200, time.Second/45)}},
		"80.0 % and 0, the CPU is the limit: 90 % of it give 45/s": {
			ours: contestant{pushes: every(50, 200, time.Second/40), measured: measured{usage: usage{tree: time.Duration(runtime.NumCPU()) * time.Second / 50}}},
		},
		"80.0 % and 2, MISSED": {
			failed: 2, ours: contestant{pushes: every(50, 200, time.Second/40), measured: measured{usage: usage{tree: time.Duration(runtime.NumCPU()) * time.Second / 50}}},
		},
	} {
		l.perSecond = 50
		l.ours.wall, l.ours.count = time.Second, 1
		var out strings.Builder
		printLimitAims(&out, []limited{l})
		if !strings.HasSuffix(out.String(), want+"\n") {
			t.Errorf("got printed %q, want it to end with %q", out.String(), want)
		}
	}
}

// TestADisturbedLimitIsTold, also where no loop ran.
func TestADisturbedLimitIsTold(t *testing.T) {
	t.Parallel()
	for _, images := range []int{0, 10} {
		l := limited{keyLimit: keyLimit{perSecond: 50, loop: images}}
		l.loop.wall, l.ours.wall, l.ours.busy, l.ours.count = time.Second, time.Second, 0.5, 1
		if images == 0 {
			l.loop.wall = 0
		}
		var out strings.Builder
		printLimitAims(&out, []limited{l})
		if !strings.Contains(out.String(), "disturbed: other programs used 50 %") {
			t.Errorf("got printed %q, want it to say what other programs used", out.String())
		}
	}
}

// TestOnlyFailuresOfSomeAreForgiven: a loop that could not run at all is no figure.
func TestOnlyFailuresOfSomeAreForgiven(t *testing.T) {
	t.Parallel()
	if err := failedSome(exec.Command("sh", "-c", "exit 123").Run()); err != nil {
		t.Errorf("some failed: got error %v, want none", err)
	}
	if err := failedSome(exec.Command("sh", "-c", "exit 127").Run()); err == nil {
		t.Error("no command at all: got no error, want one")
	}
}
