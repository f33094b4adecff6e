//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dct2notation/dct2notation/state"
)

const (
	aimMoves = 3000 // per second, at aimWorkers

	ledgerItems = 30_000          // more than can be settled in the time
	ledgerTime  = 8 * time.Second // of settling
	movesEach   = 3               // of an item: signed, pushed, confirmed
	flushes     = 50
)

// ledger measures how fast items move through the ledger where nothing else costs time.
func ledger(ctx context.Context, dir string, out io.Writer) (err error) {
	dir = filepath.Join(dir, "ledger")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	before, err := flushTime(dir)
	if err != nil {
		return err
	}
	m, err := moves(ctx, filepath.Join(dir, "moves.db"))
	if err != nil {
		return err
	}
	after, err := flushTime(dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nLedger: %d callers move items from planned to confirmed, in %s\n", aimWorkers, os.TempDir())
	fmt.Fprintf(out, "  one flush of that disk alone: %.1f ms before, %.1f ms after\n", millis(before), millis(after))
	fmt.Fprintf(out, "aim: at least %d moves/s at %d workers: %.0f, %s\n", aimMoves, aimWorkers, m.rate(), verdict(m.rate() >= aimMoves))
	fmt.Fprintf(out, "  CPU for each: %.2f ms; CPU of all cores: itself %.0f %%, others %.0f %%\n", millis(m.own)/float64(m.moves), 100*m.ownShare(), 100*(m.busy-m.ownShare()))
	return nil
}

// moving is what items' moves took.
type moving struct {
	usage
	moves int64
}

func (m moving) rate() float64 { return float64(m.moves) / m.wall.Seconds() }

// moves settles items for a while.
func moves(ctx context.Context, path string) (m moving, err error) {
	l, err := state.Open(path, state.Options{})
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	items := make([]state.Item, ledgerItems)
	for i := range items {
		items[i] = ledgerItem(i)
	}
	if _, err := l.Plan(items); err != nil {
		return m, err
	}
	machine, err := readMachine()
	if err != nil {
		return m, err
	}
	own, err := readOwn(os.Getpid())
	if err != nil {
		return m, err
	}
	began := time.Now()
	n, err := settleFor(ctx, l, items)
	m.wall, m.moves = time.Since(began), n*movesEach
	if err != nil {
		return m, err
	}
	now, err := readMachine()
	if err != nil {
		return m, err
	}
	m.busy = now.busySince(machine)
	m.own, err = readOwn(os.Getpid())
	m.own -= own
	return m, err
}

// settleFor brings items to their end, as the engine's workers do, until the time is over.
func settleFor(ctx context.Context, l *state.Ledger, items []state.Item) (settled int64, err error) {
	end := time.Now().Add(ledgerTime)
	var next, done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range aimWorkers {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(items) || time.Now().After(end) || ctx.Err() != nil {
					return ctx.Err()
				}
				if err := settle(l, items[i].Key, i); err != nil {
					return err
				}
				done.Add(1)
			}
		})
	}
	err = g.Wait()
	return done.Load(), err
}

func settle(l *state.Ledger, k state.Key, n int) error {
	signature := fmt.Sprintf("sha256:%064x", n+1)
	// As large as the envelope of a key with one certificate above it, and its manifest.
	e := state.Envelope{
		MediaType: "application/jose+json", Blob: fmt.Appendf(nil, "%02500d", n), Manifest: fmt.Appendf(nil, "%0700d", n),
		ManifestDigest: signature, LeafThumbprint: "ab12", Metadata: map[string]string{"io.dct2notation.tag.v1": "targets/releases"},
	}
	if err := l.Sign(k, e); err != nil {
		return err
	}
	if err := l.Push(k, signature); err != nil {
		return err
	}
	return l.Confirm(k, signature, "")
}

func ledgerItem(n int) state.Item {
	const repository = "registry.example.com/team/app"
	return state.Item{
		Key: state.Key{Repository: repository, Digest: fmt.Sprintf("sha256:%064x", n), KeyName: keyID}, GUN: repository,
		MediaType: "application/vnd.oci.image.manifest.v1+json", Size: 500,
		Tags: []state.Tag{{Name: fmt.Sprintf("v%d", n), Role: "targets/releases", TargetsVersion: 7}},
	}
}

// flushTime is how long the disk takes to keep one page, the mean of a few.
func flushTime(dir string) (took time.Duration, err error) {
	f, err := os.CreateTemp(dir, "flush-")
	if err != nil {
		return 0, fmt.Errorf("timing the disk: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	page := make([]byte, 4096)
	began := time.Now()
	for range flushes {
		if _, err := f.Write(page); err != nil {
			return 0, fmt.Errorf("timing the disk: %w", err)
		}
		if err := f.Sync(); err != nil {
			return 0, fmt.Errorf("timing the disk: %w", err)
		}
	}
	return time.Since(began) / flushes, nil
}
