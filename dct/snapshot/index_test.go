package snapshot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The index has the same bytes as if written in one piece, and is left alone if it has them
// already.
func TestTheIndexIsWrittenInPieces(t *testing.T) {
	t.Parallel()
	var list []ocispec.Descriptor
	for n := range 30 {
		want, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: append([]ocispec.Descriptor{}, list...)})
		must(t, err)
		got, err := newIndex(list)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d entries: got %s, %v, want %s", n, got, err, want)
		}
		path := filepath.Join(t.TempDir(), "index.json")
		for content, same := range map[string]bool{
			string(want): true, string(want) + "\n": false, string(want[:len(want)-1]): false, "": false, string(bytes.Replace(want, []byte("manifest"), []byte("Manifest"), 1)): false,
		} {
			must(t, os.WriteFile(path, []byte(content), 0o600))
			if is, err := hasContent(path, func(to io.Writer) error { return writeIndex(to, slices.Values(list)) }); is != same || err != nil {
				t.Errorf("%d entries, beside %q: got the same %v, %v, want %v", n, content, is, err, same)
			}
		}
		link := filepath.Join(t.TempDir(), "link")
		if os.Symlink(path, link) == nil {
			must(t, os.WriteFile(path, want, 0o600))
			if is, err := hasContent(link, func(to io.Writer) error { return writeIndex(to, slices.Values(list)) }); is || err != nil {
				t.Errorf("a link: got the same %v, %v, want it written", is, err)
			}
		}
		list = append(list, descriptor(gun(t, fmt.Sprint("registry.example.com/app", n)), blobOf(want)))
	}
}
