//go:build !unix

package notation

import "os/exec"

// Without process groups, only the plugin itself is killed at the deadline, and WaitDelay frees us from children that
// hold its output.
func ownGroup(*exec.Cmd)  {}
func killGroup(*exec.Cmd) {}
