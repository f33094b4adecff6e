package migrate

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// entry returns an entry of an index.
func entry(image ocispec.Descriptor, more string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, image.MediaType, image.Digest, image.Size, more)
}

func indexOf(entries ...string) []byte {
	return []byte(`{"schemaVersion":2,"manifests":[` + strings.Join(entries, ",") + `]}`)
}

// This is the proof on which a signature over an image of an index rests, tested without its
// caller.
func TestAnIndexProvesOnlyWhatItsBytesList(t *testing.T) {
	t.Parallel()
	image := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("image"), Size: 100}
	other := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("other"), Size: 100}
	inner := indexOf(entry(image, ""))
	nested := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(inner), Size: int64(len(inner))}
	larger := image
	larger.Size++
	for name, c := range map[string]struct {
		chain  indexPath
		image  ocispec.Descriptor
		proves bool
	}{
		"listed":                         {indexPath{inner}, image, true},
		"listed by an index in an index": {indexPath{indexOf(entry(nested, "")), inner}, image, true},
		"no index":                       {indexPath{}, image, false},
		"not listed":                     {indexPath{indexOf(entry(other, ""))}, image, false},
		"of another size":                {indexPath{inner}, larger, false},
		"bytes that are no index":        {indexPath{[]byte("no index")}, image, false},
		"the inner one is no index":      {indexPath{indexOf(entry(nested, "")), []byte("no index")}, image, false},
		"the inner one is not listed":    {indexPath{indexOf(entry(other, "")), inner}, image, false},
		"three indexes":                  {indexPath{inner, inner, inner}, image, false},
	} {
		if err := c.chain.proves(c.image); (err == nil) != c.proves {
			t.Errorf("%s: got %v, want a proof: %v", name, err, c.proves)
		}
	}
}

// A platform with one part missing is still shown.
func TestPlatformsAreNamedByWhatIsThere(t *testing.T) {
	t.Parallel()
	image := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("image"), Size: 100}
	for platform, want := range map[string]string{
		`{"os":"linux","architecture":"arm","variant":"v7"}`: "linux/arm/v7",
		`{"os":"linux","architecture":"arm64"}`:              "linux/arm64",
		`{"os":"linux"}`:                                     "linux/",
		`{"architecture":"arm64"}`:                           "/arm64",
		`{}`:                                                 "",
	} {
		members, err := ReadIndex(indexOf(entry(image, `,"platform":`+platform)))
		if err != nil || len(members) != 1 || members[0].Platform != want {
			t.Errorf("%s: got %+v, %v, want platform %q", platform, members, err, want)
		}
	}
}

// Each of buildkit's two marks identifies an attestation.
func TestAttestationsAreToldFromImages(t *testing.T) {
	t.Parallel()
	image := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("image"), Size: 100}
	for more, want := range map[string]bool{
		``: false,
		`,"platform":{"os":"linux","architecture":"amd64"}`:                                                                    false,
		`,"platform":{"os":"unknown","architecture":"unknown"}`:                                                                true,
		`,"annotations":{"vnd.docker.reference.type":"attestation-manifest"}`:                                                  true,
		`,"platform":{"os":"linux","architecture":"amd64"},"annotations":{"vnd.docker.reference.type":"attestation-manifest"}`: true,
	} {
		members, err := ReadIndex(indexOf(entry(image, more)))
		if err != nil || len(members) != 1 || members[0].Attests != want {
			t.Errorf("%s: got %+v, %v, want one that attests: %v", more, members, err, want)
		}
	}
}

// The program reads from an index exactly the images that a common reader sees, described in the
// same way.
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
			return // others cannot read it at all
		}
		seen := map[digest.Digest]ocispec.Descriptor{}
		for _, d := range common.Manifests {
			seen[d.Digest] = d
		}
		if len(seen) != len(members) {
			t.Fatalf("got %d images, want the %d that a common reader sees", len(members), len(seen))
		}
		for _, m := range members {
			if d := seen[m.Digest]; d.MediaType != m.MediaType || d.Size != m.Size {
				t.Fatalf("got %+v, want what a common reader sees, %+v", m, d)
			}
		}
	})
}
