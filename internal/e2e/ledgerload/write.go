package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/dct2notation/dct2notation/state"
)

// writing takes items to their last step.
type writing struct{ items, workers, sessions int }

func (w writing) write(path string) error {
	// Faults are injected into "the nth call of a thread". The ledger's writer has its own thread;
	// everything else runs on this one.
	runtime.LockOSThread()
	for s := range w.sessions {
		if err := w.session(path, s*w.items/w.sessions, (s+1)*w.items/w.sessions); err != nil {
			return err
		}
	}
	return nil
}

// session takes the items from one number to another to their last step.
func (w writing) session(path string, from, to int) (err error) {
	l, err := state.Open(path, state.Options{Tool: tool})
	if err != nil {
		return err
	}
	defer func() {
		if e := l.Close(); err == nil {
			err = e
		}
	}()
	at, err := survey(l)
	if err != nil {
		return err
	}
	var g errgroup.Group
	for worker := range w.workers {
		g.Go(func() error {
			for n := from + worker; n < to; n += w.workers {
				for i, s := range script(n)[at.step[n]:] {
					if err := s.move(l, n); err != nil {
						return err
					}
					// This is one write, which a pipe accepts whole.
					if _, err := os.Stdout.WriteString(fmt.Sprintf("%d %d\n", n, at.step[n]+i+1)); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	return g.Wait()
}

const tool = "ledgerload"

// readAcks parses what a writer has printed, and returns how many steps of each item were
// acknowledged.
func readAcks(r io.Reader) (map[int]int, error) {
	acked := map[int]int{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var n, step int
		if _, err := fmt.Sscanf(lines.Text(), "%d %d", &n, &step); err != nil {
			return nil, fmt.Errorf("reading the acknowledgements: %q: %w", lines.Text(), err)
		}
		acked[n] = max(acked[n], step)
	}
	return acked, lines.Err()
}
