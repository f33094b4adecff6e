package snapshot

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// noFollow does not exist on Windows; lock looks before it opens.
const noFollow = 0

// tryLock takes the exclusive lock on f; false if somebody else has it.
func tryLock(f *os.File) (bool, error) {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}
