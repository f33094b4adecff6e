package registry

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/registrytest"
)

func TestResolveAsksOncePerDigest(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{})
	r := open(t, reg.Host()+"/app", -1)
	want, err := reg.PutSchema1("app", "old")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []ocispec.Descriptor{image(t, reg, "1"), want} {
		before := reg.Requests()
		for range 3 {
			got, err := r.Resolve(t.Context(), want.Digest)
			if err != nil || got.Digest != want.Digest || got.Size != want.Size || got.MediaType != want.MediaType {
				t.Errorf("got %+v, %v; want %+v", got, err, want)
			}
		}
		if took := reg.Requests() - before; took != 1 {
			t.Errorf("%d requests", took)
		}
	}
}

func TestMissingIsNotFoundAndNotRemembered(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{})
	r := open(t, reg.Host()+"/app", -1)
	image(t, reg, "1")
	d := digest.FromString("not there")
	for range 2 {
		before := reg.Requests()
		_, err := r.Resolve(t.Context(), d)
		if !lookup.IsAbsent(err) || Classify(err) != NotFound || reg.Requests() == before {
			t.Errorf("got %v after %d requests", err, reg.Requests()-before)
		}
	}
	if _, err := r.FetchManifest(t.Context(), ocispec.Descriptor{Digest: d}); !lookup.IsAbsent(err) {
		t.Errorf("fetch: %v", err)
	}
}

func TestTagsAreAskedAnew(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{})
	r := open(t, reg.Host()+"/app", -1)
	one, two := image(t, reg, "1"), image(t, reg, "2")
	for _, want := range []ocispec.Descriptor{one, two} {
		if err := reg.Tag("app", "v1", want.Digest.String()); err != nil {
			t.Fatal(err)
		}
		if d, err := r.ResolveTag(t.Context(), "v1").Result(); err != nil || d != want.Digest {
			t.Errorf("got %s, %v, want %s", d, err, want.Digest)
		}
	}
	if _, err := r.ResolveTag(t.Context(), "v9").Result(); !lookup.IsAbsent(err) {
		t.Errorf("a missing tag: %v", err)
	}
	if r.ResolveTag(t.Context(), "../x").Err() == nil {
		t.Error("a path was taken for a tag")
	}
	reg.SetHook(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	if _, err := r.ResolveTag(t.Context(), "v1").Result(); Classify(err) != Transient {
		t.Errorf("got %v, want an unknown answer", err)
	}
}

const manifestType = ocispec.MediaTypeImageManifest

func TestLyingRegistryIsRefused(t *testing.T) {
	t.Parallel()
	const good, bad = `{"schemaVersion":2}`, `{"schemaVersion":3}`
	d, wrong := digest.FromString(good), digest.FromString(bad)
	huge := strings.Repeat(" ", maxManifest+1)
	fetch := func(desc ocispec.Descriptor) func(*testing.T, *Repository) error {
		return func(t *testing.T, r *Repository) error {
			_, err := r.FetchManifest(t.Context(), desc)
			return err
		}
	}
	resolve := func(t *testing.T, r *Repository) error {
		_, err := r.Resolve(t.Context(), d)
		return err
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		do     func(*testing.T, *Repository) error
		class  Class
	}{
		{"another digest in the header", func(w http.ResponseWriter, _ *http.Request) {
			manifestAnswer(w, manifestType, wrong.String(), good)
		}, resolve, Integrity},
		{"no digest in the header", func(w http.ResponseWriter, _ *http.Request) {
			manifestAnswer(w, manifestType, "sha256:12", good)
		}, resolve, Integrity},
		{"no length and other bytes", func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Type", manifestType)
			w.(http.Flusher).Flush()
			_, _ = w.Write([]byte(bad))
		}, resolve, Integrity},
		{"other bytes under the right header", func(w http.ResponseWriter, _ *http.Request) {
			manifestAnswer(w, manifestType, d.String(), bad)
		}, fetch(ocispec.Descriptor{MediaType: manifestType, Digest: d, Size: int64(len(good))}), Integrity},
		{"another size than HEAD said", func(w http.ResponseWriter, _ *http.Request) {
			manifestAnswer(w, manifestType, d.String(), good)
		}, fetch(ocispec.Descriptor{MediaType: manifestType, Digest: d, Size: 7}), Integrity},
		{"another media type than HEAD said", func(w http.ResponseWriter, _ *http.Request) {
			manifestAnswer(w, ocispec.MediaTypeImageIndex, d.String(), good)
		}, fetch(ocispec.Descriptor{MediaType: manifestType, Digest: d, Size: int64(len(good))}), Integrity},
		{"huge with a length", func(w http.ResponseWriter, _ *http.Request) {
			manifestAnswer(w, manifestType, d.String(), huge)
		}, fetch(ocispec.Descriptor{MediaType: manifestType, Digest: d}), Permanent},
		{"huge without a length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", manifestType)
			w.(http.Flusher).Flush()
			_, _ = w.Write([]byte(huge))
		}, fetch(ocispec.Descriptor{MediaType: manifestType, Digest: d}), Permanent},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "19")
			_, _ = w.Write([]byte(good[:5]))
		}, fetch(ocispec.Descriptor{Digest: d}), Transient},
		{"honest", func(w http.ResponseWriter, _ *http.Request) {
			manifestAnswer(w, manifestType, d.String(), good)
		}, fetch(ocispec.Descriptor{MediaType: manifestType, Digest: d, Size: int64(len(good))}), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := open(t, serve(t, c.answer)+"/app", -1)
			err := c.do(t, r)
			if Classify(err) != c.class {
				t.Errorf("class %q, want %q: %v", Classify(err), c.class, err)
			}
		})
	}
}

func TestHeadThatSaysLittleIsCompletedByGet(t *testing.T) {
	t.Parallel()
	const body = `{"schemaVersion":2}`
	d := digest.FromString(body)
	r := open(t, serve(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", manifestType)
		w.(http.Flusher).Flush()
		_, _ = w.Write([]byte(body))
	})+"/app", -1)
	if got, err := r.Resolve(t.Context(), d); err != nil || got.Size != int64(len(body)) || got.MediaType != manifestType {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := r.ResolveTag(t.Context(), "v1").Result(); err != nil || got != d {
		t.Errorf("got %s, %v, want %s", got, err, d)
	}
}

// A tag's answer spares the question for its digest if it says all that this would, and then
// alone: what is left open is asked for, and hashed if need be.
func TestTagSparesTheQuestionForItsDigest(t *testing.T) {
	t.Parallel()
	const body = `{"schemaVersion":2}`
	d, other := digest.FromString(body), digest.FromString("another")
	for _, c := range []struct {
		name, mediaType, digest string
		length                  bool
		spared                  bool
	}{
		{"all", manifestType, d.String(), true, true},
		{"all, with a parameter", manifestType + "; charset=utf-8", d.String(), true, true},
		{"another digest", manifestType, other.String(), true, false},
		{"no digest", manifestType, "", true, false},
		{"digest by another algorithm", manifestType, digest.SHA512.FromString(body).String(), true, false},
		{"a web page", "text/html", d.String(), true, false},
		{"unknown type", "application/json", d.String(), true, false},
		{"no length", manifestType, d.String(), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan string, 10)
			r := open(t, serve(t, func(w http.ResponseWriter, req *http.Request) {
				if !strings.HasSuffix(req.URL.Path, "/v1") {
					asked <- req.Method
					manifestAnswer(w, manifestType, d.String(), body)
					return
				}
				w.Header().Set("Content-Type", c.mediaType)
				if c.digest != "" {
					w.Header().Set("Docker-Content-Digest", c.digest)
				}
				if c.length {
					w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				} else {
					w.(http.Flusher).Flush()
				}
				_, _ = w.Write([]byte(body))
			})+"/app", -1)
			if _, err := r.ResolveTag(t.Context(), "v1").Result(); err != nil {
				t.Fatal(err)
			}
			got, err := r.Resolve(t.Context(), d)
			if err != nil || got.MediaType != manifestType || got.Digest != d || got.Size != int64(len(body)) {
				t.Errorf("got %+v, %v", got, err)
			}
			if spared := len(asked) == 0; spared != c.spared {
				t.Errorf("asked for the digest %d times", len(asked))
			}
		})
	}
}

// What was hashed, a tag's answer does not replace.
func TestTagDoesNotChangeWhatIsKnown(t *testing.T) {
	t.Parallel()
	const body = `{"schemaVersion":2}`
	d := digest.FromString(body)
	r := open(t, serve(t, func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/v1") {
			manifestAnswer(w, ocispec.MediaTypeImageIndex, d.String(), body+" and more")
			return
		}
		manifestAnswer(w, manifestType, d.String(), body)
	})+"/app", -1)
	for range 2 {
		if got, err := r.Resolve(t.Context(), d); err != nil || got.MediaType != manifestType || got.Size != int64(len(body)) {
			t.Errorf("got %+v, %v", got, err)
		}
		if _, err := r.ResolveTag(t.Context(), "v1").Result(); err != nil {
			t.Fatal(err)
		}
	}
}

// What answers HEAD without the digest, or not as a manifest, may be anything that stands
// before the registry: its bytes are hashed.
func TestHeadThatDoesNotNameTheDigestIsHashed(t *testing.T) {
	t.Parallel()
	const body, page = `{"schemaVersion":2}`, "<html>log in</html>"
	d := digest.FromString(body)
	for _, c := range []struct {
		name, mediaType, digest, body string
		class                         Class
	}{
		{"a web page", "text/html", "", page, Integrity},
		{"a web page that names it", "text/html", d.String(), page, Integrity},
		{"other bytes that are a manifest", manifestType, "", page, Integrity},
		{"the manifest under another type", "application/json", "", body, Permanent},
		{"the manifest as a web page", "text/html", d.String(), body, Permanent},
		{"the manifest", manifestType, "", body, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := open(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
				manifestAnswer(w, c.mediaType, c.digest, c.body)
			})+"/app", -1)
			got, err := r.Resolve(t.Context(), d)
			if Classify(err) != c.class || err != nil && got.Digest != "" {
				t.Errorf("class %q, want %q: %+v, %v", Classify(err), c.class, got, err)
			}
		})
	}
}

func TestErrorsShowNoQueries(t *testing.T) {
	t.Parallel()
	const canary = "canary-77aa"
	storage := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	gone := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for _, to := range []string{storage, gone} {
		r := open(t, serve(t, func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "http://"+to+"/b?X-Amz-Signature="+canary, http.StatusTemporaryRedirect)
		})+"/app", -1)
		_, err := r.FetchManifest(t.Context(), ocispec.Descriptor{Digest: digest.FromString("x")})
		if err == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), to) {
			t.Errorf("got %v", err)
		}
	}
}

func TestFallbackTagsAreRecognised(t *testing.T) {
	t.Parallel()
	hex := digest.FromString("x").Encoded()
	for tag, want := range map[string]bool{
		"sha256-" + hex: true, "sha512-" + hex: true, "sha256-" + hex + ".sig": false,
		"sha256-" + strings.ToUpper(hex): false, "sha256-" + hex[1:]: false, "v1": false,
	} {
		if IsFallbackTag(tag) != want {
			t.Errorf("%s: %v", tag, !want)
		}
	}
}
