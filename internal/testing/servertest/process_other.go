//go:build !linux

package servertest

import "syscall"

// UntilWeDie relies on the tests' cleanups, since this system has nothing better.
func UntilWeDie() *syscall.SysProcAttr { return nil }
