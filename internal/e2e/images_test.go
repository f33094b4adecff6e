package e2e

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// push stores a tiny image under the tags. The same seed gives the same digest. It uses only
// oras-go, none of our code.
func (r *registry) push(t testing.TB, name, seed string, tags ...string) ocispec.Descriptor {
	t.Helper()
	ctx := context.Background()
	repo := r.repository(t, name)
	config, err := oras.PushBytes(ctx, repo, ocispec.MediaTypeImageConfig, []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`))
	if err != nil {
		t.Fatalf("pushing the config of image %s: got error %v, want none", seed, err)
	}
	image, err := oras.PackManifest(ctx, repo, oras.PackManifestVersion1_0, "", oras.PackManifestOptions{
		ConfigDescriptor:    &config,
		ManifestAnnotations: map[string]string{"seed": seed, ocispec.AnnotationCreated: "2020-01-01T00:00:00Z"},
	})
	if err != nil {
		t.Fatalf("pushing image %s: got error %v, want none", seed, err)
	}
	for _, tag := range tags {
		if err := repo.Tag(ctx, image, tag); err != nil {
			t.Fatalf("tagging image %s: got error %v, want none", seed, err)
		}
	}
	return image
}

// pushIndex stores an index of images.
func (r *registry) pushIndex(t testing.TB, name string, images ...ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	raw, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: images})
	if err != nil {
		t.Fatal(err)
	}
	index, err := oras.PushBytes(context.Background(), r.repository(t, name), ocispec.MediaTypeImageIndex, raw)
	if err != nil {
		t.Fatalf("pushing an index: got error %v, want none", err)
	}
	return index
}

// repository returns a client for the registry's repository of that name.
func (r *registry) repository(t testing.TB, name string) *remote.Repository {
	t.Helper()
	repo, err := remote.NewRepository(r.host + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = r.tls == nil
	client := &auth.Client{Client: r.client()}
	if r.user != "" {
		client.Credential = auth.StaticCredential(r.host, auth.Credential{Username: r.user, Password: r.password})
	}
	repo.Client = client
	return repo
}
