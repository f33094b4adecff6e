//go:build !linux

package servertest

import "syscall"

// UntilWeDie relies on the tests' cleanups, since there is nothing better here.
func UntilWeDie() *syscall.SysProcAttr { return nil }
