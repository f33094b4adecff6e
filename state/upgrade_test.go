package state

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestAnUpgradeThatFailsLeavesTheOldLedger: an upgrade is one transaction.
func TestAnUpgradeThatFailsLeavesTheOldLedger(t *testing.T) {
	packed, err := os.ReadFile("testdata/schema1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	was := upgrades[0]
	t.Cleanup(func() { upgrades[0] = was })
	full := errors.New("disk full")
	upgrades[0] = func(b *batch) error { return errors.Join(was(b), full) } // after all of its work
	if _, err := Open(path, Options{}); !errors.Is(err, full) {
		t.Fatalf("got %v, want the upgrade's error", err)
	}
	l, err := Open(path, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if l.schema != 1 {
		t.Errorf("got schema %d, want 1", l.schema)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	upgrades[0] = was
	if l, err = Open(path, Options{}); err != nil || l.schema != schemaVersion {
		t.Fatalf("afterwards: got %v, want schema %d", err, schemaVersion)
	}
	if err := errors.Join(l.VerifyEvents(), l.Close()); err != nil {
		t.Fatal(err)
	}
}
