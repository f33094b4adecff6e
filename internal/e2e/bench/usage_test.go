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

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

// TestChildrenAreMeteredApart shows that work of a program's children is not taken for
// its own.
func TestChildrenAreMeteredApart(t *testing.T) {
	t.Parallel()
	ours, err := readPeak(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	u, err := metered(t.Context(), exec.Command("sh", "-c", "sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; true"))
	if err != nil {
		t.Fatal(err)
	}
	if children := u.tree - u.own; children < 50*time.Millisecond || children < 3*u.own {
		t.Errorf("children %s, itself %s: want nearly all with the children", children, u.own)
	}
	if u.wall < u.tree-tick {
		t.Errorf("%s of CPU time within %s on one core", u.tree, u.wall)
	}
	// The kernel's own figure would be that of this process, which is larger.
	if u.peak < 100<<10 || u.peak >= ours {
		t.Errorf("a shell takes %d bytes, and this process %d", u.peak, ours)
	}
	if u.busy <= 0 || u.busy > 1 {
		t.Errorf("the machine is busy by %f", u.busy)
	}
}

// TestFailureTellsWhatTheProgramSaid shows that a benchmark that could not measure says
// why, and that an exit code costs no figure: a run that ended early is measured too.
func TestFailureTellsWhatTheProgramSaid(t *testing.T) {
	t.Parallel()
	u, err := metered(t.Context(), exec.Command("sh", "-c", "echo out of luck >&2; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 5"))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 5 || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("the error is %v, want exit code 5 and what was said", err)
	}
	if u.busy <= 0 || u.tree <= 0 {
		t.Errorf("the machine is busy by %f and the program took %s, want both above 0", u.busy, u.tree)
	}
}

// TestInterruptEndsTheProgram shows that nothing measured outlives the benchmark.
func TestInterruptEndsTheProgram(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := metered(ctx, exec.Command("sleep", "60")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v, want that the time is over", err)
	}
}

func TestOwnTimeIsReadBehindAnyName(t *testing.T) {
	t.Parallel()
	own, err := parseOwn("42 (a) R 1 (b) S 1 1 1 0 -1 0 0 0 0 0 150 25 900 900 20 0 1 0")
	if want := 1750 * time.Millisecond; err != nil || own != want {
		t.Errorf("%s, %v; want %s", own, err, want)
	}
	if _, err := parseOwn("42 (a) R 1 2 3"); err == nil {
		t.Error("a short line is no error")
	}
	if own, err := readOwn(os.Getpid()); err != nil || own < 0 {
		t.Errorf("this process has used %s, %v", own, err)
	}
}

// TestLargestMemoryIsReadInBytes shows that memory of the process is taken and no other,
// and that a process that has none is an error, not 0.
func TestLargestMemoryIsReadInBytes(t *testing.T) {
	t.Parallel()
	peak, err := parseMemory("VmPeak:\t 9000 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1000 kB\n", peakMemory)
	if err != nil || peak != 2<<20 {
		t.Errorf("%d, %v; want 2 MB", peak, err)
	}
	if _, err := parseMemory("Name:\tsh\nState:\tZ (zombie)\n", peakMemory); err == nil {
		t.Error("a process without memory is no error")
	}
	if peak, err := readPeak(os.Getpid()); err != nil || peak < 1<<20 {
		t.Errorf("this process has %d, %v", peak, err)
	}
}

func TestMachineIsIdleWhileItWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	before, err := parseMachine("cpu  100 0 100 1000 200 0 0 0 50 0\ncpu0 1 1 1 1\n")
	if err != nil {
		t.Fatal(err)
	}
	after, err := parseMachine("cpu  120 10 110 1030 220 5 3 2 99 0\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := after.busySince(before); got != 0.5 {
		t.Errorf("busy by %f, want half: 50 ticks of 100", got)
	}
	if got := before.busySince(before); got != 0 {
		t.Errorf("busy by %f in no time", got)
	}
	if _, err := parseMachine("intr 1 2 3 4 5 6 7 8 9"); err == nil {
		t.Error("another line is no error")
	}
}

func TestWaitingIsOfAnyProcess(t *testing.T) {
	t.Parallel()
	got, err := parseWaiting("some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n")
	if err != nil || got != 2500*time.Millisecond {
		t.Errorf("%s, %v; want 2.5s", got, err)
	}
	if _, err := parseWaiting("full avg10=0.00 total=7\n"); err == nil {
		t.Error("that nobody told is no error")
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
		t.Errorf("%+v, want 6 processes, 4 operations, and 4 a second", u)
	}
	if u := useOf(calls, 4); u.rate != 4 || u.operations != 3 {
		t.Errorf("%+v, want 4 a second of what came after the first two", u)
	}
}
