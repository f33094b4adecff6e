package migrate

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What is read of an index is what a common reader sees in it: no image more, none less, none
// described otherwise.
func FuzzReadIndex(f *testing.F) {
	entry := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":100,"platform":{"os":"linux","architecture":"amd64"}}`, ocispec.MediaTypeImageManifest, digest.FromString("a"))
	for _, seed := range []string{
		`{"schemaVersion":2,"manifests":[]}`,
		`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + entry + `,` + entry + `]}`,
		`{"schemaVersion":2,"manifests":[` + entry + `],"Manifests":[]}`,
		`{"schemaVersion":2,"manifests":[` + entry + `],"manifests":[]}`,
		`{"schemaVersion":2,"manifests":[{"DIGEST":"sha256:0",` + entry[1:] + `],"annotations":{"a":"b"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		members, err := ReadIndex(raw)
		if err != nil {
			return
		}
		var common ocispec.Index
		if err := json.Unmarshal(raw, &common); err != nil {
			return // it has what others cannot read at all
		}
		seen := map[digest.Digest]ocispec.Descriptor{}
		for _, d := range common.Manifests {
			seen[d.Digest] = d
		}
		if len(seen) != len(members) {
			t.Fatalf("%d images, and a common reader sees %d", len(members), len(seen))
		}
		for _, m := range members {
			if d := seen[m.Digest]; d.MediaType != m.MediaType || d.Size != m.Size {
				t.Fatalf("%+v, and a common reader sees %+v", m, d)
			}
		}
	})
}
