//go:build unix

package cli

import (
	"errors"
	"syscall"
)

// Alive reports whether a process with that id exists.
func Alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
