package state_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/state"
)

// TestCopyIsOfOneMoment: while eight workers go on, each copy is a ledger that opens, and its
// counts and history match its items.
func TestCopyIsOfOneMoment(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	var items []state.Item
	for n := range 400 {
		items = append(items, item(n))
	}
	plan(t, l, items...)
	must(t, l.Bind(server("a"), false))
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for n := w; n < len(items); n += 8 {
				for _, err := range []error{l.Sign(key(n), envelope(n)), l.Push(key(n), signature(n)), l.Confirm(key(n), signature(n), "")} {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	last := 0
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		start := time.Now()
		must(t, l.SaveCopy())
		c, made, err := state.OpenCopy(path, state.Options{})
		must(t, err)
		got, err := all(c, 0)
		must(t, err)
		counts, err := c.Counts()
		must(t, err)
		confirmed := 0
		for _, i := range got {
			if i.Stage == state.Confirmed {
				confirmed++
			}
		}
		if len(got) != len(items) || counts[state.Confirmed] != confirmed || confirmed < last || made.Before(start.Add(-time.Minute)) {
			t.Errorf("got %d items, %d of %v confirmed, made %s, want %d items, at least %d confirmed", len(got), confirmed, counts, made, len(items), last)
		}
		last = confirmed
		must(t, errors.Join(c.VerifyEvents(), c.Close()))
	}
	if last != len(items) {
		t.Errorf("got %d confirmed in the last copy, want %d", last, len(items))
	}
	want, err := all(l, 0)
	must(t, err)
	c, _, err := state.OpenCopy(path, state.Options{})
	must(t, err)
	defer c.Close()
	if got, err := all(c, 0); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the copy: got %d items, %v, want the same as before", len(got), err)
	}
	if f, err := c.Fingerprint(); err != nil || !reflect.DeepEqual(f.NotaryServers, server("a").NotaryServers) {
		t.Errorf("fingerprint: got %v, %v, want server a", f, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) != 0 {
		t.Errorf("got %v left behind, want nothing", left)
	}
}

// TestCopyIsReadBySeveralWhileTheLedgerIsHeld, also by one that opened it before the next copy
// replaced it.
func TestCopyIsReadBySeveralWhileTheLedgerIsHeld(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	plan(t, l, item(1))
	if _, _, err := state.OpenCopy(path, state.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before there is one: got %v, want %v", err, fs.ErrNotExist)
	}
	must(t, l.SaveCopy())
	first, _, err := state.OpenCopy(path, state.Options{})
	must(t, err)
	second, _, err := state.OpenCopy(path, state.Options{})
	must(t, err)
	plan(t, l, item(2))
	must(t, l.SaveCopy())
	third, _, err := state.OpenCopy(path, state.Options{})
	must(t, err)
	for n, c := range map[int]*state.Ledger{1: first, 2: third} {
		if got, err := all(c, 0); err != nil || len(got) != n {
			t.Errorf("got %d items, %v, want %d", len(got), err, n)
		}
	}
	if _, err := first.Plan([]state.Item{item(3)}); err == nil {
		t.Error("a change of a copy: got no error, want one")
	}
	must(t, errors.Join(first.Close(), second.Close(), third.Close()))
	must(t, errors.Join(state.RemoveCopy(path), state.RemoveCopy(path)))
	if _, err := os.Lstat(state.CopyPath(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the copy: got %v, want that it is gone", err)
	}
}

// TestCopyThatCannotBeMadeLeavesNone: the previous copy lacks what was done since. The ledger goes
// on.
func TestCopyThatCannotBeMadeLeavesNone(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	plan(t, l, item(1))
	must(t, l.SaveCopy())
	must(t, os.Remove(state.CopyPath(path)))
	must(t, os.Mkdir(state.CopyPath(path), 0o700)) // nothing can be renamed over a directory
	if err := l.SaveCopy(); err == nil {
		t.Error("got no error, want one")
	}
	plan(t, l, item(2))
	if err := l.Err(); err != nil {
		t.Errorf("the ledger: got %v, want that it goes on", err)
	}
	if _, err := os.Lstat(state.CopyPath(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the copy: got %v, want that it is gone", err)
	}
	must(t, l.SaveCopy())
}

// TestPlantedCopyIsNotFollowed: whoever can write beside the ledger can plant anything there.
func TestPlantedCopyIsNotFollowed(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	plan(t, l, item(1))
	must(t, l.SaveCopy())
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	must(t, os.Rename(state.CopyPath(path), elsewhere))
	must(t, os.Symlink(elsewhere, state.CopyPath(path)))
	if _, _, err := state.OpenCopy(path, state.Options{}); err == nil {
		t.Error("through a link: got no error, want one")
	}
	must(t, os.Remove(state.CopyPath(path)))
	for n, content := range []string{"", "no ledger", fmt.Sprint(make([]byte, 1<<16))} {
		must(t, os.WriteFile(state.CopyPath(path), []byte(content), 0o600))
		if _, _, err := state.OpenCopy(path, state.Options{}); !errors.Is(err, state.ErrDamaged) {
			t.Errorf("%d: got %v, want it refused", n, err)
		}
	}
}

// TestCopyOfAnEarlierProcessIsRemoved by the next process that opens the ledger for writing, not
// by a reader.
func TestCopyOfAnEarlierProcessIsRemoved(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	must(t, l.SaveCopy())
	must(t, l.Close())
	for _, readOnly := range []bool{true, false} {
		l, err := state.Open(path, state.Options{ReadOnly: readOnly})
		must(t, err)
		if _, err := os.Lstat(state.CopyPath(path)); errors.Is(err, fs.ErrNotExist) == readOnly {
			t.Errorf("opened read-only %t: got %v, want the copy there %t", readOnly, err, readOnly)
		}
		must(t, l.Close())
	}
}
