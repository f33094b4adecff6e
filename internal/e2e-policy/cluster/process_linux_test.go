package cluster

import "syscall"

// dieWithUs has the kernel end a process whose test was killed and cleans up no more.
func dieWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
