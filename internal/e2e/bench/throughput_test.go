//go:build linux

package main

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// rowOf is a row with the rates of both, and the milliseconds of CPU time that one
// signature of ours takes, on a machine that nobody else uses.
func rowOf(workers int, loop, ours, cpu float64) row {
	c := func(rate float64) contestant {
		tree := time.Duration(rate * cpu * float64(time.Millisecond))
		u := usage{wall: time.Second, tree: tree}
		u.busy = u.share(tree)
		return contestant{measured: measured{usage: u, count: int(rate)}}
	}
	return row{workers: workers, loop: c(loop), ours: c(ours)}
}

// TestAimsAreJudged shows that a miss is never printed as a success, and that only a
// machine that is too slow for the aim excuses one.
func TestAimsAreJudged(t *testing.T) {
	t.Parallel()
	cores := float64(runtime.NumCPU())
	// At 16 workers the aim is 227/s, and 90 % of the CPU give cores * 900 / cpu.
	enough, tooMuch := cores*900/228, cores*900/226
	for name, c := range map[string]struct {
		row  row
		want []string
	}{
		"met":             {rowOf(16, 50, 240, enough), []string{"4.8, met", "90 %, met"}},
		"both missed":     {rowOf(16, 100, 200, enough), []string{"2.0, MISSED", "75 %, MISSED"}},
		"CPU is no ratio": {rowOf(16, 100, 200, tooMuch), []string{"2.0, MISSED", "the CPU is the limit: 227/s are wanted, and 90 % of the CPU give 226/s"}},
		"met even so":     {rowOf(16, 50, 240, tooMuch), []string{"4.8, met", "90 %, met"}},
		"other workers":   {rowOf(4, 50, 60, enough), []string{"90 %, met"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			printAims(&out, []row{c.row})
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(lines) != len(c.want) {
				t.Fatalf("got printed %q, want %d lines", lines, len(c.want))
			}
			for i, want := range c.want {
				if !strings.HasSuffix(lines[i], want) {
					t.Errorf("got printed %q, want it to end with %q", lines[i], want)
				}
			}
		})
	}
}

// TestDisturbanceIsTold shows that figures which others spoilt do not pass for good ones,
// whichever of the two was disturbed.
func TestDisturbanceIsTold(t *testing.T) {
	t.Parallel()
	quiet, loop, ours := rowOf(1, 50, 60, 1), rowOf(4, 50, 60, 1), rowOf(16, 50, 60, 1)
	loop.loop.busy += 0.3
	ours.ours.busy += 0.2
	var out strings.Builder
	printDisturbed(&out, []row{quiet, loop, ours})
	for text, want := range map[string]bool{
		"workers 1:": false, "workers 4: other programs used 30 % of the CPU during the loop and 0 %": true,
		"workers 16: other programs used 0 % of the CPU during the loop and 20 %": true,
	} {
		if strings.Contains(out.String(), text) != want {
			t.Errorf("got printed %q, want %q in it: %t", out.String(), text, want)
		}
	}
}

// TestSizesStayWithinBounds shows that a fast machine does not make the benchmark long,
// and that a slow one does not leave too few images for a figure.
func TestSizesStayWithinBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		workers, loop, ours int
		one                 time.Duration
	}{
		{1, 60, 400, 400 * time.Millisecond},
		{1, 60, 400, 10 * time.Second},
		{4, 100, 1000, 400 * time.Millisecond},
		{32, 300, 5000, 400 * time.Millisecond},
		{32, 300, 5000, time.Millisecond},
	} {
		if loop, ours := loopImages(c.workers, c.one), ourImages(c.workers); loop != c.loop || ours != c.ours {
			t.Errorf("%d workers, %s for one: got %d and %d images, want %d and %d", c.workers, c.one, loop, ours, c.loop, c.ours)
		}
	}
}

func TestWorkersAreNumbersFromOneOn(t *testing.T) {
	t.Parallel()
	if got, err := parseWorkers("1,16"); err != nil || !slices.Equal(got, []int{1, 16}) {
		t.Errorf("got %v, error %v, want 1 and 16", got, err)
	}
	for _, bad := range []string{"", "0", "-4", "4,", "4;8", "many"} {
		if got, err := parseWorkers(bad); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}
