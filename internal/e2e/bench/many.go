//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	manyRepositories = 10
	aimFlat          = 1.20 // peak memory at all items, beside a tenth of them
	aimResume        = 2 * time.Second
)

// manyItems migrates one repository, then ten of that size with a kill half way: memory
// must not grow with the number of repositories, and a killed run must soon sign again.
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
	s := stage{servers, h, fileKey}
	few, err := s.runSome(ctx, "few", 1, items/manyRepositories, "signed", out)
	if err != nil {
		return err
	}
	p, err := servers.publish("many", manyRepositories, items)
	if err != nil {
		return err
	}
	m := migration{name: "many", workers: memoryWorkers, key: fileKey, published: p, notary: servers.address.Notary}
	killed, err := s.killHalfWay(ctx, m, items/2)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  %d items, killed after %d signatures: peak memory %.0f MB\n", items, killed.signatures, mega(killed.peak))
	resumed, err := s.resume(ctx, m, items, out)
	if err != nil {
		return err
	}
	r, again, err := h.migrate(ctx, m)
	if err != nil {
		return err
	}
	if err := complete(servers, "many", r, "already", items); err != nil {
		return err
	}
	fmt.Fprintf(out, "  %d items, nothing left to sign: peak memory %.0f MB, %.1f s\n", items, mega(again.peak), again.wall.Seconds())
	growth := float64(max(killed.peak, resumed.peak, again.peak)) / float64(few.peak)
	fmt.Fprintf(out, "aim: memory flat within %.0f %%: %.2f times at ten times the items, %s\n", 100*(aimFlat-1), growth, verdict(growth <= aimFlat))
	return nil
}

// runSome publishes images and migrates all of them in one run.
func (s stage) runSome(ctx context.Context, name string, repositories, items int, want string, out io.Writer) (usage, error) {
	p, err := s.publish(name, repositories, items)
	if err != nil {
		return usage{}, err
	}
	r, u, err := s.migrate(ctx, migration{name: name, workers: memoryWorkers, key: s.key, published: p, notary: s.address.Notary})
	if err != nil {
		return u, err
	}
	fmt.Fprintf(out, "  %d items: peak memory %.0f MB, %.1f s, %.0f/s\n", items, mega(u.peak), u.wall.Seconds(), float64(items)/u.wall.Seconds())
	return u, complete(s.remote, name, r, want, items)
}

// killed is a run that was ended with SIGKILL.
type killed struct {
	signatures int
	peak       int64
}

// killHalfWay starts a run and kills it when the registry has so many more signatures.
func (s stage) killHalfWay(ctx context.Context, m migration, signatures int) (k killed, err error) {
	before, err := s.pushed()
	if err != nil {
		return k, err
	}
	c, err := s.migration(m)
	if err != nil {
		return k, err
	}
	if err := c.Start(); err != nil {
		return k, fmt.Errorf("migrating: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for k.signatures < signatures {
		select {
		case err := <-ended:
			return k, fmt.Errorf("migrating: it ended before it was killed: %w", errors.Join(err, errEarly))
		case <-ctx.Done():
			return k, errors.Join(ctx.Err(), c.Process.Kill(), known(<-ended))
		case <-tick.C:
		}
		now, err := s.pushed()
		if err != nil {
			return k, errors.Join(err, c.Process.Kill(), known(<-ended))
		}
		k.signatures = now - before
		if peak, err := readPeak(c.Process.Pid); err == nil { // it may have ended
			k.peak = peak
		}
	}
	return k, errors.Join(c.Process.Kill(), known(<-ended))
}

var errEarly = errors.New("nothing is left to be killed")

// known forgives a process that it was killed.
func known(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// resume runs the rest, and prints how long the run took to sign again.
func (s stage) resume(ctx context.Context, m migration, items int, out io.Writer) (usage, error) {
	before, err := s.pushed()
	if err != nil {
		return usage{}, err
	}
	began := time.Now()
	first := make(chan firstSignature, 1)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() { first <- s.firstPush(watching, before) }()
	r, u, err := s.migrate(ctx, m)
	stop()
	seen := <-first
	switch {
	case err != nil:
		return u, err
	case seen.err != nil:
		return u, seen.err
	}
	n, err := s.signed(m.name)
	if err != nil {
		return u, err
	}
	if r.Results["failed"] != 0 || n != items {
		return u, fmt.Errorf("a resumed run on %d items says %v, and the registry has %d signatures", items, r.Results, n)
	}
	after := seen.pushed.Sub(seen.read)
	fmt.Fprintf(out, "  %d items, resumed: peak memory %.0f MB; the first signature %.2f s after the start and %.2f s after its trust data was asked for last\n",
		items, mega(u.peak), seen.pushed.Sub(began).Seconds(), after.Seconds())
	fmt.Fprintf(out, "aim: resumed in under %.0f s after trust data is read: %.2f s, %s\n", aimResume.Seconds(), after.Seconds(), verdict(after < aimResume))
	return u, nil
}

// firstSignature is the first signature of a run.
type firstSignature struct {
	pushed time.Time
	read   time.Time // when Notary was asked last for something of its repository
	err    error
}

// firstPush waits for a signature beyond so many.
func (s stage) firstPush(ctx context.Context, before int) firstSignature {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return firstSignature{err: fmt.Errorf("the resumed run signed nothing: %w", ctx.Err())}
		case <-tick.C:
		}
		now, err := s.pushed()
		if err != nil {
			return firstSignature{err: err}
		}
		if now == before {
			continue
		}
		pushes, err := s.pushes(before)
		if err != nil {
			return firstSignature{err: err}
		}
		read, err := s.lastTrust(s.address.Host + "/" + pushes[0].Repository)
		return firstSignature{time.Unix(0, pushes[0].UnixNano), read, err}
	}
}
