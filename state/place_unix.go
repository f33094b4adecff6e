//go:build linux || darwin

package state

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// mayWrite returns an error unless files can be created in the directory.
func mayWrite(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }

// freeSpace returns the free bytes on the directory's file system.
func freeSpace(dir string) (uint64, bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return s.Bavail * uint64(s.Bsize), true
}

// remote names the file systems whose locks or flushes depend on another machine or process, by the kernel's number.
var remote = map[uint32]string{
	0x00006969: "NFS",
	0x0000517B: "SMB",
	0xFF534D42: "CIFS",
	0xFE534D42: "SMB2",
	0x65735546: "FUSE",
	0x01021997: "9P",
	0x5346414F: "AFS",
	0x73757245: "Coda",
	0x00C36400: "Ceph",
	0x0BD00BD0: "Lustre",
}

// networkFS returns the network file system that dir is on. It returns false if dir is on none that is known, or if
// this cannot be found out, as on all systems but Linux.
func networkFS(dir string) (string, bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil || runtime.GOOS != "linux" {
		return "", false
	}
	name, bad := remote[uint32(s.Type)]
	return name, bad
}
