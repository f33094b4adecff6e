//go:build cgo && unix

package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// keepModuleQuiet moves our own output away from file descriptors 1 and 2 and points those at /dev/null. Vendors'
// libraries print banners and log lines there; any of those beside the answer makes it malformed for Notation, which
// then drops the error's code. Crashes still reach stderr, where their text is needed.
func keepModuleQuiet() error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("silencing the PKCS#11 module: %w", err)
	}
	defer null.Close()
	stdout, err := move(1, null)
	if err != nil {
		return err
	}
	stderr, err := move(2, null)
	if err != nil {
		return err
	}
	os.Stdout = os.NewFile(uintptr(stdout), "stdout")
	os.Stderr = os.NewFile(uintptr(stderr), "stderr")
	return debug.SetCrashOutput(os.Stderr, debug.CrashOptions{})
}

// move copies a descriptor and puts null in its place. The copy is closed in programs that the library may start, so
// that none of them holds the pipe open.
func move(fd int, null *os.File) (int, error) {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return 0, fmt.Errorf("copying file descriptor %d: %w", fd, err)
	}
	if err := unix.Dup2(int(null.Fd()), fd); err != nil {
		return 0, fmt.Errorf("silencing file descriptor %d: %w", fd, err)
	}
	return copied, nil
}
