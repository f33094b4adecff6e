//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

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
	if own, err := readMemory(pid, ownMemory); err == nil {
		w.own = max(w.own, own)
		w.series = append(w.series, own)
	}
	if peak, err := readPeak(pid); err == nil {
		w.peak = peak
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
