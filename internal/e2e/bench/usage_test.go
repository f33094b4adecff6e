//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/procfs"
)

// work is shell code that takes a noticeable time.
const work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"

// TestChildrenAreMeteredApart shows that the work of a program's children is not counted as its
// own, nor is the work of another program that runs at the same time.
func TestChildrenAreMeteredApart(t *testing.T) {
	t.Parallel()
	u, err := metered(t.Context(), 0, exec.Command("sh", "-c", "sh -c '"+work+"'; true"))
	if err != nil {
		t.Fatal(err)
	}
	if children := u.tree - u.own; children < 50*time.Millisecond || children < 3*u.own {
		t.Errorf("got children %s, itself %s, want nearly all with the children", children, u.own)
	}
	if u.wall < u.tree-10*time.Millisecond {
		t.Errorf("on one core: got %s of CPU time within %s, want no more than that", u.tree, u.wall)
	}
	_, ours, err := readMemory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if u.peak < 100<<10 || u.peak >= ours || u.anon <= 0 || u.anon > u.peak {
		t.Errorf("a shell: got %d bytes, %d without mapped files, want at least %d and less than this process, %d", u.peak, u.anon, 100<<10, ours)
	}
	if u.busy <= 0 || u.busy > 1 {
		t.Errorf("got the machine busy by %f, want above 0, at most 1", u.busy)
	}
	for _, commands := range [][]*exec.Cmd{{exec.Command("sh", "-c", work), exec.Command("true")}, {exec.Command("true"), exec.Command("sh", "-c", work)}} {
		if both, err := metered(t.Context(), 0, commands...); err != nil || both.tree < 50*time.Millisecond || both.own > both.tree {
			t.Errorf("two at once: got %s of CPU time, error %v, want that of both", both.tree, err)
		}
	}
}

// TestFailureTellsWhatTheProgramSaid shows that a failed measurement gives the reason, that one
// exit code counts as a result if allowed, and that no exit code loses a figure.
func TestFailureTellsWhatTheProgramSaid(t *testing.T) {
	t.Parallel()
	for forgiven, want := range map[int]string{0: "out of luck", 3: "out of luck", 5: ""} {
		u, err := metered(t.Context(), forgiven, exec.Command("sh", "-c", "echo out of luck >&2; "+work+"; exit 5"), exec.Command("true"))
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d forgiven: got error %v, want %q", forgiven, err, want)
		}
		if u.busy <= 0 || u.tree <= 0 {
			t.Errorf("got the machine busy by %f and the program %s, want both above 0", u.busy, u.tree)
		}
	}
}

// TestInterruptEndsTheProgram shows that nothing measured outlives the benchmark.
func TestInterruptEndsTheProgram(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := metered(ctx, 0, exec.Command("sleep", "60")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want that the time is over", err)
	}
}

// TestAnEndedProcessHasNoMemory shows that it is an error, not 0.
func TestAnEndedProcessHasNoMemory(t *testing.T) {
	t.Parallel()
	ended := exec.Command("true")
	if err := ended.Start(); err != nil {
		t.Fatal(err)
	}
	for { // until it is a zombie
		_, peak, err := readMemory(ended.Process.Pid)
		if err != nil {
			break
		}
		if peak == 0 {
			t.Fatal("a process that has ended: got no memory and no error, want memory or an error")
		}
	}
	if err := ended.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestMachineIsIdleWhileItWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	before := machineOf(procfs.CPUStat{User: 100, System: 100, Idle: 1000, Iowait: 200, Guest: 50})
	after := machineOf(procfs.CPUStat{User: 120, Nice: 10, System: 110, Idle: 1030, Iowait: 220, IRQ: 5, SoftIRQ: 3, Steal: 2, Guest: 99})
	if got := after.busySince(before); got != 0.5 {
		t.Errorf("got busy by %f, want half: 50 s of 100", got)
	}
	if got := before.busySince(before); got != 0 {
		t.Errorf("in no time: got busy by %f, want 0", got)
	}
}
