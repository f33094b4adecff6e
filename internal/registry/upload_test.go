package registry

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

// isInOne reports whether a request stores a blob at once.
func isInOne(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Get("digest") != ""
}

// Whatever a registry makes of an upload in one request, it gets the blob. If it cannot do that,
// it is not asked for it every time.
func TestUploadFallsBackOnTwoRequests(t *testing.T) {
	t.Parallel()
	status := func(code int) registrytest.Hook {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
			w.WriteHeader(code)
			_, _ = fmt.Fprint(w, "<html>")
			return true
		}
	}
	accepted := func(location string) registrytest.Hook {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(http.StatusAccepted)
			return true
		}
	}
	for _, c := range []struct {
		name   string
		answer registrytest.Hook
		always bool // it is tried for each blob
	}{
		{"400", status(400), false}, {"403", status(403), false}, {"404", status(404), false}, {"405", status(405), false},
		{"411", status(411), false}, {"413", status(413), false}, {"415", status(415), false}, {"501", status(501), false},
		{"a web page", status(200), false}, {"nothing", status(204), false}, {"see elsewhere", status(302), false},
		{"stored, and it was not", status(201), false},
		{"500", status(500), true}, {"502", status(502), true},
		{"begun nowhere", accepted(""), false}, {"begun elsewhere", accepted("http://elsewhere.example/v2/app/blobs/uploads/1"), false},
		{"begun where nothing is", accepted("/none/of/ours"), false},
		{"reset", func(http.ResponseWriter, *http.Request, http.Handler) bool { panic(http.ErrAbortHandler) }, true},
		{"stored, and the answer is lost", func(_ http.ResponseWriter, r *http.Request, next http.Handler) bool {
			registrytest.LoseAnswer(r, next)
			return true
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			reg := start(t, registrytest.Options{Referrers: true})
			var mu sync.Mutex
			tried := 0
			reg.SetHook(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
				if !isInOne(r) {
					return false
				}
				mu.Lock()
				tried++
				mu.Unlock()
				return c.answer(w, r, next)
			})
			r := open(t, reg.Host()+"/app", -1)
			subject := image(t, reg, "1")
			for _, by := range []string{"a", "b"} {
				s := sign(t, subject, by)
				if err := s.push(t.Context(), r, subject); err != nil {
					t.Fatal(err)
				}
				if _, envelope, err := r.FetchSignature(t.Context(), s.desc); err != nil || string(envelope) != string(s.envelope) {
					t.Errorf("got %q, %v, want %q", envelope, err, s.envelope)
				}
			}
			want := 1
			if c.always {
				want = 3 // the config and two envelopes
			}
			if tried != want {
				t.Errorf("got %d tries, want %d: %q", tried, want, reg.Log())
			}
		})
	}
}

// A server that does not answer HEAD accepts signatures and files all the same.
func TestBlobsAreStoredWhereHeadIsRefused(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusMethodNotAllowed, http.StatusNotImplemented} {
		reg := start(t, registrytest.Options{Referrers: true})
		subject := image(t, reg, "1")
		reg.SetHook(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			if r.Method == http.MethodHead {
				w.WriteHeader(status)
			}
			return r.Method == http.MethodHead
		})
		r := open(t, reg.Host()+"/app", -1)
		s := sign(t, subject, "a")
		if err := s.push(t.Context(), r, subject); err != nil {
			t.Errorf("%d: got %v, want no error", status, err)
		}
		if _, envelope, err := r.FetchSignature(t.Context(), s.desc); err != nil || string(envelope) != string(s.envelope) {
			t.Errorf("%d: got %q, %v, want %q", status, envelope, err, s.envelope)
		}
		files := []Blob{{describe("text/plain", []byte("a file")), []byte("a file")}}
		if _, err := r.PushArtifact(t.Context(), s.manifest, files, "report"); err != nil {
			t.Errorf("%d: got %v, want no error", status, err)
		}
	}
}

// An upload in two requests would be refused too.
func TestUploadThatIsRefusedForGoodIsNotRepeated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		header string
		class  failure.Class
	}{
		{401, "", failure.Denied}, {429, "", failure.Throttled}, {503, "", failure.Transient},
		{201, digest.FromString("other bytes").String(), failure.Security}, {201, "sha256:12", failure.Security},
	} {
		t.Run(fmt.Sprint(c.status, c.header), func(t *testing.T) {
			t.Parallel()
			reg := start(t, registrytest.Options{Referrers: true})
			subject := image(t, reg, "1")
			reg.SetHook(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
				if isInOne(r) {
					w.Header().Set("Docker-Content-Digest", c.header)
					w.WriteHeader(c.status)
				}
				return isInOne(r)
			})
			err := sign(t, subject, "a").push(t.Context(), open(t, reg.Host()+"/app", -1), subject)
			if failure.Of(err) != c.class {
				t.Errorf("got class %q, want %q: %v", failure.Of(err), c.class, err)
			}
			if posts := count(reg, http.MethodPost); posts != 1 {
				t.Errorf("got %d uploads begun, want 1", posts)
			}
		})
	}
}

// A registry may not check a manifest's blobs. One that says 201 and keeps nothing must be found
// out before it gets the manifest.
func TestFirstBlobInOneRequestIsLookedFor(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	r := open(t, reg.Host()+"/app", -1)
	subject := image(t, reg, "1")
	for i, by := range []string{"a", "b"} {
		before := len(reg.Log())
		if err := sign(t, subject, by).push(t.Context(), r, subject); err != nil {
			t.Fatal(err)
		}
		heads := 0
		for _, line := range reg.Log()[before:] {
			if strings.HasPrefix(line, "HEAD /v2/app/blobs/") {
				heads++
			}
		}
		// The config is looked for before it is pushed, and afterwards.
		if want := []int{2, 0}[i]; heads != want {
			t.Errorf("signature %s: got %d blobs looked for, want %d: %q", by, heads, want, reg.Log()[before:])
		}
	}
}

// If blobs vanish, uploads in one request end.
func TestUnknownBlobEndsUploadsInOneRequest(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	r := open(t, reg.Host()+"/app", -1)
	subject := image(t, reg, "1")
	if err := sign(t, subject, "a").push(t.Context(), r, subject); err != nil {
		t.Fatal(err)
	}
	reg.SetHook(func(w http.ResponseWriter, req *http.Request, _ http.Handler) bool {
		if isInOne(req) {
			w.WriteHeader(http.StatusCreated)
		}
		return isInOne(req)
	})
	s := sign(t, subject, "b")
	if err := s.push(t.Context(), r, subject); failure.Of(err) != failure.Transient {
		t.Fatalf("got %v, want class %s", err, failure.Transient)
	}
	if err := s.push(t.Context(), r, subject); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, reg, subject); got[s.desc.Digest.String()] != 1 {
		t.Errorf("got %v listed, want %s once", got, s.desc.Digest)
	}
}

func count(reg *registrytest.Registry, method string) int {
	n := 0
	for _, line := range reg.Log() {
		if strings.HasPrefix(line, method+" ") {
			n++
		}
	}
	return n
}

// The bytes and the digest arrive where the upload continues, with all else in that address,
// however it is written.
func TestUploadGoesOnAtItsLocation(t *testing.T) {
	t.Parallel()
	const blob = `{"a":"blob"}`
	d := digest.FromString(blob)
	for _, location := range []string{"/v2/app/blobs/uploads/7?_state=a%2Fb%3D&x=1", "http://HOST/v2/app/blobs/uploads/7?_state=a%2Fb%3D&x=1", "7?_state=a%2Fb%3D&x=1"} {
		for _, digestKept := range []string{"", "&digest=" + d.String()} {
			var mu sync.Mutex
			var puts []string
			host := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					w.Header().Set("Location", strings.ReplaceAll(location, "HOST", r.Host)+digestKept)
					w.WriteHeader(http.StatusAccepted)
					return
				}
				body, _ := io.ReadAll(r.Body) // what came is compared
				q := r.URL.Query()
				mu.Lock()
				puts = append(puts, fmt.Sprint(r.Method, r.URL.Path, q["_state"], q["x"], q["digest"], r.Header.Get("Content-Type"), r.ContentLength, string(body)))
				mu.Unlock()
				w.WriteHeader(http.StatusCreated)
			})
			err := open(t, host+"/app", -1).upload(t.Context(), ocispec.Descriptor{Digest: d, Size: int64(len(blob))}, []byte(blob))
			want := fmt.Sprint("PUT", "/v2/app/blobs/uploads/7", []string{"a/b="}, []string{"1"}, []string{d.String()}, "application/octet-stream", len(blob), blob)
			if err != nil || !slices.Equal(puts, []string{want}) {
				t.Errorf("%s: got %q, want %q: %v", location, puts, want, err)
			}
		}
	}
}

// Credentials would go along.
func TestUploadIsNotFollowedToAnotherPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ base, location, goesOn string }{
		{"https://r.example", "/u/1?s=1", "https://r.example/u/1?s=1"},
		{"https://r.example", "https://r.example:443/u/1", "https://r.example/u/1"},
		{"https://r.example:443", "https://r.example/u/1", "https://r.example:443/u/1"},
		{"https://r.example", "https://R.Example/u/1", "https://r.example/u/1"},
		{"https://r.example", "https://me:secret@r.example/u/1", "https://r.example/u/1"},
		{"http://r.example:5000", "http://r.example:5000/u/1", "http://r.example:5000/u/1"},
		{"https://r.example", "http://r.example/u/1", ""},
		{"https://r.example", "http://r.example:443/u/1", ""},
		{"https://r.example", "https://r.example:8443/u/1", ""},
		{"https://r.example", "https://r.example.evil/u/1?s=secret", ""},
		{"https://r.example", "//evil.example/u/1", ""},
		{"https://r.example", "https://r.example@evil.example/u/1", ""},
		{"http://r.example:5000", "http://r.example:5001/u/1", ""},
		{"https://r.example", "", ""},
	} {
		r := &Repository{base: c.base + "/v2/app"}
		asked, err := url.Parse(r.base + "/blobs/uploads/")
		if err != nil {
			t.Fatal(err)
		}
		at, err := r.session(&http.Response{Header: http.Header{"Location": {c.location}}, Request: &http.Request{URL: asked}})
		switch {
		case c.goesOn == "" && (err == nil || strings.Contains(err.Error(), "secret")):
			t.Errorf("%s from %s: got %v, %v, want an error without the secret", c.location, c.base, at, err)
		case c.goesOn != "" && (err != nil || at.String() != c.goesOn):
			t.Errorf("%s from %s: got %v, %v, want %s", c.location, c.base, at, err, c.goesOn)
		}
	}
}

// A redirected answer cannot take the upload elsewhere either.
func TestRedirectedUploadStaysWithTheRegistry(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method
		w.Header().Set("Location", "/v2/app/blobs/uploads/1")
		w.WriteHeader(http.StatusAccepted)
	})
	host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
	})
	err := open(t, host+"/app", -1).upload(t.Context(), describe("x", []byte("{}")), []byte("{}"))
	if err == nil || !strings.Contains(err.Error(), "another place") {
		t.Errorf("got %v, want an error that says another place", err)
	}
	close(asked)
	for method := range asked {
		if method != http.MethodPost {
			t.Errorf("got %s elsewhere, want only %s", method, http.MethodPost)
		}
	}
}
