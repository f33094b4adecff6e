package state_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dct2notation/dct2notation/state"
)

// world is what lies in a directory: names, contents and times.
func world(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		all = append(all, path+info.ModTime().String()+string(raw))
		return err
	}))
	return all
}

func TestReadingALedgerLeavesEverythingAsItIs(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	plan(t, l, item(1))
	must(t, l.Bind(state.Fingerprint{"server": "a"}, false))
	must(t, l.Close())
	before := world(t, filepath.Dir(path))
	r, err := state.Open(path, state.Options{ReadOnly: true, Tool: "another"})
	must(t, err)
	if f, err := r.Fingerprint(); err != nil || f["server"] != "a" {
		t.Errorf("fingerprint %v: %v", f, err)
	}
	if err := r.Bind(state.Fingerprint{"server": "b"}, true); err == nil {
		t.Error("a change was taken")
	}
	during := world(t, filepath.Dir(path))
	must(t, r.Close())
	if !slices.Equal(before, during) || !slices.Equal(before, world(t, filepath.Dir(path))) {
		t.Error("something was written")
	}
}

// For root every file is writable: only as another user this can fail.
func TestALedgerThatIsNotWritableCanBeRead(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	must(t, l.Bind(state.Fingerprint{"server": "a"}, false))
	must(t, l.Close())
	must(t, os.Chmod(path, 0o400))
	must(t, os.Chmod(filepath.Dir(path), 0o500))
	t.Cleanup(func() { _, _ = os.Chmod(filepath.Dir(path), 0o700), os.Chmod(path, 0o600) }) // to be checked and removed
	r, err := state.Open(path, state.Options{ReadOnly: true})
	must(t, err)
	defer r.Close()
	if f, err := r.Fingerprint(); err != nil || f["server"] != "a" {
		t.Errorf("fingerprint %v: %v", f, err)
	}
	if _, err := state.Open(path, state.Options{ReadOnly: true}); !errors.Is(err, state.ErrLocked) {
		t.Errorf("a second reader: %v", err)
	}
}

func TestReadingMakesNoLedger(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "below", "ledger.db")
	if _, err := state.Open(path, state.Options{ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory: %v", err)
	}
}

// A holder that reads does not hide that it holds.
func TestLedgerThatIsHeldIsNotRead(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	must(t, l.Close())
	startHolder(t, path)
	holder, err := os.ReadFile(path + ".holder")
	must(t, err)
	if _, err := state.Open(path, state.Options{ReadOnly: true}); !errors.Is(err, state.ErrLocked) {
		t.Errorf("error %v", err)
	}
	if now, err := os.ReadFile(path + ".holder"); err != nil || !bytes.Equal(now, holder) {
		t.Errorf("the holder's file: %q, %v", now, err)
	}
}

func TestSurveyFindsThePlaceAndChangesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, err := state.Survey(filepath.Join(dir, "a", "b", "ledger.db"))
	must(t, err)
	if p.Exists || p.Dir != dir || len(world(t, dir)) != 0 {
		t.Errorf("place %+v, left %v", p, world(t, dir))
	}
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if p, err := state.Survey(file); err != nil || !p.Exists {
		t.Errorf("place %+v: %v", p, err)
	}
	if _, err := state.Survey(filepath.Join(file, "ledger.db")); err == nil {
		t.Error("a file was taken for a directory")
	}
}
