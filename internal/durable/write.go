package durable

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WriteFile replaces the file at path by one holding data, with permissions perm (not reduced by the umask). A reader
// sees the old content or the new one, never a part. A symbolic link at path is replaced, not followed. The directory
// must exist. On error the old file is untouched, but an error in the last step (flushing the directory) may leave
// the new one.
func WriteFile(path string, data []byte, perm os.FileMode) error {
	return Write(path, perm, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Write is [WriteFile] for content that is written piece by piece. An error from content leaves the old file.
func Write(path string, perm os.FileMode, content func(io.Writer) error) error {
	if err := replaceFile(path, perm, content); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func replaceFile(path string, perm os.FileMode, content func(io.Writer) error) error {
	temp, err := writeTemp(path, perm, content)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		os.Remove(temp)
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// writeTemp writes content to a temporary file next to path, flushes it and returns its
// name. On error no file is left.
func writeTemp(path string, perm os.FileMode, content func(io.Writer) error) (name string, err error) {
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
	if err := content(f); err != nil {
		return "", err
	}
	// Flush before the rename: otherwise the name can reach the disk before the bytes.
	if err := f.Sync(); err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}
