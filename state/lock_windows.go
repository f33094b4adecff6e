package state

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// noFollow does not exist on Windows; identify refuses links there.
const noFollow = 0

// noWait is not needed on Windows.
const noWait = 0

// lockByte is the byte range that bbolt locks, far behind the data.
func lockByte() *windows.Overlapped {
	return &windows.Overlapped{Offset: 1<<32 - 1, OffsetHigh: 1<<32 - 1}
}

// tryLock takes the exclusive lock on f; false if another process has it.
func tryLock(f *os.File) (bool, error) {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, lockByte())
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// handOver gives the lock back, because bbolt cannot take it a second time. A
// process that gets in between keeps it, and bbolt then waits in vain.
func handOver(f *os.File) error {
	return windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, lockByte())
}
