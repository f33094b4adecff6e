package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// Windows has neither flag: check the file before and after.
const (
	NoFollow = 0
	NoWait   = 0
)

// TryLock tries to take the exclusive lock on f and reports whether it got it. It returns false if another open file,
// of this process or another, holds it. The lock ends with [Unlock], and when f is closed and not mapped into memory.
func TryLock(f *os.File) (bool, error) {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, lockByte())
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// Unlock releases the lock on f.
func Unlock(f *os.File) error {
	return windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, lockByte())
}

// lockByte is the byte that bbolt also locks. It is far behind the data, because Windows keeps others from reading a
// locked byte.
func lockByte() *windows.Overlapped {
	return &windows.Overlapped{Offset: 1<<32 - 1, OffsetHigh: 1<<32 - 1}
}
