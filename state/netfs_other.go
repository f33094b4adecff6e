//go:build !linux

package state

// networkFS can tell on Linux only.
func networkFS(string) (string, bool) { return "", false }
