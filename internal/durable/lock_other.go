//go:build !windows

package durable

import (
	"errors"
	"os"
	"syscall"
)

// Flags of [os.OpenFile] for names that somebody else may have planted.
const (
	NoFollow = syscall.O_NOFOLLOW // a symbolic link is an error
	NoWait   = syscall.O_NONBLOCK // a pipe returns at once
)

// TryLock tries to take the exclusive lock on f and reports whether it got it. It returns false if another open file,
// of this process or another, holds it. The lock ends with [Unlock], and when f is closed and not mapped into memory.
func TryLock(f *os.File) (bool, error) {
	switch err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return false, nil
	default:
		return err == nil, err
	}
}

// Unlock releases the lock on f.
func Unlock(f *os.File) error { return flock(f, syscall.LOCK_UN) }

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
