//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	memoryRepositories = 40
	memoryWorkers      = 16
)

// memory migrates many items with a local key and no latency, so that as much as possible
// is in flight, and then runs the same command again. It prints memory and times.
func memory(ctx context.Context, bin, dir string, items int, out io.Writer) (err error) {
	if items == 0 {
		return nil
	}
	servers, err := startRemote(0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.close()) }()
	h, err := newHome(filepath.Join(dir, "memory"), bin, servers.address, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nMemory: %d items in %d repositories, local key, %d workers, no latency\n", items, memoryRepositories, memoryWorkers)
	p, err := servers.publish("memory", memoryRepositories, items)
	if err != nil {
		return err
	}
	m := migration{name: "memory", workers: memoryWorkers, key: fileKey, published: p, notary: servers.address.Notary}
	for _, want := range []string{"signed", "already"} {
		r, u, err := h.migrate(ctx, m)
		if err != nil {
			return err
		}
		if err := complete(servers, "memory", r, want, items); err != nil {
			return err
		}
		printMemory(out, want, items, u)
	}
	return nil
}

// complete returns an error unless the run had this result for all items, and the
// registry has a signature of each.
func complete(servers *remote, name string, r result, want string, items int) error {
	n, err := servers.signed(name)
	if err != nil {
		return err
	}
	if r.Results[want] != items || n != items {
		return fmt.Errorf("a run on %d items says %v, and the registry has %d signatures", items, r.Results, n)
	}
	return nil
}

var runNames = map[string]string{"signed": "first run", "already": "second run, nothing left to sign"}

func printMemory(out io.Writer, result string, items int, u usage) {
	const mega = 1 << 20
	peak := float64(u.peak) / mega
	fmt.Fprintf(out, "  %s: peak memory %.0f MB (aim: under %d: %s), %.2f s, %.0f ms for a thousand items, CPU of all cores: itself %.0f %%, machine %.0f %%\n",
		runNames[result], peak, aimMemory, verdict(peak < aimMemory), u.wall.Seconds(),
		float64(u.wall)/float64(time.Millisecond)/float64(items)*1000, 100*u.ownShare(), 100*u.busy)
}

const (
	manyRepositories = 10
	aimFlat          = 1.20 // memory at all items, beside a tenth of them
	aimResume        = 2 * time.Second
)

// manyItems migrates one repository, then ten of that size with a kill half way: memory
// must not grow with the number of items, and a killed run must soon sign again.
func manyItems(ctx context.Context, bin, dir string, items int, out io.Writer) (err error) {
	servers, err := startRemote(0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.close()) }()
	h, err := newHome(filepath.Join(dir, "many"), bin, servers.address, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nMany items: %d in each repository, local key, %d workers, no latency\n", items/manyRepositories, memoryWorkers)
	fmt.Fprintf(out, "  memory of its own is without mapped files, such as the ledger, which the system takes back when it needs it\n")
	s := stage{remote: servers, home: h, key: fileKey}
	few, err := s.manyOf(ctx, "few", 1, items/manyRepositories)
	if err != nil {
		return err
	}
	first, err := s.walk(ctx, few, 0)
	if err != nil {
		return err
	}
	printWalk(out, "one repository", first)
	all, err := s.manyOf(ctx, "many", manyRepositories, items)
	if err != nil {
		return err
	}
	killed, err := s.walk(ctx, all, items/2)
	if err != nil {
		return err
	}
	printWalk(out, "killed half way", killed)
	resumed, err := s.walk(ctx, all, 0)
	if err != nil {
		return err
	}
	printWalk(out, "resumed", resumed)
	if err := s.printResumed(out, resumed); err != nil {
		return err
	}
	r, again, err := h.migrate(ctx, all)
	if err != nil {
		return err
	}
	if err := complete(servers, "many", r, "already", items); err != nil {
		return err
	}
	fmt.Fprintf(out, "  nothing left to sign: peak memory %.0f MB, %.1f s\n", mega(again.peak), again.wall.Seconds())
	growth := float64(max(killed.own, resumed.own)) / float64(first.own)
	fmt.Fprintf(out, "aim: memory of its own flat within %.0f %%: %.2f times at ten times the items, %s\n", 100*(aimFlat-1), growth, verdict(growth <= aimFlat))
	return nil
}

func (s stage) manyOf(ctx context.Context, name string, repositories, items int) (migration, error) {
	p, err := s.publish(name, repositories, items)
	if err != nil {
		return migration{}, err
	}
	return migration{name: name, workers: memoryWorkers, key: s.key, published: p, notary: s.address.Notary}, ctx.Err()
}

func printWalk(out io.Writer, name string, w walk) {
	fmt.Fprintf(out, "  %s: %d signatures in %.1f s, %.0f/s, memory of its own %.0f MB at most, with mapped files %.0f MB\n", name,
		w.signatures, w.wall.Seconds(), float64(w.signatures)/w.wall.Seconds(), mega(w.own), mega(w.peak))
	fmt.Fprintf(out, "    of its own, in MB, the largest in each tenth of that time: %s\n", tenths(w.series))
}

// printResumed tells how soon a resumed run signed.
func (s stage) printResumed(out io.Writer, w walk) error {
	pushes, err := s.pushes(w.before)
	if err != nil {
		return err
	}
	first := time.Unix(0, pushes[0].UnixNano)
	read, err := s.lastTrust(s.address.Host + "/" + pushes[0].Repository)
	if err != nil {
		return err
	}
	took := first.Sub(read)
	fmt.Fprintf(out, "    its first signature: %.2f s after its start\n", first.Sub(w.began).Seconds())
	fmt.Fprintf(out, "aim: resumed in under %.0f s after the trust data was asked for last: %.2f s, %s\n", aimResume.Seconds(), took.Seconds(), verdict(took < aimResume))
	return nil
}

// walk is a run that is looked at on its way.
type walk struct {
	began      time.Time
	wall       time.Duration
	before     int     // signatures that the registry had
	signatures int     // that it got meanwhile
	own, peak  int64   // memory at its largest, in bytes: of its own, and with mapped files
	series     []int64 // memory of its own, over time
}

// walkEvery is how often a run is looked at.
const walkEvery = 50 * time.Millisecond

// walk runs a migration to its end, which has to sign all that is left; or kills it after
// so many signatures, unless that is 0.
func (s stage) walk(ctx context.Context, m migration, kill int) (w walk, err error) {
	if w.before, err = s.pushed(); err != nil {
		return w, err
	}
	c, err := s.migration(m)
	if err != nil {
		return w, err
	}
	w.began = time.Now()
	if err := c.Start(); err != nil {
		return w, fmt.Errorf("migrating: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	err = s.follow(ctx, &w, c, ended, kill)
	w.wall = time.Since(w.began)
	if err != nil || kill > 0 {
		return w, err
	}
	n, err := s.signed(m.name)
	if err == nil && n != len(m.published.References) {
		err = fmt.Errorf("a run left %d of %d images unsigned", len(m.published.References)-n, n)
	}
	return w, err
}

// follow looks at the run until it ends, or kills it.
func (s stage) follow(ctx context.Context, w *walk, c *exec.Cmd, ended <-chan error, kill int) error {
	tick := time.NewTicker(walkEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err == nil && kill > 0 {
				err = errors.New("it ended before it could be killed")
			}
			return errors.Join(err, s.count(w))
		case <-ctx.Done():
			return errors.Join(ctx.Err(), end(c, ended))
		case <-tick.C:
		}
		if err := s.count(w); err != nil {
			return errors.Join(err, end(c, ended))
		}
		w.see(c.Process.Pid)
		if kill > 0 && w.signatures >= kill {
			return errors.Join(end(c, ended), s.count(w))
		}
	}
}

func (s stage) count(w *walk) error {
	now, err := s.pushed()
	w.signatures = now - w.before
	return err
}

// see reads the memory of a process. It may have ended: then what was read before stands.
func (w *walk) see(pid int) {
	if peak, own, err := readMemory(pid); err == nil {
		w.own, w.peak = max(w.own, own), peak
		w.series = append(w.series, own)
	}
}

// end kills a process and waits for it.
func end(c *exec.Cmd, ended <-chan error) error {
	err := c.Process.Kill()
	var exit *exec.ExitError
	if waited := <-ended; !errors.As(waited, &exit) {
		err = errors.Join(err, waited)
	}
	return err
}

// tenths is the largest of each tenth of a series, in MB.
func tenths(series []int64) string {
	var figures []string
	for i := range 10 {
		var most int64
		for _, n := range series[len(series)*i/10 : len(series)*(i+1)/10] {
			most = max(most, n)
		}
		figures = append(figures, fmt.Sprintf("%.0f", mega(most)))
	}
	return strings.Join(figures, " ")
}
