package command

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/registry"
)

// lists has the registry list these entries as signatures of the image, and nothing else.
func (c *counter) lists(t *testing.T, entries ...ocispec.Descriptor) {
	t.Helper()
	body, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: entries})
	must(t, err)
	c.answer(http.MethodGet, "/referrers/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_, _ = w.Write(body)
	})
}

// listed are the entries that the registry really has.
func (c *counter) listed(t *testing.T) []ocispec.Descriptor {
	t.Helper()
	list, err := c.registry.Signatures("app", c.image.Descriptor.Digest.String())
	must(t, err)
	return list
}

// planted are n entries that say they are by the certificate, and lead nowhere.
func planted(n int, leaf string) []ocispec.Descriptor {
	var list []ocispec.Descriptor
	for i := range n {
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: registry.ArtifactType, Size: 100, Digest: digest.FromString(fmt.Sprint(i))}
		if leaf != "" {
			d.Annotations = map[string]string{"io.cncf.notary.x509chain.thumbprint#S256": `["` + leaf + `"]`}
		}
		list = append(list, d)
	}
	return list
}

// Promise 4: whoever plants signatures by the hundred gets neither a second signature out of
// us nor a run that does not end.
func TestPlantedSignaturesAreNotFetchedWithoutEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, after int
		claim         bool // to be ours
		unknown       bool
		unread        int
	}{
		"ours stands behind more than are fetched":          {before: 150, claim: true, unknown: true},
		"ours stands before them":                           {after: 150, claim: true, unread: 51},
		"those that do not claim to be ours are left later": {before: 150, unread: 51},
		"as many as are fetched":                            {before: 99, claim: true},
		"more than are listed":                              {before: 1001, unknown: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newCounter(t)
			k.sign(t, k.signer)
			leaf := ""
			if c.claim {
				leaf = k.signer.Leaf()
			}
			k.lists(t, slices.Concat(planted(c.before, leaf), k.listed(t), planted(c.after, leaf))...)
			start := k.registry.Requests()
			f, err := k.Find(context.Background(), k.image, "release")
			if c.unknown {
				if err == nil || failure.Of(err) != failure.Permanent {
					t.Errorf("not unknown: %+v, %v", f, err)
				}
			} else if err != nil || len(f.Ours) != 1 || f.Unread != c.unread+min(99, c.before+c.after) || f.Broken != 0 { // what dangles may be ours
				t.Errorf("%d ours, %d unread, %d broken: %v", len(f.Ours), f.Unread, f.Broken, err)
			}
			if n := k.registry.Requests() - start; n > 2*maxCandidates+2 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// A squatter's signatures, by another certificate as they say, cost no request at all and
// never count as ours.
func TestForeignSignaturesAreNotFetched(t *testing.T) {
	t.Parallel()
	k := newCounter(t)
	k.lists(t, planted(900, strings.Repeat("a", 64))...)
	start := k.registry.Requests()
	f, err := k.Find(context.Background(), k.image, "release")
	if n := k.registry.Requests() - start; err != nil || len(f.Ours) != 0 || f.Others != 900 || n > 3 {
		t.Errorf("%d requests, %+v, %v", n, f, err)
	}
}

// What is listed and makes no sense is passed over and counted; it hides nothing, and costs
// no request.
func TestMalformedEntriesArePassedOverAndCounted(t *testing.T) {
	t.Parallel()
	k := newCounter(t)
	k.sign(t, k.signer)
	bad := planted(4, k.signer.Leaf())
	bad[0].Digest = "sha256:../../x"
	bad[1].Size = -1
	bad[2].MediaType = "text/html\x1b[2J"
	bad[3] = ocispec.Descriptor{ArtifactType: registry.ArtifactType} // as of a null
	k.lists(t, append(bad, k.listed(t)...)...)
	start := k.registry.Requests()
	f, err := k.Find(context.Background(), k.image, "release")
	if err != nil || len(f.Ours) != 1 || f.Broken != 4 || f.Others != 0 || f.Why == "" {
		t.Errorf("%+v, %v", f, err)
	}
	if n := k.registry.Requests() - start; n > 4 {
		t.Errorf("%d requests", n)
	}
}
