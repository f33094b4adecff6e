package snapshot

import (
	"strings"
	"testing"
	"testing/fstest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// verdict is what Verify says of the files of a layout, before it looks at signatures, as
// one text; empty if all is well.
func verdict(t *testing.T, layout fstest.MapFS) string {
	t.Helper()
	s, err := open(layout)
	if err != nil {
		return err.Error()
	}
	return s.verdict(t)
}

func (s *Snapshot) verdict(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, gun := range s.GUNs() {
		if err := s.intact(t.Context(), gun); err != nil {
			all.WriteString(err.Error() + "\n")
		}
	}
	return all.String()
}

// whose tells what a verdict has to name when the file is damaged.
func whose(t *testing.T, layout fstest.MapFS) map[string][]string {
	t.Helper()
	s, err := open(layout)
	must(t, err)
	names := map[string][]string{"oci-layout": {"oci-layout"}, "index.json": {"index.json"}}
	names[blobName(ocispec.DescriptorEmptyJSON.Digest)] = []string{"config"}
	for gun, e := range s.entries {
		names[blobName(e.descriptor.Digest)] = []string{gun.String(), "manifest", blobName(e.descriptor.Digest)}
		for _, f := range e.files {
			names[blobName(f.digest)] = []string{gun.String(), "role " + f.role, "file " + f.name, blobName(f.digest)}
		}
	}
	if len(names) != len(layout) {
		t.Fatalf("%d files belong to something, and there are %d", len(names), len(layout))
	}
	return names
}

// Every byte of every file of a snapshot is covered.
func TestEveryFlippedBitIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	s := newScene(t, rotated)
	dir := t.TempDir()
	s.save(t, dir)
	layout := tree(t, dir)
	saved, err := open(layout)
	must(t, err)
	if v := saved.verdict(t); v != "" {
		t.Fatal(v)
	}
	for file, wanted := range whose(t, layout) {
		f := layout[file]
		// What opening reads is opened anew each time; the other files are read later.
		judge := func() string { return verdict(t, layout) }
		if strings.Contains(strings.Join(wanted, " "), "file ") {
			judge = func() string { return saved.verdict(t) }
		}
		for i := range f.Data {
			for _, bit := range bits(file, i) {
				f.Data[i] ^= bit
				v := judge()
				f.Data[i] ^= bit
				if v == "" {
					t.Errorf("%s byte %d bit %d: not found", file, i, bit)
				}
				for _, name := range wanted {
					if !strings.Contains(v, name) {
						t.Fatalf("%s byte %d: %s is not named in: %s", file, i, name, v)
					}
				}
			}
		}
	}
}

// bits are those to flip in a byte of a file. Where names stand that no hash covers, the
// one that changes case is among them.
func bits(file string, i int) []byte {
	if strings.HasPrefix(file, "blobs/") {
		return []byte{1 << (i % 8)}
	}
	return []byte{1 << (i % 8), 0x20}
}
