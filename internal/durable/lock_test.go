package durable_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dct2notation/dct2notation/internal/durable"
)

// A lock has one holder until it is given back or its file is closed.
func TestLockHasOneHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		t.Helper()
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|durable.NoFollow|durable.NoWait, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	try := func(who string, f *os.File, want bool) {
		t.Helper()
		if got, err := durable.TryLock(f); got != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", who, got, err, want)
		}
	}
	first, second, third := open(), open(), open()
	try("first", first, true)
	try("second, while the first has it", second, false)
	if err := durable.Unlock(first); err != nil {
		t.Fatal(err)
	}
	try("second, after the first gave it back", second, true)
	try("third, while the second has it", third, false)
	second.Close()
	try("third, after the second was closed", third, true)
	third.Close()
	if got, err := durable.TryLock(third); got || err == nil {
		t.Errorf("a closed file: got %v, %v, want an error", got, err)
	}
}
