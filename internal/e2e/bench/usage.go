//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// usage is what programs took that were started together, from their start to the end of the last.
type usage struct {
	wall       time.Duration
	own        time.Duration // CPU time, user and system, of the processes themselves
	tree       time.Duration // the same with all children that they waited for
	servers    time.Duration // CPU time of this process meanwhile
	anon, peak int64         // the largest of one, in bytes: without mapped files such as the ledger, and with them
	busy       float64       // CPU time of the whole machine, as a share of all its cores
}

// share is CPU time, spent meanwhile, as a share of all cores.
func (u usage) share(cpu time.Duration) float64 {
	return cpu.Seconds() / u.wall.Seconds() / float64(runtime.NumCPU())
}

// others is what was used of the machine by none of those that belong to the measurement, as a share of all cores.
func (u usage) others() float64 { return max(0, u.busy-u.share(u.tree+u.servers)) }

// metered runs programs at once to their ends and measures them. The error is that of exec, with the end of what
// the program wrote to stderr; exit code forgiven is none. The usage is complete also with another code than 0.
// When ctx ends, the programs get SIGTERM.
func metered(ctx context.Context, forgiven int, commands ...*exec.Cmd) (u usage, err error) {
	before, err := readMachine()
	if err != nil {
		return u, err
	}
	servers, err := readCPU(os.Getpid())
	if err != nil {
		return u, err
	}
	began := time.Now()
	each, errs := make([]usage, len(commands)), make([]error, len(commands))
	var group sync.WaitGroup
	for i, c := range commands {
		group.Go(func() { each[i], errs[i] = timed(ctx, forgiven, c) })
	}
	group.Wait()
	u.wall = time.Since(began)
	for _, one := range each {
		u.own, u.tree = u.own+one.own, u.tree+one.tree
		u.anon, u.peak = max(u.anon, one.anon), max(u.peak, one.peak)
	}
	after, unread := readMachine()
	now, unknown := readCPU(os.Getpid())
	u.busy, u.servers = after.busySince(before), now-servers
	return u, errors.Join(append(errs, unread, unknown)...)
}

// watchEvery bounds by how much the last reading of a process is too small.
const watchEvery = 20 * time.Millisecond

// timed runs one program. When a process has ended, the kernel tells only the CPU time of it and its children
// together, and no memory without mapped files: so both are read again and again until then.
func timed(ctx context.Context, forgiven int, c *exec.Cmd) (u usage, err error) {
	if err := ctx.Err(); err != nil {
		return u, err
	}
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		return u, err
	}
	ended := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			// It may have ended: then the reading before was the last.
			if own, err := readCPU(c.Process.Pid); err == nil {
				u.own = own
			}
			if anon, peak, err := readMemory(c.Process.Pid); err == nil {
				u.anon, u.peak = max(u.anon, anon), peak
			}
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	})
	stop := context.AfterFunc(ctx, func() { _ = c.Process.Signal(syscall.SIGTERM) }) // it may have ended already
	if err = c.Wait(); err != nil && c.ProcessState.ExitCode() == forgiven {
		err = nil
	} else if err != nil {
		err = fmt.Errorf("running %s: %w\n%s", c.Path, err, tail(stderr.String()))
	}
	stop()
	close(ended)
	watch.Wait()
	u.tree = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	return u, errors.Join(err, ctx.Err())
}

// tail is the last lines of what a program said.
func tail(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

// readCPU reads a process's CPU time, user and system, without its children.
func readCPU(pid int) (time.Duration, error) {
	var stat procfs.ProcStat
	p, err := procfs.NewProc(pid)
	if err == nil {
		stat, err = p.Stat()
	}
	if err != nil {
		return 0, fmt.Errorf("reading a process's CPU time: %w", err)
	}
	return time.Duration(stat.CPUTime() * float64(time.Second)), nil
}

// readMemory reads a process's resident memory, in bytes: now, without mapped files, and at its largest, with
// them. A process that has ended and was not waited for has none, which is an error.
func readMemory(pid int) (anon, peak int64, err error) {
	var status procfs.ProcStatus
	p, err := procfs.NewProc(pid)
	if err == nil {
		status, err = p.NewStatus()
	}
	if err == nil && status.VmHWM == 0 {
		err = errors.New("it has ended")
	}
	if err != nil {
		return 0, 0, fmt.Errorf("reading a process's memory: %w", err)
	}
	return int64(status.RssAnon), int64(status.VmHWM), nil
}

// machine is CPU time of all cores since boot, in seconds.
type machine struct{ busy, all float64 }

// busySince is the CPU time in use, as a share of all cores.
func (m machine) busySince(before machine) float64 {
	if m.all == before.all {
		return 0 // less than a tick has passed
	}
	return min(1, (m.busy-before.busy)/(m.all-before.all)) // sums of fractions may be above
}

func readMachine() (machine, error) {
	var stat procfs.Stat
	fs, err := procfs.NewDefaultFS()
	if err == nil {
		stat, err = fs.Stat()
	}
	if err != nil {
		return machine{}, fmt.Errorf("reading the machine's CPU time: %w", err)
	}
	return machineOf(stat.CPUTotal), nil
}

// machineOf leaves out what guests used: user and nice have it already. It is idle, too, while it waits for the
// disk.
func machineOf(c procfs.CPUStat) machine {
	busy := c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal
	return machine{busy, busy + c.Idle + c.Iowait}
}
