//go:build unix

package notation

import (
	"fmt"
	"io/fs"
	"syscall"
)

func binaryName(plugin string) string { return "notation-" + plugin }

// untold is added to what is said about the place of a plugin's file.
const untold = ""

// alterable says why others than the given user and root can change a file, or replace what is in a folder, and how
// to fix that. It is empty if they cannot. In a sticky folder, such as /tmp, nobody can touch another user's files.
func alterable(info fs.FileInfo, user int) (why, hint string) {
	sticky := info.IsDir() && info.Mode()&fs.ModeSticky != 0
	if info.Mode().Perm()&0o022 != 0 && !sticky {
		return fmt.Sprintf("can be written by others (mode %04o)", info.Mode().Perm()), "chmod go-w"
	}
	if own, ok := info.Sys().(*syscall.Stat_t); ok && own.Uid != 0 && int(own.Uid) != user {
		return fmt.Sprintf("belongs to another user (uid %d)", own.Uid), "if it is what you installed, give it to yourself or to root with chown:"
	}
	return "", ""
}
