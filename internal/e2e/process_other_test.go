//go:build !linux

package e2e

import "syscall"

// untilWeDie relies on the tests' cleanups, since there is nothing better here.
func untilWeDie() *syscall.SysProcAttr { return nil }
