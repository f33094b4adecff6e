//go:build !windows

package durable

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// SyncDir flushes the directory, so that names created, renamed or removed in
// it survive a power loss. On Windows it does nothing.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("flushing directory %s: %w", dir, err)
	}
	// Some file systems (CIFS, FUSE) cannot flush directories and say so; nothing more can be done.
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		d.Close()
		return fmt.Errorf("flushing directory %s: %w", dir, err)
	}
	return d.Close()
}
