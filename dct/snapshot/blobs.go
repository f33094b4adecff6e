package snapshot

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/durable"
)

// put has the bytes on the disk as blobs when it returns. Damaged ones are replaced.
func (w *writer) put(blobs ...[]byte) error {
	for _, raw := range blobs {
		if err := w.replace(filepath.Join(blobDir(w.dir), sumOf(raw).Encoded()), raw); err != nil {
			return err
		}
	}
	return nil
}

// replace writes a file unless it has these bytes already. One that has them is durable: it
// got its name after its bytes.
func (w *writer) replace(path string, raw []byte) error {
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() == int64(len(raw)) {
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, raw) {
			return nil
		}
	}
	return durable.WriteFile(path, raw, fileMode)
}

// hasContent reports whether a file is what write writes. An error is of write itself.
func hasContent(path string, write func(io.Writer) error) (bool, error) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return false, nil
	}
	defer func() { _ = f.Close() }() // only read from
	left := bufio.NewReader(f)
	if err := write(comparing{left}); errors.Is(err, errOther) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	_, err = left.ReadByte()
	return errors.Is(err, io.EOF), nil
}

var errOther = errors.New("other bytes")

// comparing is a writer that takes what is read next, and nothing else.
type comparing struct{ from io.Reader }

func (c comparing) Write(p []byte) (int, error) {
	there := make([]byte, len(p))
	if _, err := io.ReadFull(c.from, there); err != nil || !bytes.Equal(there, p) {
		return 0, errOther
	}
	return len(p), nil
}

// sweep removes blobs that the index does not lead to: those of replaced manifests, and
// those that a killed run wrote. The index is on the disk before.
func (w *writer) sweep() error {
	for _, e := range w.saved.entries {
		if e.damage != nil {
			return nil // nobody knows which blobs are its own
		}
	}
	used := w.used()
	err := removeAll(w.dir, func(name string) bool { return isTemporary(name) })
	if err != nil {
		return err
	}
	return removeAll(blobDir(w.dir), func(name string) bool {
		return isTemporary(name) || isBlob(name) && !used[name]
	})
}

// used names the blobs that the index leads to.
func (w *writer) used() map[string]bool {
	used := map[string]bool{ocispec.DescriptorEmptyJSON.Digest.Encoded(): true}
	present := map[digest.Digest]bool{}
	for _, e := range w.saved.entries {
		present[e.descriptor.Digest] = true
		used[e.descriptor.Digest.Encoded()] = true
		for _, f := range e.files {
			used[f.digest.Encoded()] = true
		}
	}
	for _, a := range w.saved.attached {
		if !present[a.subject.Digest] {
			continue
		}
		for _, d := range a.blobs {
			used[d.Encoded()] = true
		}
	}
	return used
}

// removeAll removes the files in a directory whose names are unwanted.
func removeAll(dir string, unwanted func(name string) bool) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	removed := false
	for _, e := range list {
		if e.IsDir() || !unwanted(e.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return durable.SyncDir(dir)
}

// isBlob tells names that blobs have.
func isBlob(name string) bool {
	return checkDigest(digest.NewDigestFromEncoded(digest.SHA256, name)) == nil
}

// isTemporary tells the files that durable leaves behind when the power fails while it
// writes one of ours.
func isTemporary(name string) bool {
	rest, ok := strings.CutPrefix(name, ".")
	base, _, temp := strings.Cut(rest, ".tmp-")
	return ok && temp && (isBlob(base) || base == ocispec.ImageIndexFile || base == ocispec.ImageLayoutFile)
}
