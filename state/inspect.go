package state

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/dct2notation/dct2notation/internal/durable"
)

// inspect opens an existing ledger file, locks it and checks all of it before bbolt sees any of it. It writes
// nothing, and closes the file on error. fixed opens it without write permission; a copy, which never changes, needs
// no lock.
func inspect(path string, fixed, lock bool) (_ *os.File, _ os.FileInfo, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|durable.NoFollow, 0)
	if err != nil && fixed {
		f, err = os.OpenFile(path, os.O_RDONLY|durable.NoFollow, 0)
	}
	if err != nil {
		return nil, nil, describeLink(path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if _, err := identify(path, f); err != nil {
		return nil, nil, err
	}
	// Only the lock's holder sees a file that does not change.
	if lock {
		if err := waitLock(path, f); err != nil {
			return nil, nil, err
		}
	}
	// Check again: until now another process could have renamed it.
	self, err := identify(path, f)
	if err != nil {
		return nil, nil, err
	}
	if self.Size() > int64(maxSize()) {
		return nil, nil, damage("the file is %d bytes large, more than a ledger ever gets", self.Size())
	}
	if err := audit(f, self.Size()); err != nil {
		return nil, nil, err
	}
	if !lock {
		return f, self, nil
	}
	return f, self, handOver(f)
}

// identify makes sure that f is a plain file and the one at path, not one that was renamed between opening and
// locking.
func identify(path string, f *os.File) (os.FileInfo, error) {
	self, err := f.Stat()
	if err != nil {
		return nil, err
	}
	named, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	switch {
	case named.Mode()&os.ModeSymlink != 0:
		return nil, errLink
	case !self.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case !os.SameFile(self, named):
		return nil, ErrReplaced
	}
	return self, nil
}

var errLink = errors.New("it is a symbolic link\nhint: name the file itself")

// describeLink replaces the system's word for a refused link with ours.
func describeLink(path string, err error) error {
	if info, e := os.Lstat(path); e == nil && info.Mode()&os.ModeSymlink != 0 {
		return errLink
	}
	return err
}

const lockPoll = 50 * time.Millisecond

// waitLock waits for the lock that bbolt uses, or returns a *LockedError.
func waitLock(path string, f *os.File) error {
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(lockPoll) {
		switch got, err := durable.TryLock(f); {
		case err != nil:
			return fmt.Errorf("locking: %w", err)
		case got:
			return nil
		case time.Now().After(deadline):
			return &LockedError{Path: path, Holder: holder(path)}
		}
	}
}

// Free reports whether nobody holds the ledger, without waiting. What cannot be found out does not count as free.
func Free(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|durable.NoFollow|durable.NoWait, 0)
	if err != nil {
		return false
	}
	defer f.Close() // ends the lock too
	got, err := durable.TryLock(f)
	return got && err == nil
}

// handOver lets bbolt take the lock on f. Windows does not allow taking it twice, so it is released first. A process
// that gets it in between keeps it, and bbolt then waits in vain. Elsewhere the lock belongs to the open file, and
// bbolt gets it at once.
func handOver(f *os.File) error {
	if runtime.GOOS != "windows" {
		return nil
	}
	return durable.Unlock(f)
}
