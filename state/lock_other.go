//go:build !windows

package state

import (
	"errors"
	"os"
	"syscall"
)

// noFollow makes opening a symbolic link fail.
const noFollow = syscall.O_NOFOLLOW

// noWait makes opening a planted pipe return at once.
const noWait = syscall.O_NONBLOCK

// tryLock takes the exclusive lock on f; false if another process has it. The
// lock belongs to the open file, so bbolt's own attempt on it succeeds at once.
func tryLock(f *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, err
		}
	}
}

// handOver leaves the lock as it is: bbolt takes it again on the same file.
func handOver(*os.File) error { return nil }
