package snapshot

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
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
	unused := w.unused()
	err := removeAll(w.dir, func(name string) bool { return isTemporary(name) })
	if err != nil {
		return err
	}
	return removeAll(blobDir(w.dir), func(name string) bool {
		return isTemporary(name) || unused(name)
	})
}

// unused returns a function that reports whether a name is that of a blob to which the index does not lead.
func (w *writer) unused() func(name string) bool {
	empty := sumIn(ocispec.DescriptorEmptyJSON.Digest)
	used := []*[sha256.Size]byte{&empty} // a map would take many times the memory
	for _, e := range w.saved.entries {
		used = append(used, &e.manifest.sum)
		for i := range e.files {
			used = append(used, &e.files[i].sum)
		}
	}
	for _, a := range w.saved.present() {
		for _, d := range a.blobs {
			sum := sumIn(d)
			used = append(used, &sum)
		}
	}
	compare := func(a, b *[sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) }
	slices.SortFunc(used, compare)
	return func(name string) bool {
		d := digest.NewDigestFromEncoded(digest.SHA256, name)
		if checkDigest(d) != nil {
			return false
		}
		sum := sumIn(d)
		_, found := slices.BinarySearchFunc(used, &sum, compare)
		return !found
	}
}

// filesIn returns the wanted names of files in a directory. It reads a part of the directory at a time: the blobs of
// thousands of repositories need megabytes.
func filesIn(dir string, wanted func(name string) bool) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }() // only read from
	var names []string
	for {
		part, err := d.ReadDir(256)
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		for _, e := range part {
			if !e.IsDir() && wanted(e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
}

// removeAll removes the files in a directory with unwanted names.
func removeAll(dir string, unwanted func(name string) bool) error {
	names, err := filesIn(dir, unwanted)
	if err != nil || len(names) == 0 {
		return err
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
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
