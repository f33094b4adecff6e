//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func startWorld(t *testing.T) *world {
	t.Helper()
	w, err := newWorld(kind{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

// TestAllImagesArePublished shows that no image is lost if they do not divide evenly, that
// neighbours are in different repositories, and that signers cost what the goal says: a role each
// and targets/releases.
func TestAllImagesArePublished(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	e := w.publish(estate{name: "some", repositories: 4, images: 10, signers: 2})
	all := slices.Clone(e.references)
	slices.Sort(all)
	if n := len(slices.Compact(all)); n != 10 || len(e.guns) != 4 || len(e.pins) != 4 || w.err != nil {
		t.Errorf("got %d different images in %d repositories with %d pins, error %v, want 10 in 4 with 4", n, len(e.guns), len(e.pins), w.err)
	}
	for i, gun := range e.guns {
		if !strings.HasPrefix(e.references[i], gun+"@") {
			t.Errorf("got image %d %s, want it in %s", i, e.references[i], gun)
		}
		if roles := w.notary.Roles(gun); len(roles) != 4+3 {
			t.Errorf("2 signers: got roles %v, want 7", roles)
		}
	}
	if w.registry.Requests()+w.notary.Requests() != 0 {
		t.Error("got requests, want none: publishing is no request")
	}
	if w.publish(estate{name: "some", repositories: 1, images: 1}); w.err == nil {
		t.Error("the same name twice: got no error, want one")
	}
}

// TestOnlySignaturesInTheRegistryCount shows that only signatures in the registry's lists count,
// and that a second signature of an image spoils the figures.
func TestOnlySignaturesInTheRegistryCount(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	e := w.publish(estate{name: "some", repositories: 1, images: 2})
	for want := range 2 {
		if n, err := w.signed(e); err != nil || n != want {
			t.Errorf("got %d signatures, error %v, want %d", n, err, want)
		}
		attach(t, w, e.references[0], want)
	}
	if n, err := w.signed(e); err == nil {
		t.Errorf("two signatures of one image: got a count of %d, want an error", n)
	}
}

// attach gives an image what a registry takes for a signature.
func attach(t *testing.T, w *world, reference string, note int) {
	t.Helper()
	gun, digest, _ := strings.Cut(reference, "@")
	subject, err := w.registry.Resolve(w.name(gun), digest)
	if err != nil {
		t.Fatal(err)
	}
	// An index needs no blobs.
	raw, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		ArtifactType: "application/vnd.cncf.notary.signature", Subject: &subject,
		Manifests: []ocispec.Descriptor{}, Annotations: map[string]string{"note": string(rune('a' + note))},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.registry.PutManifest(w.name(gun), "", ocispec.MediaTypeImageIndex, raw); err != nil {
		t.Fatal(err)
	}
}

// TestATaskIsCheckedByWhatThereIs shows that a program fails the check if it reports more than it
// did, loses items silently, or lists nothing.
func TestATaskIsCheckedByWhatThereIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		task
		count, failed int
		said          string
		good          bool
	}{
		"all":               {task{n: 9, says: "results.signed"}, 9, 0, `{"results": {"signed": 9}}`, true},
		"none":              {task{partial: 3}, 0, 0, "", false},
		"too few":           {task{n: 9, says: "results.signed"}, 8, 0, `{"results": {"signed": 8}}`, false},
		"says more":         {task{n: 9, says: "results.signed"}, 9, 0, `{"results": {"signed": 10}}`, false},
		"other result":      {task{n: 9, says: "results.already"}, 9, 0, `{"results": {"signed": 9}}`, false},
		"no JSON":           {task{n: 9, says: "added"}, 9, 0, "no", false},
		"some failed":       {task{n: 9, says: "results.signed", partial: 3}, 8, 1, `{"results": {"signed": 8}}`, true},
		"lost without word": {task{n: 9, says: "results.signed", partial: 3}, 8, 0, `{"results": {"signed": 8}}`, false},
		"loop lost some":    {task{n: 9, partial: 123}, 8, 0, "", true},
		"tags": {task{n: 1, lines: tagLine}, 1, 0, "NAME    DIGEST    SIZE (BYTES)    ROLE\n----    ------    ------------    ----\nv0      " +
			strings.Repeat("0a", 32) + "    1000    targets\n", true},
		"no tags": {task{n: 1, lines: tagLine}, 1, 0, "\nNo targets present in this repository.\n\n", false},
	} {
		if err := c.check(c.count, c.failed, []bytes.Buffer{*bytes.NewBufferString(c.said)}); (err == nil) != c.good {
			t.Errorf("%s: got error %v, want none: %t", name, err, c.good)
		}
	}
}

func TestRequestsAreSortedByKind(t *testing.T) {
	t.Parallel()
	w := &world{requests: map[string]int64{}}
	for _, r := range [][3]string{
		{"GET", "/token", "GET /token"}, {"GET", "/v2/", "GET /v2/"},
		{"HEAD", "/v2/a/b/manifests/v1", "HEAD manifests/"}, {"GET", "/v2/a/b/referrers/sha256:aa11", "GET referrers/"},
		{"GET", "/v2/a/manifests/sha256-aa11", "GET manifests/sha256-"}, {"GET", "/v2/a/b/blobs/sha256:bb22", "GET blobs/"},
		{"POST", "/v2/a/b/blobs/uploads/", "POST blobs/uploads/"}, {"PUT", "/v2/a/b/manifests/sha256:bb22", "PUT manifests/sha256:"},
	} {
		before := w.requests[r[2]]
		w.arrived(r[0], r[1], true, time.Now())
		if w.requests[r[2]] != before+1 {
			t.Errorf("%s %s: got %v, want %s", r[0], r[1], w.requests, r[2])
		}
	}
	w.arrived("PUT", "/v2/a/b/manifests/sha256:bb22", false, time.Now())
	if len(w.pushes) != 1 {
		t.Errorf("got %d manifests pushed, want 1: what is refused is none", len(w.pushes))
	}
}
