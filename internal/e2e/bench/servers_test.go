//go:build linux

package main

import (
	"encoding/json"
	"net"
	"net/rpc/jsonrpc"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

// control serves the servers over a pipe, as the other process does over its stdin and
// stdout.
func control(t *testing.T) (*remote, *servers) {
	t.Helper()
	s, err := startServers(registrytest.Options{Referrers: true}, false)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- s.obey(theirs) }()
	r := &remote{client: jsonrpc.NewClient(ours)}
	t.Cleanup(func() {
		if err := r.client.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.close()
	})
	return r, s
}

// TestAllImagesArePublished shows that no image is lost where they do not divide evenly,
// and that each contestant is told of all.
func TestAllImagesArePublished(t *testing.T) {
	t.Parallel()
	r, _ := control(t)
	p, err := r.publish("some", 4, 10)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(p.References)
	if n := len(slices.Compact(slices.Clone(p.References))); n != 10 {
		t.Errorf("got %d different images, want 10", n)
	}
	if len(p.GUNs) != 4 || len(p.Pins) != 4 {
		t.Errorf("got %d repositories with %d pins, want 4 with 4", len(p.GUNs), len(p.Pins))
	}
	dealt := spread(p.References)
	slices.Sort(dealt)
	if !slices.Equal(dealt, p.References) {
		t.Errorf("got the loop given %v, want %v", dealt, p.References)
	}
	if _, err := r.publish("some", 4, 10); err == nil {
		t.Error("the same name twice: got no error, want one")
	}
}

// TestOnlySignaturesInTheRegistryCount shows that what is counted is what the registry
// lists, and that a second signature of an image spoils the figures.
func TestOnlySignaturesInTheRegistryCount(t *testing.T) {
	t.Parallel()
	r, s := control(t)
	if _, err := r.publish("some", 1, 2); err != nil {
		t.Fatal(err)
	}
	count := func(want int) {
		t.Helper()
		if n, err := r.signed("some"); err != nil || n != want {
			t.Errorf("got %d signatures, error %v, want %d", n, err, want)
		}
	}
	count(0)
	attach(t, s, "first")
	count(1)
	attach(t, s, "second")
	if n, err := r.signed("some"); err == nil {
		t.Errorf("two signatures of one image: got a count of %d, want an error", n)
	}
	if _, err := r.signed("other"); err == nil {
		t.Error("signatures of what was never published: got no error, want one")
	}
}

// attach gives the first image of a publication a signature, as far as a registry sees.
func attach(t *testing.T, s *servers, note string) {
	t.Helper()
	of := s.stored["some"][0]
	subject, err := s.registry.Resolve(of.repository, of.digest)
	if err != nil {
		t.Fatal(err)
	}
	// An index needs no blobs.
	raw, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		ArtifactType: "application/vnd.cncf.notary.signature", Subject: &subject,
		Manifests: []ocispec.Descriptor{}, Annotations: map[string]string{"note": note},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.registry.PutManifest(of.repository, "", ocispec.MediaTypeImageIndex, raw); err != nil {
		t.Fatal(err)
	}
}

const one, two = "aa11", "bb22" // digests, in hexadecimal

// TestRequestsAreSortedByPurpose tells the story of an image with and without the
// referrers API: the same list is asked for to look, to add to it, and to confirm.
func TestRequestsAreSortedByPurpose(t *testing.T) {
	t.Parallel()
	for name, story := range map[string][]struct{ method, path, want string }{
		"referrers API": {
			{"GET", "/token", "other GET/token"},
			{"GET", "/v2/", "other GET/v2/"},
			{"HEAD", "/v2/a/b/manifests/v1", "looking HEAD manifests/tag"},
			{"HEAD", "/v2/a/b/manifests/sha256:" + one, "looking HEAD manifests/digest"},
			{"GET", "/v2/a/b/referrers/sha256:" + one, "looking GET referrers"},
			{"GET", "/v2/a/b/blobs/sha256:" + two, "looking GET blobs/digest"},
			{"HEAD", "/v2/a/b/blobs/sha256:" + two, "pushing HEAD blobs/digest"},
			{"POST", "/v2/a/b/blobs/uploads/", "pushing POST blobs/uploads"},
			{"PUT", "/v2/a/b/blobs/uploads/1", "pushing PUT blobs/uploads"},
			{"PUT", "/v2/a/b/manifests/sha256:" + two, "pushing PUT manifests/digest"},
			{"GET", "/v2/a/b/referrers/sha256:" + one, "confirming GET referrers"},
			{"GET", "/v2/other/referrers/sha256:" + one, "looking GET referrers"},
		},
		"tag schema": {
			{"GET", "/v2/a/manifests/sha256-" + one, "looking GET manifests/sha256-"},
			{"PUT", "/v2/a/manifests/sha256:" + two, "pushing PUT manifests/digest"},
			{"GET", "/v2/a/manifests/sha256-" + one, "pushing GET manifests/sha256-"},
			{"PUT", "/v2/a/manifests/sha256-" + one, "pushing PUT manifests/sha256-"},
			{"DELETE", "/v2/a/manifests/sha256:" + two, "pushing DELETE manifests/digest"},
			{"GET", "/v2/a/manifests/sha256-" + one, "confirming GET manifests/sha256-"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDiary()
			for i, s := range story {
				d.note(s.method, s.path, false, time.Unix(int64(i), 0)) // is no look
				before := d.countsSoFar()
				d.note(s.method, s.path, true, time.Unix(int64(i), 0))
				if d.countsSoFar()[s.want] != before[s.want]+1 {
					t.Fatalf("%s %s: got it counted as %v, want %s", s.method, s.path, difference(before, d.countsSoFar()), s.want)
				}
			}
			if n := d.pushCount(); n != 1 {
				t.Errorf("got %d signatures pushed, want 1", n)
			}
		})
	}
}

// TestLateListenersAreToldOfLateSignatures shows that who has seen some hears of the rest
// only, and of where they went.
func TestLateListenersAreToldOfLateSignatures(t *testing.T) {
	t.Parallel()
	d := newDiary()
	d.note("PUT", "/v2/a/manifests/sha256:"+one, true, time.Unix(1, 0))
	d.note("PUT", "/v2/a/b/manifests/sha256:"+two, true, time.Unix(2, 0))
	d.noteTrust("/v2/host:1/a/_trust/tuf/root.json", time.Unix(3, 0))
	d.noteTrust("/v2/", time.Unix(4, 0))
	want := Push{"a/b", time.Unix(2, 0).UnixNano()}
	if got := d.pushesFrom(1); len(got) != 1 || got[0] != want {
		t.Errorf("got pushes %v, want %v", got, want)
	}
	if got := d.pushesFrom(5); len(got) != 0 {
		t.Errorf("got pushes %v, want none", got)
	}
	if at := d.lastTrust("host:1/a"); !at.Equal(time.Unix(3, 0)) {
		t.Errorf("got trust data asked for at %v, want %v", at, time.Unix(3, 0))
	}
}
