//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

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
	s := stage{servers, h, fileKey}
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
