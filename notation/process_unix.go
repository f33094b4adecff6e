//go:build unix

package notation

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the plugin into a process group of its own: Ctrl-C then reaches us and
// not a signature in flight, and one signal ends it with its children.
func ownGroup(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
}

// killGroup ends what the plugin left behind. That there is nothing is the usual case,
// so the error is of no interest.
func killGroup(c *exec.Cmd) {
	if c.Process != nil {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	}
}
