package command

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A list in a tag in which nothing is trusted is no verdict while the registry may have another, by the
// referrers API: not where the tag has an old list either.
func TestUntrustedListInATagIsNoVerdictWhereTheAPIComesBack(t *testing.T) {
	g := newGround(t)
	p := g.places[0]
	must(t, p.registry.Tag(p.name, "stray", p.trusted.Digest.String()))
	body, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{
		{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: registry.ArtifactType, Digest: p.signatures(p.stranger)[0].Digest, Size: p.signatures(p.stranger)[0].Size},
	}})
	must(t, err)
	_, err = p.registry.PutManifest(p.name, fallback(p.trusted), ocispec.MediaTypeImageIndex, body)
	must(t, err)
	var read atomic.Bool
	p.answer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if strings.HasSuffix(r.URL.Path, "/manifests/"+fallback(p.trusted)) {
			read.Store(true)
		}
		hidden := strings.Contains(r.URL.Path, "/referrers/") && !read.Load()
		if hidden {
			w.WriteHeader(http.StatusNotFound)
		}
		return hidden
	})
	_, v := g.verify("strict", "")
	told := func(tag verify.Row) bool { return tag.Tag == "stray" }
	if !slices.ContainsFunc(v.Repositories, func(r verify.Repository) bool { return slices.ContainsFunc(r.Tags, told) }) {
		t.Errorf("the image which only notation trusts is not told of, after its list in a tag was read: %t", read.Load())
	}
}
