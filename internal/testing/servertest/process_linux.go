package servertest

import "syscall"

// UntilWeDie has the kernel end a server with this process, also when a test's time limit
// or a kill leaves no cleanup.
func UntilWeDie() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
