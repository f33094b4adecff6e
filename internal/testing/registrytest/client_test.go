package registrytest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

const notationType = "application/vnd.cncf.notary.signature"

func start(t *testing.T, o registrytest.Options) *registrytest.Registry {
	t.Helper()
	r, err := registrytest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// httpClient trusts the registry's authority and repeats nothing.
func httpClient(t *testing.T, r *registrytest.Registry) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	if pem := r.CAPEM(); pem != nil {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			t.Fatal("CAPEM holds no certificate")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// client is a fresh oras client of one repository, as alice, whose password is "secret".
func client(t *testing.T, r *registrytest.Registry, repo string) *remote.Repository {
	t.Helper()
	c, err := remote.NewRepository(r.Host() + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	c.PlainHTTP = r.CAPEM() == nil
	c.Client = &auth.Client{
		Client:     httpClient(t, r),
		Cache:      auth.NewCache(),
		Credential: auth.StaticCredential(r.Host(), auth.Credential{Username: "alice", Password: "secret"}),
	}
	return c
}

// sign pushes a signature in the form of notation-go v1.3: its type is only the media type of the config.
func sign(ctx context.Context, c *remote.Repository, subject ocispec.Descriptor, envelope string) (ocispec.Descriptor, error) {
	config, err := oras.PushBytes(ctx, c, notationType, []byte("{}"))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	blob, err := oras.PushBytes(ctx, c, "application/jose+json", []byte(envelope))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return oras.PackManifest(ctx, c, oras.PackManifestVersion1_1, "", oras.PackManifestOptions{
		Subject: &subject, ConfigDescriptor: &config, Layers: []ocispec.Descriptor{blob},
		// As with real signatures, the same envelope makes the same manifest, whenever it is.
		ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: "2026-01-01T00:00:00Z"},
	})
}

// listed is what a fresh client sees as signatures of subject.
func listed(t *testing.T, c *remote.Repository, subject ocispec.Descriptor) map[digest.Digest]string {
	t.Helper()
	seen := map[digest.Digest]string{}
	err := c.Referrers(t.Context(), subject, notationType, func(page []ocispec.Descriptor) error {
		for _, d := range page {
			seen[d.Digest] = d.ArtifactType
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func put(t *testing.T, r *registrytest.Registry, repo, tag string) ocispec.Descriptor {
	t.Helper()
	d, err := r.PutImage(repo, tag, "seed of "+tag)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func get(t *testing.T, c *http.Client, url string) *http.Response {
	t.Helper()
	answer, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer
}
