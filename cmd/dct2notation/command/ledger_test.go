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
	now, _, err := readLedger(path, log)
	must(t, err)
	must(t, now.Close())
	before := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(state.CopyPath(path), before, before))
	old, _, err := readLedger(path, log)
	var busy *inUse
	if !errors.As(err, &busy) {
		t.Errorf("got %v, %v, want that the ledger is in use", old, err)
	}
}
