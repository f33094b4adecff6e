package servertest

import "syscall"

// UntilWeDie makes the kernel end a server with this process, even if a test's time limit or a kill prevents the
// cleanup.
func UntilWeDie() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
