package command

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/state"
)

// A copy that an earlier process has left says nothing of what was signed since, so no verb says
// yes by it.
func TestACopyOlderThanTheLedgersHolderIsNotRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := state.Open(path, state.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	must(t, l.SaveCopy())
	log := slog.New(slog.DiscardHandler)
	now, err := readLedger(path, log)
	must(t, err)
	must(t, now.Close())
	before := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(state.CopyPath(path), before, before))
	old, err := readLedger(path, log)
	var busy *inUse
	if !errors.As(err, &busy) {
		t.Errorf("got %v, %v, want that the ledger is in use", old, err)
	}
}

// A copy has all only if it was made after the last pass of the process that has the ledger, and the next
// has not begun.
func TestACopyHasAllBetweenTwoPasses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := state.Open(path, state.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	log := slog.New(slog.DiscardHandler)
	st := newStatusFile(path, log)
	st.rests = true
	for _, step := range []struct {
		name string
		do   func()
		want bool
	}{
		{"in the first pass", func() { must(t, l.SaveCopy()) }, false},
		{"after it, before the copy", func() { st.end(counts{known: 0, done: 0}, nil) }, false},
		{"between two passes", func() { must(t, l.SaveCopy()) }, true},
		{"of another process", func() { st.now.PID++; st.write(); must(t, l.SaveCopy()); st.now.PID-- }, false},
		{"in the second pass", func() { st = newStatusFile(path, log); must(t, l.SaveCopy()) }, false},
		{"without a status", func() { must(t, os.Remove(statusPath(path))); must(t, l.SaveCopy()) }, false},
	} {
		step.do()
		got, err := readLedger(path, log)
		must(t, err)
		must(t, got.Close())
		if (got.behind == "") != step.want {
			t.Errorf("%s: got behind %q, want %t", step.name, got.behind, step.want)
		}
	}
}
