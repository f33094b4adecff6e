//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
	"github.com/prometheus/procfs"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
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

// measured is a program's usage, for how many of a kind (signatures, tags, repositories), with what
// it asked of the servers.
type measured struct {
	usage
	count    int
	requests Counts
	servers  time.Duration // CPU time of their process
}

// rate is so many per second of the whole command, its start and end included.
func (m measured) rate() float64 { return float64(m.count) / m.wall.Seconds() }

// time is that for one.
func (m measured) time() time.Duration { return m.wall / time.Duration(m.count) }

// each is so many of something for each.
func (m measured) each(n int64) float64 { return float64(n) / float64(m.count) }

// others is what of the machine's CPU time was used by none of those that belong to the
// measurement, as a share of all cores.
func (m measured) others() float64 { return max(0, m.busy-m.share(m.tree+m.servers)) }

// cpu is the CPU time that one takes, servers included. Others on the machine change it little,
// where they spoil every rate.
func (m measured) cpu() time.Duration { return (m.tree + m.servers) / time.Duration(m.count) }

// cpuAllows is how many per second the cores can give that others leave: what one takes of them
// here, servers included, is what it takes.
func (m measured) cpuAllows() float64 {
	return float64(runtime.NumCPU()) * (1 - m.others()) / m.cpu().Seconds()
}

// counted does something to so many of a kind and counts the requests meanwhile.
func (s *remote) counted(n int, do func() (usage, error)) (measured, error) {
	m := measured{count: n}
	before, err := s.counts()
	if err != nil {
		return m, err
	}
	servers, err := readOwn(s.process.Process.Pid)
	if err != nil {
		return m, err
	}
	if m.usage, err = do(); err != nil {
		return m, err
	}
	now, err := readOwn(s.process.Process.Pid)
	if err != nil {
		return m, err
	}
	m.servers = now - servers
	after, err := s.counts()
	m.requests = after.since(before)
	return m, err
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

// batches is by how much two readings of a process's memory may differ.
const batches = 1 << 20

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
	ours, _, unread := readMemory(os.Getpid())                                       // not before: it may have grown until the start
	stop := context.AfterFunc(ctx, func() { _ = c.Process.Signal(syscall.SIGTERM) }) // it may have ended already
	watch := watchOwn(c.Process.Pid)
	err := errors.Join(unread, c.Wait())
	u.wall = time.Since(began)
	stop()
	u.own, u.peak = watch.end()
	// wait4 counts the children that were waited for. Its peak begins with ours, of the
	// moment when the program was started: only one that is larger is the program's. It counts
	// pages in batches for each core, so that two readings of one moment differ.
	u.tree = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	if rusage, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok && rusage.Maxrss<<10 > ours+batches {
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
			if peak, _, err := readMemory(pid); err == nil {
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

// readOwn reads a process's CPU time, user and system, without its children.
func readOwn(pid int) (time.Duration, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, fmt.Errorf("reading a process's CPU time: %w", err)
	}
	stat, err := p.Stat()
	if err != nil {
		return 0, fmt.Errorf("reading a process's CPU time: %w", err)
	}
	return inSeconds(stat.CPUTime()), nil
}

func inSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// readMemory reads a process's resident memory, in bytes: at its largest, mapped files included,
// and now, without mapped files such as the ledger. A process that has ended and was not waited for
// has none, which is an error.
func readMemory(pid int) (peak, own int64, err error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, 0, fmt.Errorf("reading a process's memory: %w", err)
	}
	status, err := p.NewStatus()
	if err == nil && status.VmHWM == 0 {
		err = errors.New("it has ended")
	}
	if err != nil {
		return 0, 0, fmt.Errorf("reading a process's memory: %w", err)
	}
	return int64(status.VmHWM), int64(status.RssAnon), nil
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
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return machine{}, fmt.Errorf("reading the machine's CPU time: %w", err)
	}
	stat, err := fs.Stat()
	if err != nil {
		return machine{}, fmt.Errorf("reading the machine's CPU time: %w", err)
	}
	return machineOf(stat.CPUTotal), nil
}

// machineOf leaves out what guests used: user and nice have it already. It is idle, too, while it
// waits for the disk.
func machineOf(c procfs.CPUStat) machine {
	busy := c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal
	return machine{busy, busy + c.Idle + c.Iowait}
}

// readWaiting is for how long since boot some process that could run had no core. False
// means that this kernel does not tell.
func readWaiting() (time.Duration, bool, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, false, fmt.Errorf("reading how long processes waited for a core: %w", err)
	}
	pressure, err := fs.PSIStatsForResource("cpu")
	switch {
	case errors.Is(err, os.ErrNotExist) || errors.Is(err, errors.ErrUnsupported):
		return 0, false, nil
	case err == nil && pressure.Some == nil:
		err = errors.New("no such line")
	}
	if err != nil {
		return 0, false, fmt.Errorf("reading how long processes waited for a core: %w", err)
	}
	return time.Duration(pressure.Some.Total) * time.Microsecond, true, nil
}

// What the key costs, in milliseconds.
const (
	describeKey       = "describe-key"
	generateSignature = "generate-signature"

	describeDelay = 40
	signDelay     = 60
)

// allows is how many signatures per second so many key operations in flight can give.
func allows(workers int) float64 { return float64(workers) * 1000 / signDelay }

// keyUse is what was asked of the plugin during one measurement.
type keyUse struct {
	processes  int
	operations int     // signatures made
	rate       float64 // operations per second between the second and the last; 0: too few
}

// useOf reads the call log from one line on. The first operation is left out of the rate:
// dct2notation spends it before it begins, to see the key's certificate.
func useOf(calls []kmstest.Call, from int) keyUse {
	calls = calls[from:]
	u := keyUse{processes: len(calls)}
	var first, last time.Time
	for _, c := range calls {
		if c.Command != generateSignature {
			continue
		}
		if u.operations++; u.operations == 2 {
			first = c.At()
		}
		last = c.At()
	}
	if u.operations > 2 && last.After(first) {
		u.rate = float64(u.operations-2) / last.Sub(first).Seconds()
	}
	return u
}

// operationTime is how long one key operation takes that nothing else disturbs, from the
// start of the plugin's process to its end: no caller of plugins can be faster. It is the
// mean of a few.
func (h *home) operationTime(ctx context.Context) (time.Duration, error) {
	const times = 10
	request, err := json.Marshal(plugin.GenerateSignatureRequest{
		ContractVersion: plugin.ContractVersion, KeyID: keyID, KeySpec: plugin.KeySpecEC256,
		Hash: plugin.HashAlgorithmSHA256, Payload: []byte("a payload"),
	})
	if err != nil {
		return 0, fmt.Errorf("asking the plugin for a signature: %w", err)
	}
	var total time.Duration
	for range times {
		c := exec.Command(h.plugin.Path, generateSignature)
		c.Env, c.Stdin = h.env(), bytes.NewReader(request)
		u, err := metered(ctx, c)
		if err != nil {
			return 0, fmt.Errorf("asking the plugin for a signature: %w", err)
		}
		total += u.wall
	}
	return total / times, nil
}
