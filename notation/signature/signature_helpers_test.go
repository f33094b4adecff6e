package signature

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-go/dir"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/notation"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// counter is a repository of a real registry, with a key of its own, and an image in it.
type counter struct {
	repository *registry.Repository
	signer     *notation.Signer
	registry   *registrytest.Registry
	ca         *pki.Identity
	image      ocispec.Descriptor
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	return newCounterOn(t, registrytest.Options{Referrers: true})
}

func newCounterOn(t *testing.T, o registrytest.Options) *counter {
	t.Helper()
	r, err := registrytest.Start(o)
	must(t, err)
	t.Cleanup(r.Close)
	ca, err := pki.NewAuthority("counter")
	must(t, err)
	c := &counter{registry: r, ca: ca}
	c.use(t, c.key(t, ca))
	c.image, err = r.PutImage("app", "v1", "image")
	must(t, err)
	return c
}

// use makes signatures of that key count as ours.
func (c *counter) use(t *testing.T, s *notation.Signer) { c.signer, c.repository = s, c.open(t) }

// open opens the repository with a new client that has no cache and does not retry.
func (c *counter) open(t *testing.T) *registry.Repository {
	t.Helper()
	rt, err := transport.New(transport.Options{Retries: -1})
	must(t, err)
	client := registry.New(registry.Options{Client: transport.Client(rt, nil), PlainHTTP: func(string) bool { return true }, Pause: time.Millisecond})
	r, err := client.Repository(c.registry.Host() + "/app")
	must(t, err)
	return r
}

func (c *counter) find() (Found, error) {
	return Find(context.Background(), c.repository, c.signer, c.image)
}

func (c *counter) key(t *testing.T, ca *pki.Identity) *notation.Signer {
	t.Helper()
	id, err := ca.Issue("release", nil)
	must(t, err)
	saved, err := id.Save(t.TempDir(), "release")
	must(t, err)
	s, err := notation.Open(context.Background(), notation.Key{Name: "release", KeyFile: saved.KeyFile, CertFile: saved.ChainFile}, notation.Options{})
	must(t, err)
	return s
}

// sign makes a signature of the image with a key, and pushes it.
func (c *counter) sign(t *testing.T, key *notation.Signer) {
	t.Helper()
	e, err := key.Sign(context.Background(), c.image, map[string]string{"by": key.Leaf()})
	must(t, err)
	c.push(t, e)
}

func (c *counter) push(t *testing.T, e notation.Envelope) {
	t.Helper()
	_, err := c.repository.PushSignature(context.Background(), c.image, e.MediaType, e.Blob, e.Manifest, false)
	must(t, err)
}

// answer makes a handler answer requests of a method whose path contains part.
func (c *counter) answer(method, part string, with http.HandlerFunc) {
	c.registry.SetHook(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if method != "" && r.Method != method || !strings.Contains(r.URL.Path, part) {
			return false
		}
		with(w, r)
		return true
	})
}

func code(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) }
}

// trust writes notation's trust store and policy for the counter's authority. It is for
// tests that are not parallel: notation-go keeps its folders in variables.
func (c *counter) trust(t *testing.T) {
	t.Helper()
	folder := t.TempDir()
	was := dir.UserConfigDir
	dir.UserConfigDir = folder
	t.Cleanup(func() { dir.UserConfigDir = was })
	store := filepath.Join(folder, "truststore", "x509", "ca", "counter")
	must(t, os.MkdirAll(store, 0o700))
	must(t, os.WriteFile(filepath.Join(store, "root.pem"), c.ca.CertificatePEM(), 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "trustpolicy.json"), []byte(`{"version":"1.0","trustPolicies":[{"name":"x","registryScopes":["*"],
		"signatureVerification":{"level":"strict"},"trustStores":["ca:counter"],"trustedIdentities":["*"]}]}`), 0o600))
}
