package command

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notaryproject/notation-go/dir"
	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// counter is a shelf over a real registry, with a key of its own, and an image in it.
type counter struct {
	*shelf
	signer   *notation.Signer
	registry *registrytest.Registry
	ca       *kmstest.Authority
	image    migrate.Image
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
	ca, err := kmstest.NewAuthority("counter")
	must(t, err)
	c := &counter{registry: r, ca: ca}
	c.use(t, c.key(t, ca))
	desc, err := r.PutImage("app", "v1", "image")
	must(t, err)
	c.image = migrate.Image{Repository: r.Host() + "/app", Descriptor: desc}
	return c
}

// use has the shelf take signatures of that key for ours.
func (c *counter) use(t *testing.T, s *notation.Signer) {
	c.signer, c.shelf = s, &shelf{client: c.client(t), signers: map[string]*notation.Signer{"release": s}}
}

// client reaches the registry anew: it knows nothing and tries nothing twice.
func (c *counter) client(t *testing.T) *registry.Client {
	t.Helper()
	rt, err := transport.New(transport.Options{Retries: -1})
	must(t, err)
	return registry.New(registry.Options{Client: transport.Client(rt, nil), PlainHTTP: func(string) bool { return true }, Pause: itemPause})
}

func (c *counter) key(t *testing.T, ca *kmstest.Authority) *notation.Signer {
	t.Helper()
	id, err := ca.Issue("release", kmstest.EC256, kmstest.IssueOptions{})
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
	e, err := signer{Signer: key}.Sign(context.Background(), c.image.Descriptor, map[string]string{"by": key.Leaf()})
	must(t, err)
	must(t, c.Push(context.Background(), c.image, e))
}

// answer lets the registry answer requests of a method, where the path has a part in it.
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

// That an image is gone has to be the registry's own word: a 404 of something in between is
// none, and HEAD alone cannot tell.
func TestMissingIsTheRegistrysOwnWord(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]failure.Class{
		`{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`: failure.Missing,
		`{"errors":[{"code":"NOT_FOUND"}]}`:        failure.Missing,
		`{"errors":[{"code":"NAME_UNKNOWN"}]}`:     failure.Permanent,
		"<html>not found</html>":                   failure.Permanent,
		"":                                         failure.Permanent,
	} {
		k := newCounter(t)
		k.answer("", "/manifests/", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(body))
		})
		if _, err := k.Resolve(context.Background(), k.image.Repository, k.image.Descriptor.Digest); failure.Of(err) != want {
			t.Errorf("%q: class %s, want %s: %v", body, failure.Of(err), want, err)
		}
	}
	k := newCounter(t)
	k.answer(http.MethodHead, "/manifests/", code(http.StatusNotFound))
	if _, err := k.Resolve(context.Background(), k.image.Repository, k.image.Descriptor.Digest); err != nil {
		t.Errorf("a registry that knows no HEAD: %v", err)
	}
}

// What a registry answers gets the class by which package migrate decides.
func TestRegistryAnswersAreClassed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		with http.HandlerFunc
		want failure.Class
	}{
		"401": {code(http.StatusUnauthorized), failure.Denied},
		"403": {code(http.StatusForbidden), failure.Denied},
		"429": {code(http.StatusTooManyRequests), failure.Throttled},
		"500": {code(http.StatusInternalServerError), failure.Transient},
		"400": {code(http.StatusBadRequest), failure.Permanent},
		"another digest": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Docker-Content-Digest", digest.FromString("other").String())
		}, failure.Security},
		"cut off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, failure.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newCounter(t)
			k.answer(http.MethodHead, "/manifests/", c.with)
			_, err := k.Resolve(context.Background(), k.image.Repository, k.image.Descriptor.Digest)
			if failure.Of(err) != c.want {
				t.Errorf("class %s, want %s: %v", failure.Of(err), c.want, err)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	k := newCounter(t)
	if _, err := k.Resolve(ctx, k.image.Repository, k.image.Descriptor.Digest); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Ours is what our certificate signed for this image, whatever the registry's annotations
// say of it and whatever lies beside it.
func TestFindTellsOursFromOthers(t *testing.T) {
	t.Parallel()
	k := newCounter(t)
	find := func() migrate.Found {
		t.Helper()
		f, err := k.Find(context.Background(), k.image, "release")
		must(t, err)
		return f
	}
	if f := find(); len(f.Ours) != 0 || f.Others != 0 {
		t.Errorf("none: %+v", f)
	}
	other := k.key(t, k.ca)
	k.sign(t, other)
	if f := find(); len(f.Ours) != 0 || f.Others != 1 {
		t.Errorf("another's: %+v", f)
	}
	k.sign(t, k.signer)
	if f := find(); len(f.Ours) != 1 || f.Others != 1 || f.Ours[0].Metadata["by"] != k.signer.Leaf() {
		t.Errorf("ours beside it: %+v", f)
	}
	// A signature that claims our certificate in its annotation and has another.
	liar := newCounter(t)
	liar.use(t, k.signer)
	e, err := signer{Signer: other}.Sign(context.Background(), liar.image.Descriptor, nil)
	must(t, err)
	manifest, desc, err := registry.PackSignature(liar.image.Descriptor, e.MediaType, e.Blob, map[string]string{
		"io.cncf.notary.x509chain.thumbprint#S256": `["` + k.signer.Leaf() + `"]`, "org.opencontainers.image.created": "2026-01-02T03:04:05Z",
	})
	must(t, err)
	e.Manifest, e.ManifestDigest = manifest, desc.Digest.String()
	must(t, liar.Push(context.Background(), liar.image, e))
	if f, err := liar.Find(context.Background(), liar.image, "release"); err != nil || len(f.Ours) != 0 || f.Others != 1 {
		t.Errorf("a lying annotation: %+v, %v", f, err)
	}
}

// In a list that is kept in a tag, anybody may write beside our signature that it is another's.
func TestFindBelievesNoAnnotationOfTheList(t *testing.T) {
	t.Parallel()
	k := newCounterOn(t, registrytest.Options{})
	other := k.key(t, k.ca)
	k.sign(t, other)
	k.sign(t, k.signer)
	tag := "sha256-" + k.image.Descriptor.Digest.Encoded()
	raw, err := k.registry.Manifest("app", tag)
	must(t, err)
	raw = []byte(strings.ReplaceAll(string(raw), k.signer.Leaf(), other.Leaf()))
	_, err = k.registry.PutManifest("app", tag, "application/vnd.oci.image.index.v1+json", raw)
	must(t, err)
	if f, err := k.Find(context.Background(), k.image, "release"); err != nil || len(f.Ours) != 1 || f.Others != 1 {
		t.Errorf("%+v, %v, want ours found", f, err)
	}
	k.answer(http.MethodGet, "/blobs/", code(http.StatusServiceUnavailable))
	if f, err := k.Find(context.Background(), k.image, "release"); err == nil {
		t.Errorf("%+v, want it unknown where none can be read", f)
	}
}

// Promise 4: a signature that could not be read may be ours, also one that the registry lists
// and does not have, or whose bytes are others than it says.
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
			f, err := k.Find(context.Background(), k.image, "release")
			if (err == nil) != c.known || len(f.Ours) != 0 || c.known && (f.Broken != 1 || f.Why == "") {
				t.Errorf("%+v, %v", f, err)
			}
		})
	}
}

// The verdict on an image is the best of its signatures; a broken one hides no good one,
// and one that could not be read leaves it unknown.
func TestJudgeLooksAtEverySignature(t *testing.T) {
	k := newCounter(t)
	k.trust(t)
	foreign, err := kmstest.NewAuthority("foreign")
	must(t, err)
	ask := func() (migrate.Verdict, error) {
		t.Helper()
		v, err := notation.OpenVerifier(notation.VerifierOptions{})
		must(t, err)
		return (&judge{client: k.client(t), verifier: v}).Judge(context.Background(), k.image)
	}
	for _, c := range []struct {
		name       string
		sign       func()
		signatures int
		trusted    bool
	}{
		{"none", func() {}, 0, false},
		{"foreign", func() { k.sign(t, k.key(t, foreign)) }, 1, false},
		{"foreign and trusted", func() { k.sign(t, k.signer) }, 2, true},
	} {
		c.sign()
		v, err := ask()
		if err != nil || v.Signatures != c.signatures || v.Trusted != c.trusted || (v.Doubt == "") != (c.trusted || c.signatures == 0) || len(v.Listed) != c.signatures || (v.Reason == "") != (c.trusted || c.signatures == 0) {
			t.Errorf("%s: %+v, %v", c.name, v, err)
		}
		if c.trusted && (len(v.Signed) != 1 || v.Signed[0]["by"] != k.signer.Leaf() || v.NotAfter.IsZero()) {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
	// What a second trusted one binds counts as well.
	e, err := signer{Signer: k.signer}.Sign(context.Background(), k.image.Descriptor, map[string]string{"by": "the second"})
	must(t, err)
	must(t, k.Push(context.Background(), k.image, e))
	if v, err := ask(); err != nil || v.Signatures != 3 || !v.Trusted || len(v.Signed) != 2 {
		t.Errorf("two: %+v, %v", v, err)
	}
	k.answer(http.MethodGet, "/blobs/", code(http.StatusTooManyRequests))
	if v, err := ask(); failure.Of(err) != failure.Throttled || v.Trusted {
		t.Errorf("busy: %+v, %v", v, err)
	}
	k.answer(http.MethodGet, "/blobs/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	if v, err := ask(); err != nil || v.Trusted || v.Signatures != 3 || v.Reason == "" || v.Doubt != migrate.Untrusted {
		t.Errorf("broken: %+v, %v", v, err)
	}
	k.answer(http.MethodGet, "/blobs/", code(http.StatusNotFound))
	if v, err := ask(); err == nil || v.Trusted {
		t.Errorf("404 for a listed signature: %+v, %v, want an unknown verdict", v, err)
	}
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
	must(t, os.WriteFile(filepath.Join(store, "root.pem"), c.ca.RootPEM(), 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "trustpolicy.json"), []byte(`{"version":"1.0","trustPolicies":[{"name":"x","registryScopes":["*"],
		"signatureVerification":{"level":"strict"},"trustStores":["ca:counter"],"trustedIdentities":["*"]}]}`), 0o600))
}
