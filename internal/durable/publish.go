package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Publish moves the finished file temp to path, in the same directory, and never replaces an existing file: then the
// error is fs.ErrExist and temp stays. On success temp is gone.
//
// Unlike a rename, which would take away a file that another process has created and opened in the meantime, a hard
// link fails when the name is taken. On a file system without hard links, the best possible is to check and then
// rename.
func Publish(temp, path string) error {
	if err := publish(temp, path); err != nil {
		return fmt.Errorf("publishing %s: %w", path, err)
	}
	return nil
}

func publish(temp, path string) error {
	if err := syncFile(temp); err != nil {
		return err
	}
	switch err := os.Link(temp, path); {
	case err == nil:
		if err := os.Remove(temp); err != nil {
			return err
		}
	case errors.Is(err, fs.ErrExist):
		return err
	default:
		if err := renameAbsent(temp, path); err != nil {
			return err
		}
	}
	return SyncDir(filepath.Dir(path))
}

// renameAbsent renames temp to path if path does not exist. Two processes can pass this
// check at the same time; the later one then wins.
func renameAbsent(temp, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "rename", Path: path, Err: fs.ErrExist}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(temp, path)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
