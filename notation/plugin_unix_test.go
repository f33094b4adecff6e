//go:build unix

package notation

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// owned is file information with another owner, which only root could create for real.
type owned struct {
	fs.FileInfo
	by uint32
}

func (o owned) Sys() any {
	s := *o.FileInfo.Sys().(*syscall.Stat_t)
	s.Uid = o.by
	return &s
}

func TestPluginOfAnotherUserIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notation-any")
	must(t, os.WriteFile(path, nil, 0o755))
	info, err := os.Stat(path)
	must(t, err)
	for _, c := range []struct {
		owner uint32
		user  int
		good  bool
	}{{1000, 1000, true}, {0, 1000, true}, {0, 0, true}, {1001, 1000, false}, {1000, 0, false}} {
		why, hint := alterable(owned{info, c.owner}, c.user)
		if (why == "") != c.good || !c.good && (!strings.Contains(why, "another user") || hint == "") {
			t.Errorf("file of %d, user %d: got %q, hint %q, want it good: %t", c.owner, c.user, why, hint, c.good)
		}
	}
}
