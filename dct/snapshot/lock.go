package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dct2notation/dct2notation/internal/durable"
)

// ErrLocked is returned by [Save] when another process is saving into the directory.
var ErrLocked = errors.New("snapshot is being written by another process")

// lockName is the file that the writer locks. It is empty and is never removed: otherwise two
// writers could lock two different files of the same name.
const lockName = ".dct2notation.lock"

// lock makes the caller the only writer until it calls the returned function. The lock ends with the process.
func lock(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, lockName)
	// Nothing is written through this handle, wherever a planted link may lead.
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("locking %s: no regular file", path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|durable.NoFollow, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	locked, err := durable.TryLock(f)
	if err != nil || !locked {
		_ = f.Close() // not written to
		if err == nil {
			err = ErrLocked
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil // releases the lock
}
