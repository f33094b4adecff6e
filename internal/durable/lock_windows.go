package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// Windows has neither flag: look at the file before and after.
const (
	NoFollow = 0
	NoWait   = 0
)

// TryLock takes the exclusive lock on f and reports whether it got it: false if another open file has
// it, of this process or another. The lock ends with [Unlock], and when f is closed.
func TryLock(f *os.File) (bool, error) {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, lockByte())
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// Unlock gives back the lock on f.
func Unlock(f *os.File) error {
	return windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, lockByte())
}

// lockByte is the byte that bbolt locks, too, far behind the data: Windows keeps others from reading a
// byte that is locked.
func lockByte() *windows.Overlapped {
	return &windows.Overlapped{Offset: 1<<32 - 1, OffsetHigh: 1<<32 - 1}
}
