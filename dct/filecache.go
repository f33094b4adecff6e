package dct

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FileCache is a [Cache] in a directory: a tar file for each repository, named by the SHA-256 of its GUN, since GUNs
// are untrusted data. It is created on demand, may be removed at any time, and may be shared by processes.
type FileCache struct {
	Dir string
	// Trouble is called with each failure to keep or read files; it is required. A failure only costs time.
	Trouble func(error)
}

// maxKept is the maximum size of one repository's cached files, in bytes. They are in memory while the repository is
// read.
const maxKept = 64 << 20

func (c FileCache) path(gun GUN) string {
	name := sumOf([]byte(gun.String()))
	return filepath.Join(c.Dir, name[:2], name+".tar")
}

// Load implements [Cache].
func (c FileCache) Load(gun GUN) [][]byte {
	files, err := c.load(gun)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.Trouble(fmt.Errorf("reading what was kept of %s: %w", gun, err))
	}
	return files
}

func (c FileCache) load(gun GUN) ([][]byte, error) {
	f, err := os.Open(c.path(gun))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	archive := tar.NewReader(io.LimitReader(f, maxKept))
	var files [][]byte
	for {
		_, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		raw, err := io.ReadAll(archive)
		if err != nil {
			return nil, err
		}
		files = append(files, raw)
	}
}

// Keep implements [Cache].
func (c FileCache) Keep(gun GUN, files [][]byte) {
	if err := c.keep(c.path(gun), files); err != nil {
		c.Trouble(fmt.Errorf("keeping trust data of %s for the next read: %w", gun, err))
	}
}

func (c FileCache) keep(path string, files [][]byte) error {
	var b bytes.Buffer
	archive := tar.NewWriter(&b)
	for _, raw := range files {
		if err := archive.WriteHeader(&tar.Header{Name: sumOf(raw) + ".json", Mode: 0o600, Size: int64(len(raw))}); err != nil {
			return err
		}
		if _, err := archive.Write(raw); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	if b.Len() > maxKept {
		return fmt.Errorf("it has %d bytes, and %d are kept", b.Len(), maxKept)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	// One rename, so that no reader sees half of it. It need not survive a power loss.
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b.Bytes())
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // best effort
	}
	return err
}
