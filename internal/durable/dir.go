package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// MkdirAll creates the directory and those above it that are missing, each
// with permissions perm (reduced by the umask), and flushes each new name.
// Directories that exist are left as they are.
func MkdirAll(dir string, perm os.FileMode) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("creating directory %s: a file is in the way", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("creating directory %s: %w", dir, err)
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	// Another process may create it at the same moment; that is just as good.
	if err := os.Mkdir(dir, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("creating directory %s: %w", dir, err)
	}
	return SyncDir(parent)
}
