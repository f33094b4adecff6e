package registry

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
	"github.com/dct2notation/dct2notation/internal/transport"
)

const jws = "application/jose+json"

func start(t *testing.T, o registrytest.Options) *registrytest.Registry {
	t.Helper()
	reg, err := registrytest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Close)
	return reg
}

// open returns the handle of a repository on a plain HTTP host, by a client of its own.
func open(t *testing.T, name string, retries int, set ...func(*Options)) *Repository {
	t.Helper()
	return repository(t, client(t, retries, set...), name)
}

func client(t *testing.T, retries int, set ...func(*Options)) *Client {
	t.Helper()
	rt, err := transport.New(transport.Options{Retries: retries})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rt.CloseIdleConnections)
	o := Options{Client: transport.Client(rt, nil), PlainHTTP: func(string) bool { return true }, Pause: time.Millisecond}
	for _, s := range set {
		s(&o)
	}
	return New(o)
}

func repository(t *testing.T, c *Client, name string) *Repository {
	t.Helper()
	r, err := c.Repository(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func as(user string) func(*Options) {
	return func(o *Options) {
		o.Client.Credential = func(context.Context, string) (auth.Credential, error) {
			return auth.Credential{Username: user, Password: "secret"}, nil
		}
	}
}

func image(t *testing.T, reg *registrytest.Registry, seed string) ocispec.Descriptor {
	t.Helper()
	desc, err := reg.PutImage("app", seed, seed)
	if err != nil {
		t.Fatal(err)
	}
	return desc
}

// A signature is what PushSignature takes. The envelope is not a real one: nobody looks.
type signature struct {
	envelope, manifest []byte
	desc               ocispec.Descriptor
}

func sign(t *testing.T, subject ocispec.Descriptor, by string) signature {
	t.Helper()
	envelope := []byte(`{"signed by":"` + by + `"}`)
	manifest, desc, err := PackSignature(subject, jws, envelope, map[string]string{
		ocispec.AnnotationCreated: "2026-01-02T03:04:05Z", "by": by,
	})
	if err != nil {
		t.Fatal(err)
	}
	return signature{envelope, manifest, desc}
}

func (s signature) push(ctx context.Context, r *Repository, subject ocispec.Descriptor) error {
	_, err := r.PushSignature(ctx, subject, jws, s.envelope, s.manifest, false)
	return err
}

// listed returns what a client without a cache sees.
func listed(t *testing.T, reg *registrytest.Registry, subject ocispec.Descriptor) map[string]int {
	t.Helper()
	list, err := reg.Signatures("app", subject.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, d := range list {
		seen[d.Digest.String()]++
	}
	return seen
}

// serve starts a registry that lies as the handler says.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// manifestAnswer answers with a manifest under headers of the test's choice.
func manifestAnswer(w http.ResponseWriter, mediaType, digest, body string) {
	w.Header().Set("Content-Type", mediaType)
	if digest != "" {
		w.Header().Set("Docker-Content-Digest", digest)
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	_, _ = fmt.Fprint(w, body)
}
