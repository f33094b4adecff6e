//go:build unix

package notation

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the plugin into its own process group: Ctrl-C then reaches us but not a signature in progress, and
// one signal ends the plugin with its children.
func ownGroup(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
}

// killGroup ends what the plugin left behind. Usually there is nothing, so the error is ignored.
func killGroup(c *exec.Cmd) {
	if c.Process != nil {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	}
}
