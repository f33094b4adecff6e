//go:build linux || darwin

package state

import "golang.org/x/sys/unix"

// mayWrite returns an error unless files can be made in the directory.
func mayWrite(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }

// freeSpace is what may still be written on the directory's file system.
func freeSpace(dir string) (uint64, bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return s.Bavail * uint64(s.Bsize), true
}
