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

// usage is the cost of programs that were started together, from their start to the end of the
// last.
type usage struct {
	wall       time.Duration
	own        time.Duration // CPU time, user and system, of the processes themselves
	tree       time.Duration // the same with all children that they waited for
	servers    time.Duration // CPU time of this process in that time
	anon, peak int64         // of the largest process, in bytes: without mapped files such as the ledger, and with them
	busy       float64       // CPU time of the whole machine, as a share of all its cores
}

// share returns CPU time spent in that time as a share of all cores.
func (u usage) share(cpu time.Duration) float64 {
	return cpu.Seconds() / u.wall.Seconds() / float64(runtime.NumCPU())
}

// others returns the use of the machine by processes outside the measurement, as a share of all
// cores.
func (u usage) others() float64 { return max(0, u.busy-u.share(u.tree+u.servers)) }

// metered runs programs at the same time to their ends and measures them. The error is that of
// exec, with the end of the program's stderr. The exit code forgiven is not an error. The usage is
// complete for other codes than 0 as well. When ctx ends, the programs get SIGTERM.
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

// watchEvery limits by how much the last reading of a process is too small.
const watchEvery = 20 * time.Millisecond

// timed runs one program. Once a process has ended, the kernel reports only the CPU time of it and
// its children together, and no memory without mapped files. So both are read repeatedly until
// then.
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
			// It may have ended: then the previous reading was the last.
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

// tail returns the last lines of a program's output.
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

// readMemory returns a process's resident memory in bytes: at present without mapped files, and at
// its largest with them. A process that has ended and was not waited for has none, which is an
// error.
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

// busySince returns the CPU time used, as a share of all cores.
func (m machine) busySince(before machine) float64 {
	if m.all == before.all {
		return 0 // less than a tick has passed
	}
	return min(1, (m.busy-before.busy)/(m.all-before.all)) // sums of fractions may exceed 1
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

// machineOf leaves out the use by guests, which user and nice already include. The machine also
// counts as idle while it waits for the disk.
func machineOf(c procfs.CPUStat) machine {
	busy := c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal
	return machine{busy, busy + c.Idle + c.Iowait}
}
