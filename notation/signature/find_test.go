package signature

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

// A signature is ours if our certificate signed it for this image, whatever the registry's
// annotations say of it and whatever is stored beside it.
func TestFindTellsOursFromOthers(t *testing.T) {
	t.Parallel()
	k := newCounter(t)
	find := func() Found {
		t.Helper()
		f, err := k.find()
		must(t, err)
		return f
	}
	if f := find(); len(f.Ours) != 0 || f.Others != 0 {
		t.Errorf("none: got %+v, want none ours, 0 others", f)
	}
	other := k.key(t, k.ca)
	k.sign(t, other)
	if f := find(); len(f.Ours) != 0 || f.Others != 1 {
		t.Errorf("another's: got %+v, want none ours, 1 other", f)
	}
	k.sign(t, k.signer)
	if f := find(); len(f.Ours) != 1 || f.Others != 1 || f.Ours[0].Contents.Target.Annotations["by"] != k.signer.Leaf() {
		t.Errorf("ours beside it: got %+v, want 1 ours by %s, 1 other", f, k.signer.Leaf())
	}
	// A signature whose annotation claims our certificate, but which has another.
	liar := newCounter(t)
	liar.use(t, k.signer)
	e, err := other.Sign(context.Background(), liar.image, nil)
	must(t, err)
	manifest, desc, err := registry.PackSignature(liar.image, e.MediaType, e.Blob, map[string]string{
		"io.cncf.notary.x509chain.thumbprint#S256": `["` + k.signer.Leaf() + `"]`, "org.opencontainers.image.created": "2026-01-02T03:04:05Z",
	})
	must(t, err)
	e.Manifest, e.ManifestDigest = manifest, desc.Digest
	liar.push(t, e)
	if f, err := liar.find(); err != nil || len(f.Ours) != 0 || f.Others != 1 {
		t.Errorf("a lying annotation: got %+v, error %v, want none ours, 1 other", f, err)
	}
}

// In a list kept in a tag, anybody may write beside our signature that it is another's.
func TestFindBelievesNoAnnotationOfTheList(t *testing.T) {
	t.Parallel()
	k := newCounterOn(t, registrytest.Options{})
	other := k.key(t, k.ca)
	k.sign(t, other)
	k.sign(t, k.signer)
	tag := "sha256-" + k.image.Digest.Encoded()
	raw, err := k.registry.Manifest("app", tag)
	must(t, err)
	raw = []byte(strings.ReplaceAll(string(raw), k.signer.Leaf(), other.Leaf()))
	_, err = k.registry.PutManifest("app", tag, "application/vnd.oci.image.index.v1+json", raw)
	must(t, err)
	if f, err := k.find(); err != nil || len(f.Ours) != 1 || f.Others != 1 {
		t.Errorf("got %+v, error %v, want 1 ours, 1 other", f, err)
	}
	k.answer(http.MethodGet, "/blobs/", code(http.StatusServiceUnavailable))
	if f, err := k.find(); err == nil {
		t.Errorf("none can be read: got %+v and no error, want it unknown", f)
	}
}

// If the referrers API is away for a moment, its signatures are not overlooked for a list in a
// tag.
func TestFindAsksForTheReferrersAPIAnew(t *testing.T) {
	t.Parallel()
	for hidden, want := range map[int32]int{2: 1, 3: 0} { // it is one look: what rests on it asks again
		k := newCounter(t)
		k.sign(t, k.signer)
		k.use(t, k.signer)
		var asked atomic.Int32
		k.registry.SetHook(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			hit := strings.Contains(r.URL.Path, "/referrers/") && asked.Add(1) <= hidden
			if hit {
				w.WriteHeader(http.StatusNotFound)
			}
			return hit
		})
		if f, err := k.find(); err != nil || len(f.Ours) != want || f.InTag != (want == 0) {
			t.Errorf("404 for the first %d requests: got %+v, error %v, want %d ours", hidden, f, err, want)
		}
	}
}

// Promise 4: a signature that could not be read may be ours, even one that the registry lists but
// does not have, or whose bytes are not the listed ones.
func TestFindOfWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		with  http.HandlerFunc
		known bool // that it is not ours
	}{
		"403":         {code(http.StatusForbidden), false},
		"429":         {code(http.StatusTooManyRequests), false},
		"503":         {code(http.StatusServiceUnavailable), false},
		"400":         {code(http.StatusBadRequest), false},
		"410":         {code(http.StatusGone), false},
		"404":         {code(http.StatusNotFound), false},
		"other bytes": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newCounter(t)
			k.sign(t, k.signer)
			k.answer(http.MethodGet, "/blobs/", c.with)
			f, err := k.find()
			if (err == nil) != c.known || len(f.Ours) != 0 || c.known && (f.Broken != 1 || f.Why == "") {
				t.Errorf("got %+v, error %v, want none ours, known %t", f, err, c.known)
			}
		})
	}
}

// lists makes the registry list only these entries as signatures of the image.
func (c *counter) lists(t *testing.T, entries ...ocispec.Descriptor) {
	t.Helper()
	body, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: entries})
	must(t, err)
	c.answer(http.MethodGet, "/referrers/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_, _ = w.Write(body)
	})
}

// listed returns the entries that the registry really has.
func (c *counter) listed(t *testing.T) []ocispec.Descriptor {
	t.Helper()
	list, err := c.registry.Signatures("app", c.image.Digest.String())
	must(t, err)
	return list
}

// planted returns n entries that claim to be by the certificate, and lead nowhere.
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

// Promise 4: whoever plants signatures by the hundred can neither make us sign twice nor keep a
// run from ending.
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
			f, err := k.find()
			if c.unknown {
				if err == nil || failure.Of(err) != failure.Permanent {
					t.Errorf("got %+v, error %v, want it unknown, with class %s", f, err, failure.Permanent)
				}
			} else if err != nil || len(f.Ours) != 1 || f.Unread != c.unread+min(99, c.before+c.after) || f.Broken != 0 { // dangling ones may be ours
				t.Errorf("got %d ours, %d unread, %d broken, error %v, want 1, %d, 0, none", len(f.Ours), f.Unread, f.Broken, err, c.unread+min(99, c.before+c.after))
			}
			if n := k.registry.Requests() - start; n > 2*maxCandidates+2 {
				t.Errorf("got %d requests, want at most %d", n, 2*maxCandidates+2)
			}
		})
	}
}

// A squatter's signatures, which claim another certificate, cost no request at all and never count
// as ours.
func TestForeignSignaturesAreNotFetched(t *testing.T) {
	t.Parallel()
	k := newCounter(t)
	k.lists(t, planted(900, strings.Repeat("a", 64))...)
	start := k.registry.Requests()
	f, err := k.find()
	if n := k.registry.Requests() - start; err != nil || len(f.Ours) != 0 || f.Others != 900 || n > 3 {
		t.Errorf("got %d requests, %+v, error %v, want at most 3, none ours, 900 others", n, f, err)
	}
}

// Malformed entries are skipped and counted; they hide nothing, and cost no request.
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
	f, err := k.find()
	if err != nil || len(f.Ours) != 1 || f.Broken != 4 || f.Others != 0 || f.Why == "" {
		t.Errorf("got %+v, error %v, want 1 ours, 4 broken with a reason, 0 others", f, err)
	}
	if n := k.registry.Requests() - start; n > 4 {
		t.Errorf("got %d requests, want at most 4", n)
	}
}

// What the ledger records as done is the very signature that is looked for, and nothing else.
func TestRecordedSignatureIsTheVeryOne(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	old := c.key(t, c.ca)
	c.sign(t, old)
	list, err := c.registry.Signatures("app", c.image.Digest.String())
	must(t, err)
	recorded := func(image ocispec.Descriptor, d digest.Digest) (Signature, bool, error) {
		c.use(t, c.signer)
		return Recorded(context.Background(), c.repository, c.signer, image, d.String())
	}
	s, found, err := recorded(c.image, list[0].Digest)
	if err != nil || !found || s.By != old.Identity() || !s.Contents.ChainEnds().Equal(old.NotAfter()) || s.Contents.Target.Annotations["by"] != old.Leaf() {
		t.Errorf("got %+v, %t, error %v, want one by %s", s, found, err, old.Identity())
	}
	if _, found, err := recorded(c.image, digest.FromString("another")); found || err != nil {
		t.Errorf("one that is not listed: got found %t, error %v, want false, none", found, err)
	}
	another := c.image
	another.Size++
	if _, found, err := recorded(another, list[0].Digest); found || err != nil {
		t.Errorf("of another image: got found %t, error %v, want false, none", found, err)
	}
	for name, with := range map[string]http.HandlerFunc{"404": code(http.StatusNotFound), "500": code(http.StatusInternalServerError), "403": code(http.StatusForbidden)} {
		c.answer(http.MethodGet, "/manifests/"+list[0].Digest.String(), with)
		if _, found, err := recorded(c.image, list[0].Digest); found || err == nil {
			t.Errorf("%s for what is listed: got %t, %v, want it unknown", name, found, err)
		}
	}
	c.registry.SetHook(nil)
	if listed := c.repository.ListsInTag(); listed {
		t.Error("with the referrers API: got a list in a tag, want none")
	}
}
