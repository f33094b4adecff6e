//go:build !unix

package cli

import "os"

// Alive reports whether a process with that id exists.
func Alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	_ = p.Release() // only its existence matters
	return true
}
