//go:build linux

package state

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestNetworkFileSystemsAreKnownByTheirNumber(t *testing.T) {
	t.Parallel()
	for number, want := range map[int64]string{
		unix.NFS_SUPER_MAGIC: "NFS", unix.CIFS_SUPER_MAGIC: "CIFS", unix.SMB2_SUPER_MAGIC: "SMB2",
		unix.FUSE_SUPER_MAGIC: "FUSE", unix.CEPH_SUPER_MAGIC: "Ceph", unix.V9FS_MAGIC: "9P",
		unix.EXT4_SUPER_MAGIC: "", unix.TMPFS_MAGIC: "", unix.OVERLAYFS_SUPER_MAGIC: "", unix.XFS_SUPER_MAGIC: "",
	} {
		if got := remote[uint32(number)]; got != want {
			t.Errorf("%#x is %q, want %q", number, got, want)
		}
	}
}
