package registrytest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

// TestOrasSignsAndListsInEveryMode uses a real client: resolve, push a signature, list it with
// another client that has no memory, and compare with the oracle.
func TestOrasSignsAndListsInEveryMode(t *testing.T) {
	t.Parallel()
	users := map[string]string{"alice": "secret"}
	for name, o := range map[string]registrytest.Options{
		"open":             {},
		"TLS":              {TLS: true},
		"basic":            {Users: users},
		"anonymous tokens": {Token: true},
		"tokens":           {Token: true, Users: users},
		"TLS and tokens":   {TLS: true, Token: true, Users: users},
	} {
		for _, api := range []bool{true, false} {
			t.Run(name+map[bool]string{true: ", referrers API", false: ", tag schema"}[api], func(t *testing.T) {
				t.Parallel()
				o := o
				o.Referrers = api
				checkRoundTrip(t, start(t, o))
				checkSchema(t, o)
			})
		}
	}
}

func checkRoundTrip(t *testing.T, r *registrytest.Registry) {
	const repo = "team/app"
	image := put(t, r, repo, "v1")
	resolved, err := client(t, r, repo).Resolve(t.Context(), "v1")
	if err != nil || !content.Equal(resolved, image) {
		t.Fatalf("got resolved %v, error %v, want %v", resolved, err, image)
	}
	want := map[digest.Digest]string{}
	writer := client(t, r, repo)
	for _, envelope := range []string{`{"n":1}`, `{"n":2}`} {
		signature, err := sign(t.Context(), writer, image, envelope)
		if err != nil {
			t.Fatal(err)
		}
		want[signature.Digest] = notationType
		mediaType, stored, err := r.SignatureBlob(repo, signature)
		if err != nil || mediaType != "application/jose+json" || string(stored) != envelope {
			t.Fatalf("got stored %q %s, error %v, want %s", stored, mediaType, err, envelope)
		}
	}
	if got := listed(t, client(t, r, repo), image); !maps.Equal(got, want) {
		t.Errorf("a fresh client: got listed %v, want %v", got, want)
	}
	if got := oracle(t, r, repo, image); !maps.Equal(got, want) {
		t.Errorf("the oracle: got listed %v, want %v", got, want)
	}
}

// checkSchema proves that the two ways of listing really differ: the tag exists in only one of
// them.
func checkSchema(t *testing.T, o registrytest.Options) {
	r := start(t, o)
	image := put(t, r, "app", "v1")
	if _, err := sign(t.Context(), client(t, r, "app"), image, "{}"); err != nil {
		t.Fatal(err)
	}
	_, err := r.Resolve("app", "sha256-"+image.Digest.Encoded())
	if tagged := err == nil; tagged == o.Referrers {
		t.Errorf("referrers API %t: got tag present %t, want %t", o.Referrers, tagged, !o.Referrers)
	}
}

func oracle(t *testing.T, r *registrytest.Registry, repo string, subject ocispec.Descriptor) map[digest.Digest]string {
	t.Helper()
	signatures, err := r.Signatures(repo, subject.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[digest.Digest]string{}
	for _, d := range signatures {
		seen[d.Digest] = d.ArtifactType
	}
	return seen
}

// Verifiers try signatures in the order of the list.
func TestReferrersKeepOrderAndFilter(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{Referrers: true})
	image := put(t, r, "app", "v1")
	var want []digest.Digest
	writer := client(t, r, "app")
	for _, envelope := range []string{"c", "a", "b", "a"} { // the last is the same signature again
		d, err := sign(t.Context(), writer, image, envelope)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, d.Digest)
	}
	other := []byte(`{"schemaVersion":2,"artifactType":"text/sbom","subject":{"digest":"` + image.Digest.String() + `"}}`)
	if _, err := r.PutManifest("app", "", ocispec.MediaTypeImageManifest, other); err != nil {
		t.Fatal(err)
	}
	signatures, err := r.Signatures("app", image.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	var got []digest.Digest
	for _, d := range signatures {
		got = append(got, d.Digest)
	}
	if !slices.Equal(got, slices.Compact(want)[:3]) {
		t.Errorf("got listed %v, want %v", got, want[:3])
	}
}

func TestDeletedSignatureIsNoLongerListed(t *testing.T) {
	t.Parallel()
	for _, api := range []bool{true, false} {
		r := start(t, registrytest.Options{Referrers: api, Token: true})
		image := put(t, r, "app", "v1")
		c := client(t, r, "app")
		signature, err := sign(t.Context(), c, image, "{}")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context(), signature); err != nil {
			t.Fatal(err)
		}
		if got := oracle(t, r, "app", image); len(got) != 0 {
			t.Errorf("referrers API %v: got still listed %v, want none", api, got)
		}
	}
}

func TestBlobsBelongToTheirRepository(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{})
	blob := content.NewDescriptorFromBytes("text/plain", []byte("hello"))
	one, two := client(t, r, "one"), client(t, r, "two")
	if err := one.Push(t.Context(), blob, bytes.NewReader([]byte("hello"))); err != nil {
		t.Fatal(err)
	}
	inOne, errOne := one.Blobs().Exists(t.Context(), blob)
	inTwo, errTwo := two.Blobs().Exists(t.Context(), blob)
	if errOne != nil || errTwo != nil || !inOne || inTwo {
		t.Errorf("got blob in one: %v, %v, in two: %v, %v, want true, false", inOne, errOne, inTwo, errTwo)
	}
	body := []byte(`{"schemaVersion":2,"config":{"mediaType":"text/plain","size":5,"digest":"` + blob.Digest.String() + `"}}`)
	if _, err := r.PutManifest("one", "v1", ocispec.MediaTypeImageManifest, body); err != nil {
		t.Error(err)
	}
	if _, err := r.PutManifest("two", "v1", ocispec.MediaTypeImageManifest, body); err == nil {
		t.Error("a manifest without its config: got no error, want one")
	}
}

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

// httpClient trusts the registry's authority and never retries.
func httpClient(t *testing.T, r *registrytest.Registry) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	if pem := r.CAPEM(); pem != nil {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			t.Fatal("got no certificate in CAPEM, want one")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// client returns a fresh oras client of one repository, as alice, whose password is "secret".
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

// sign pushes a signature in the form of notation-go v1.3: only the media type of the config gives
// its type.
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
		// As with real signatures, the same envelope always makes the same manifest.
		ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: "2026-01-01T00:00:00Z"},
	})
}

// listed returns what a fresh client sees as signatures of subject.
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
