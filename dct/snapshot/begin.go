package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/durable"
)

// Modes: trust data is public, and other tools may copy it.
const (
	dirMode  = 0o755
	fileMode = 0o644
)

// blobDir is where the blobs of a layout lie.
func blobDir(dir string) string { return filepath.Join(dir, "blobs", "sha256") }

// prepare creates an empty layout if there is none. It leaves a directory with other content alone: a writer removes
// blobs that no index lists, and they may be someone's.
func prepare(dir string) error {
	_, err := os.Lstat(filepath.Join(dir, ocispec.ImageLayoutFile))
	if err == nil {
		return nil
	}
	if !isNotThere(err) {
		return err
	}
	if err := checkUnused(dir); err != nil {
		return err
	}
	if err := durable.MkdirAll(blobDir(dir), dirMode); err != nil {
		return err
	}
	index, err := newIndex(nil)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(dir, ocispec.ImageIndexFile), index, fileMode); err != nil {
		return err
	}
	// This file comes last: it makes the directory a complete layout.
	return durable.WriteFile(filepath.Join(dir, ocispec.ImageLayoutFile), []byte(layoutFile), fileMode)
}

// ErrOther is returned by Save for a directory that holds something other than a snapshot.
var ErrOther = errors.New("it is no snapshot")

// checkUnused accepts an empty directory, and one in which prepare was interrupted.
func checkUnused(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		switch {
		case e.Name() == lockName, isTemporary(e.Name()):
		case e.Name() == "blobs" && e.IsDir():
			blobs, err := os.ReadDir(blobDir(dir))
			if err != nil && !isNotThere(err) {
				return err
			}
			if len(blobs) > 0 {
				return fmt.Errorf("%w, or a damaged one: it has blobs and no oci-layout", ErrOther)
			}
		case e.Name() == ocispec.ImageIndexFile:
			raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			if empty, err := newIndex(nil); err != nil || !bytes.Equal(raw, empty) {
				return fmt.Errorf("%w, or a damaged one: it has an index.json and no oci-layout", ErrOther)
			}
		default:
			return fmt.Errorf("%w, and has other things in it, such as %q: choose an empty directory", ErrOther, e.Name())
		}
	}
	return nil
}
