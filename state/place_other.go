//go:build !linux && !darwin

package state

// mayWrite cannot tell here without writing.
func mayWrite(string) error { return nil }

// freeSpace is not known here.
func freeSpace(string) (uint64, bool) { return 0, false }

// networkFS cannot tell here.
func networkFS(string) (string, bool) { return "", false }
