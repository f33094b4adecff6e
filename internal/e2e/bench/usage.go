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
)

// usage is what a program took, from its start to its end.
type usage struct {
	wall time.Duration
	own  time.Duration // CPU time, user and system, of the process itself
	tree time.Duration // the same with all children that it waited for
	peak int64         // resident memory at its largest, in bytes: of the process, or of a child if that had more
	busy float64       // CPU time of the whole machine, as a share of all its cores
	// waiting is the share of the time in which some process of the machine could run and
	// had no core; negative: unknown.
	waiting float64
}

// ownShare is the process's CPU time as a share of all cores.
func (u usage) ownShare() float64 { return u.share(u.own) }

// childShare is that of its children.
func (u usage) childShare() float64 { return u.share(u.tree - u.own) }

// share is CPU time, spent meanwhile, as a share of all cores.
func (u usage) share(cpu time.Duration) float64 {
	return cpu.Seconds() / u.wall.Seconds() / float64(runtime.NumCPU())
}

// metered runs a program to its end and measures it. The error is that of exec, with the
// end of what the program wrote to stderr; the usage is complete also with an exit code
// other than 0. When ctx ends, the program gets SIGTERM.
func metered(ctx context.Context, c *exec.Cmd) (usage, error) {
	var stderr bytes.Buffer
	c.Stderr = &stderr
	before, err := readMachine()
	if err != nil {
		return usage{}, err
	}
	waited, _, err := readWaiting()
	if err != nil {
		return usage{}, err
	}
	u, failed := timed(ctx, c)
	if failed != nil {
		failed = fmt.Errorf("running %s: %w\n%s", c.Path, failed, tail(stderr.String()))
	}
	after, err := readMachine()
	if err != nil {
		return u, errors.Join(failed, err)
	}
	u.busy = after.busySince(before)
	now, known, err := readWaiting()
	if u.waiting = float64(now-waited) / float64(u.wall); !known {
		u.waiting = -1
	}
	return u, errors.Join(failed, err)
}

// timed is metered for what the kernel tells of the program alone.
func timed(ctx context.Context, c *exec.Cmd) (usage, error) {
	var u usage
	if err := ctx.Err(); err != nil {
		return u, err
	}
	began := time.Now()
	if err := c.Start(); err != nil {
		return u, err
	}
	ours, unread := readPeak(os.Getpid())                                            // not before: it may have grown until the start
	stop := context.AfterFunc(ctx, func() { _ = c.Process.Signal(syscall.SIGTERM) }) // it may have ended already
	watch := watchOwn(c.Process.Pid)
	err := errors.Join(unread, c.Wait())
	u.wall = time.Since(began)
	stop()
	u.own, u.peak = watch.end()
	// wait4 counts the children that were waited for. Its peak begins with ours, of the
	// moment when the program was started: only one that is larger is the program's.
	u.tree = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	if rusage, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok && rusage.Maxrss<<10 > ours {
		u.peak = rusage.Maxrss << 10
	}
	return u, errors.Join(err, ctx.Err())
}

// tail is the last lines of what a program said.
func tail(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

// A watch reads a process's own CPU time and memory again and again: when it has ended,
// the kernel tells only the sum with its children, and the largest of it and us.
type watch struct {
	stop chan struct{}
	done sync.WaitGroup
	last time.Duration // owned by the goroutine until done
	peak int64         // the same
}

// watchEvery bounds by how much the last reading is too small.
const watchEvery = 20 * time.Millisecond

func watchOwn(pid int) *watch {
	w := &watch{stop: make(chan struct{})}
	w.done.Go(func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-w.stop:
				return
			case <-tick.C:
			}
			// It may have ended: then the reading before was the last.
			if own, err := readOwn(pid); err == nil {
				w.last = own
			}
			if peak, err := readPeak(pid); err == nil {
				w.peak = peak
			}
		}
	})
	return w
}

// end returns the last readings.
func (w *watch) end() (own time.Duration, peak int64) {
	close(w.stop)
	w.done.Wait()
	return w.last, w.peak
}
