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

// put stores the bytes as blobs; they are on the disk when it returns. It replaces damaged ones.
func (w *writer) put(blobs ...[]byte) error {
	for _, raw := range blobs {
		if err := w.replace(filepath.Join(blobDir(w.dir), sumOf(raw).Encoded()), raw); err != nil {
			return err
		}
	}
	return nil
}

// replace writes a file unless it already has these bytes. If it has, it is durable: it got its name after its bytes.
func (w *writer) replace(path string, raw []byte) error {
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() == int64(len(raw)) {
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, raw) {
			return nil
		}
	}
	return durable.WriteFile(path, raw, fileMode)
}

// hasContent reports whether a file's content is what write writes. An error comes from write itself.
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

// comparing is a writer that accepts only what it reads next from from.
type comparing struct{ from io.Reader }

func (c comparing) Write(p []byte) (int, error) {
	there := make([]byte, len(p))
	if _, err := io.ReadFull(c.from, there); err != nil || !bytes.Equal(there, p) {
		return 0, errOther
	}
	return len(p), nil
}

// sweep removes blobs that the index does not lead to: those of replaced manifests and of killed runs. The index must
// be on the disk before.
func (w *writer) sweep() error {
	for _, e := range w.saved.entries {
		if e.damage != nil {
			return nil // unknown which blobs are its own
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

// used returns the names of the blobs that the index leads to.
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

// removeAll removes the files in a directory with unwanted names.
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

// isBlob reports whether a name is a blob's.
func isBlob(name string) bool {
	return checkDigest(digest.NewDigestFromEncoded(digest.SHA256, name)) == nil
}

// isTemporary reports whether a name is that of a file that durable leaves behind if the power fails while it writes
// one of ours.
func isTemporary(name string) bool {
	rest, ok := strings.CutPrefix(name, ".")
	base, _, temp := strings.Cut(rest, ".tmp-")
	return ok && temp && (isBlob(base) || base == ocispec.ImageIndexFile || base == ocispec.ImageLayoutFile)
}
