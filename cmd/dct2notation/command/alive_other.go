//go:build !unix

package command

import "os"

// alive reports whether a process with that number exists.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	_ = p.Release() // only asked whether it is there
	return true
}
