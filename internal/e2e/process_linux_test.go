package e2e

import "syscall"

// untilWeDie has the kernel end a server with this process, also when a test's time limit
// or a kill leaves no cleanup.
func untilWeDie() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
