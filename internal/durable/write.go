package durable

import (
	"fmt"
	"os"
	"path/filepath"
)

// WriteFile replaces the file at path by one holding data, with permissions
// perm (not reduced by the umask). A reader sees the old content or the new
// one, never a part. A symbolic link at path is replaced, not followed. The
// directory must exist. On error the old file is untouched, except that an
// error in the very last step (flushing the directory) may leave the new one.
func WriteFile(path string, data []byte, perm os.FileMode) error {
	if err := replaceFile(path, data, perm); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func replaceFile(path string, data []byte, perm os.FileMode) error {
	temp, err := writeTemp(path, data, perm)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		os.Remove(temp)
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// writeTemp puts data on the disk beside path and returns the name it has
// there. Nothing is left behind on error.
func writeTemp(path string, data []byte, perm os.FileMode) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(perm); err != nil {
		return "", err
	}
	if _, err := f.Write(data); err != nil {
		return "", err
	}
	// Before the rename: else the name can reach the disk before the bytes.
	if err := f.Sync(); err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}
