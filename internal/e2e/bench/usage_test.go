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

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

// TestChildrenAreMeteredApart shows that work of a program's children is not taken for
// its own.
func TestChildrenAreMeteredApart(t *testing.T) {
	t.Parallel()
	ours, _, err := readMemory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	u, err := metered(t.Context(), exec.Command("sh", "-c", "sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; true"))
	if err != nil {
		t.Fatal(err)
	}
	if children := u.tree - u.own; children < 50*time.Millisecond || children < 3*u.own {
		t.Errorf("got children %s, itself %s, want nearly all with the children", children, u.own)
	}
	if u.wall < u.tree-10*time.Millisecond {
		t.Errorf("on one core: got %s of CPU time within %s, want no more than that", u.tree, u.wall)
	}
	// The kernel's own figure would be that of this process, which is larger.
	if u.peak < 100<<10 || u.peak >= ours {
		t.Errorf("a shell: got %d bytes, want at least %d and less than this process, %d", u.peak, 100<<10, ours)
	}
	if u.busy <= 0 || u.busy > 1 {
		t.Errorf("got the machine busy by %f, want above 0, at most 1", u.busy)
	}
}

// TestFailureTellsWhatTheProgramSaid shows that a benchmark that could not measure says
// why, and that an exit code costs no figure: a run that ended early is measured too.
func TestFailureTellsWhatTheProgramSaid(t *testing.T) {
	t.Parallel()
	u, err := metered(t.Context(), exec.Command("sh", "-c", "echo out of luck >&2; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 5"))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 5 || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("got error %v, want exit code 5 and what was said", err)
	}
	if u.busy <= 0 || u.tree <= 0 {
		t.Errorf("got the machine busy by %f and the program %s, want both above 0", u.busy, u.tree)
	}
}

// TestInterruptEndsTheProgram shows that nothing measured outlives the benchmark.
func TestInterruptEndsTheProgram(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := metered(ctx, exec.Command("sleep", "60")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want that the time is over", err)
	}
}

// TestThisProcessIsRead shows that figures are of the process and in their units, and that one that
// has ended is an error, not 0.
func TestThisProcessIsRead(t *testing.T) {
	t.Parallel()
	if own, err := readOwn(os.Getpid()); err != nil || own < 0 || own > time.Hour {
		t.Errorf("this process: got %s used, error %v, want 0 to an hour", own, err)
	}
	if peak, own, err := readMemory(os.Getpid()); err != nil || peak < 1<<20 || own < 1<<10 || peak > 1<<40 {
		t.Errorf("this process: got %d and %d bytes, error %v, want at least %d and %d", peak, own, err, 1<<20, 1<<10)
	}
	ended := exec.Command("true")
	if err := ended.Start(); err != nil {
		t.Fatal(err)
	}
	for { // until it is a zombie
		peak, _, err := readMemory(ended.Process.Pid)
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
	if waited, known, err := readWaiting(); err != nil || known && waited < 0 {
		t.Errorf("got %s waited, error %v, want at least 0", waited, err)
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

// TestKeyRateLeavesOutTheProof shows that what was asked of the key before a migration
// began does not count into its rate, and what earlier ones asked not at all.
func TestKeyRateLeavesOutTheProof(t *testing.T) {
	t.Parallel()
	at := func(ms int64, command string) kmstest.Call {
		return kmstest.Call{Command: command, UnixNano: ms * int64(time.Millisecond)}
	}
	calls := []kmstest.Call{
		at(1, generateSignature), // of another measurement
		at(1000, "get-plugin-metadata"), at(1010, describeKey), at(1050, generateSignature),
		at(3000, generateSignature), at(3250, generateSignature), at(3500, generateSignature),
	}
	u := useOf(calls, 1)
	if u.processes != 6 || u.operations != 4 || u.rate != 4 {
		t.Errorf("got %+v, want 6 processes, 4 operations, and 4 a second", u)
	}
	if u := useOf(calls, 4); u.rate != 4 || u.operations != 3 {
		t.Errorf("got %+v, want 4 a second of what came after the first two", u)
	}
}
