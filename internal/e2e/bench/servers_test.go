//go:build linux

package main

import (
	"encoding/json"
	"net"
	"net/rpc/jsonrpc"
	"slices"
	"testing"

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
		t.Errorf("%d different images, want 10", n)
	}
	if len(p.GUNs) != 4 || len(p.Pins) != 4 {
		t.Errorf("%d repositories with %d pins, want 4 with 4", len(p.GUNs), len(p.Pins))
	}
	dealt := spread(p.References)
	slices.Sort(dealt)
	if !slices.Equal(dealt, p.References) {
		t.Errorf("the loop is given %v, want %v", dealt, p.References)
	}
	if _, err := r.publish("some", 4, 10); err == nil {
		t.Error("the same name twice is no error")
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
			t.Errorf("%d signatures, %v; want %d", n, err, want)
		}
	}
	count(0)
	attach(t, s, "first")
	count(1)
	attach(t, s, "second")
	if n, err := r.signed("some"); err == nil {
		t.Errorf("two signatures of one image count as %d and are no error", n)
	}
	if _, err := r.signed("other"); err == nil {
		t.Error("signatures of what was never published are no error")
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
