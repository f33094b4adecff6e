package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
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
			t.Errorf("got %d requests, want 1", took)
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
		if !lookup.IsAbsent(err) || failure.Of(err) != failure.Missing || reg.Requests() == before {
			t.Errorf("got %v after %d requests, want that it is absent, and asked for again", err, reg.Requests()-before)
		}
	}
	if _, err := r.FetchManifest(t.Context(), ocispec.Descriptor{Digest: d}); !lookup.IsAbsent(err) {
		t.Errorf("fetch: got %v, want that it is absent", err)
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
		t.Errorf("a missing tag: got %v, want that it is absent", err)
	}
	if r.ResolveTag(t.Context(), "../x").Err() == nil {
		t.Error("a path as a tag: got no error, want one")
	}
	reg.SetHook(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	if _, err := r.ResolveTag(t.Context(), "v1").Result(); failure.Of(err) != failure.Transient {
		t.Errorf("got %v, want an unknown answer", err)
	}
}

const manifestType = ocispec.MediaTypeImageManifest

// A cache between us and the registry may have a tag that was moved since, or a list of signatures that were deleted.
func TestNoCacheAnswersForTheRegistry(t *testing.T) {
	t.Parallel()
	for _, referrers := range []bool{true, false} {
		reg := start(t, registrytest.Options{Referrers: referrers})
		desc := image(t, reg, "1")
		if err := reg.Tag("app", "v1", desc.Digest.String()); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		asked := map[string]string{}
		reg.SetHook(func(_ http.ResponseWriter, req *http.Request, _ http.Handler) bool {
			mu.Lock()
			defer mu.Unlock()
			asked[req.Method+" "+req.URL.Path] = req.Header.Get("Cache-Control")
			return false
		})
		c := client(t, -1)
		r := repository(t, c, reg.Host()+"/app")
		none := func(string) error { return nil }
		_, err := r.ResolveTag(t.Context(), "v1").Result()
		_, other := r.Resolve(t.Context(), desc.Digest)
		_, _, listed := r.Signatures(t.Context(), desc)
		if err := errors.Join(err, other, listed, r.Tags(t.Context(), none), c.Catalog(t.Context(), reg.Host(), none)); err != nil {
			t.Fatal(err)
		}
		if len(asked) < 4 {
			t.Errorf("got the requests %v, want one for each list, tag and image", asked)
		}
		for request, said := range asked {
			if said != "no-cache" {
				t.Errorf("%s: got Cache-Control %q, want no-cache", request, said)
			}
		}
	}
}

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
		class  failure.Class
	}{
		{"another digest in the header", func(w http.ResponseWriter, _ *http.Request) {
			manifestAnswer(w, manifestType, wrong.String(), good)
		}, resolve, failure.Security},
		{"no digest in the header", func(w http.ResponseWriter, _ *http.Request) {
			manifestAnswer(w, manifestType, "sha256:12", good)
		}, resolve, failure.Security},
		{"no length and other bytes", func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Type", manifestType)
			w.(http.Flusher).Flush()
			_, _ = w.Write([]byte(bad))
		}, resolve, failure.Security},
		{"other bytes under the right header", func(w http.ResponseWriter, _ *http.Request) {
			manifestAnswer(w, manifestType, d.String(), bad)
		}, fetch(ocispec.Descriptor{MediaType: manifestType, Digest: d, Size: int64(len(good))}), failure.Security},
		{"another size than HEAD said", func(w http.ResponseWriter, _ *http.Request) {
			manifestAnswer(w, manifestType, d.String(), good)
		}, fetch(ocispec.Descriptor{MediaType: manifestType, Digest: d, Size: 7}), failure.Security},
		{"another media type than HEAD said", func(w http.ResponseWriter, _ *http.Request) {
			manifestAnswer(w, ocispec.MediaTypeImageIndex, d.String(), good)
		}, fetch(ocispec.Descriptor{MediaType: manifestType, Digest: d, Size: int64(len(good))}), failure.Security},
		{"huge with a length", func(w http.ResponseWriter, _ *http.Request) {
			manifestAnswer(w, manifestType, d.String(), huge)
		}, fetch(ocispec.Descriptor{MediaType: manifestType, Digest: d}), failure.Permanent},
		{"huge without a length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", manifestType)
			w.(http.Flusher).Flush()
			_, _ = w.Write([]byte(huge))
		}, fetch(ocispec.Descriptor{MediaType: manifestType, Digest: d}), failure.Permanent},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "19")
			_, _ = w.Write([]byte(good[:5]))
		}, fetch(ocispec.Descriptor{Digest: d}), failure.Transient},
		{"honest", func(w http.ResponseWriter, _ *http.Request) {
			manifestAnswer(w, manifestType, d.String(), good)
		}, fetch(ocispec.Descriptor{MediaType: manifestType, Digest: d, Size: int64(len(good))}), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := open(t, serve(t, c.answer)+"/app", -1)
			err := c.do(t, r)
			if failure.Of(err) != c.class {
				t.Errorf("got class %q, want %q: %v", failure.Of(err), c.class, err)
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
		t.Errorf("got %+v, %v, want %s of %d bytes", got, err, manifestType, len(body))
	}
	if got, err := r.ResolveTag(t.Context(), "v1").Result(); err != nil || got != d {
		t.Errorf("got %s, %v, want %s", got, err, d)
	}
}

// A tag's answer saves the request for its digest only if it says all that this request would.
// What is left open is requested, and hashed if need be.
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
				t.Errorf("got %+v, %v, want %s, %s of %d bytes", got, err, manifestType, d, len(body))
			}
			if spared := len(asked) == 0; spared != c.spared {
				t.Errorf("got the digest asked for %d times, want it spared %v", len(asked), c.spared)
			}
		})
	}
}

// A tag's answer does not replace what was hashed.
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
			t.Errorf("got %+v, %v, want %s of %d bytes", got, err, manifestType, len(body))
		}
		if _, err := r.ResolveTag(t.Context(), "v1").Result(); err != nil {
			t.Fatal(err)
		}
	}
}

// An answer to HEAD without the digest, or not as a manifest, may come from anything in front of
// the registry: its bytes are hashed.
func TestHeadThatDoesNotNameTheDigestIsHashed(t *testing.T) {
	t.Parallel()
	const body, page = `{"schemaVersion":2}`, "<html>log in</html>"
	d := digest.FromString(body)
	for _, c := range []struct {
		name, mediaType, digest, body string
		class                         failure.Class
	}{
		{"a web page", "text/html", "", page, failure.Security},
		{"a web page that names it", "text/html", d.String(), page, failure.Security},
		{"other bytes that are a manifest", manifestType, "", page, failure.Security},
		{"the manifest under another type", "application/json", "", body, failure.Permanent},
		{"the manifest as a web page", "text/html", d.String(), body, failure.Permanent},
		{"the manifest", manifestType, "", body, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := open(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
				manifestAnswer(w, c.mediaType, c.digest, c.body)
			})+"/app", -1)
			got, err := r.Resolve(t.Context(), d)
			if failure.Of(err) != c.class || err != nil && got.Digest != "" {
				t.Errorf("class %q, want %q: %+v, %v", failure.Of(err), c.class, got, err)
			}
		})
	}
}

// A web page in answer to a tag is not an image, so it is not another image than the signed one.
func TestTagOfAWebPageIsUnknown(t *testing.T) {
	t.Parallel()
	for _, head := range []int{http.StatusOK, http.StatusNotFound, http.StatusMethodNotAllowed} {
		r := open(t, serve(t, func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			if req.Method == http.MethodHead {
				w.WriteHeader(head)
			}
			_, _ = fmt.Fprint(w, "<html>log in</html>")
		})+"/app", -1)
		if d, err := r.ResolveTag(t.Context(), "v1").Result(); failure.Of(err) != failure.Permanent || d != "" {
			t.Errorf("HEAD answered with %d: got %q, %v, want class %s", head, d, err, failure.Permanent)
		}
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
			t.Errorf("got %v, want an error with %s and no secret", err, to)
		}
	}
}

// Only what cannot be run is a list of signatures, whatever its tag is called. A list that was
// read for its image is not requested again.
func TestReferrersListsAreRecognised(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{})
	subject, other := image(t, reg, "1"), image(t, reg, "2")
	tag := func(of ocispec.Descriptor) string { return "sha256-" + of.Digest.Encoded() }
	r := open(t, reg.Host()+"/app", -1)
	pushed(t, r, subject, "us")
	pushed(t, r, other, "us")
	isList := func(r *Repository, tag string) bool {
		t.Helper()
		list, err := r.IsReferrersList(t.Context(), tag)
		if err != nil {
			t.Error(err)
		}
		return list
	}
	r = open(t, reg.Host()+"/app", -1)
	if !isList(r, tag(subject)) || isList(r, "v1") {
		t.Error("got a list not recognised or a tag v1 that is, want only the list")
	}
	list, _, err := r.Signatures(t.Context(), other)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if _, _, err := r.FetchSignature(t.Context(), list[0]); err != nil {
		t.Fatal(err)
	}
	if before := reg.Requests(); !isList(r, tag(other)) || reg.Requests() != before {
		t.Errorf("a list that was read: got %d requests, want none", reg.Requests()-before)
	}
	if _, err := r.IsReferrersList(t.Context(), "sha256-"+digest.FromString("gone").Encoded()); err == nil {
		t.Error("a tag that is not there: got no error, want an unknown answer, as it was listed")
	}
	// A listed entry that cannot be read now may be an image, which matters to nobody as long as the
	// index has no signature.
	reg.SetHook(func(w http.ResponseWriter, req *http.Request, _ http.Handler) bool {
		hit := strings.HasSuffix(req.URL.Path, list[0].Digest.String())
		if hit {
			w.WriteHeader(http.StatusTooManyRequests)
		}
		return hit
	})
	fresh := open(t, reg.Host()+"/app", -1)
	if !isList(fresh, tag(other)) {
		t.Error("an unsigned index, of which an entry cannot be read: got no list, want it passed over")
	}
	index, err := reg.Resolve("app", tag(other))
	if err != nil {
		t.Fatal(err)
	}
	pushed(t, r, index, "us")
	if got, err := fresh.IsReferrersList(t.Context(), tag(other)); err == nil {
		t.Errorf("a signed index, of which an entry cannot be read: %v, want it unknown", got)
	}
	reg.SetHook(nil)
	artifact := ocispec.Descriptor{MediaType: manifestType, ArtifactType: ArtifactType, Digest: subject.Digest, Size: subject.Size}
	changed := func(f func(*ocispec.Descriptor)) []byte {
		d := artifact
		f(&d)
		return []byte(indexOf(t, artifact, d))
	}
	for name, c := range map[string]struct {
		mediaType string
		content   []byte
	}{
		"an image":                 {manifestType, []byte(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json"}}`)},
		"an image by another name": {ocispec.MediaTypeImageIndex, []byte(indexOf(t, artifact))},
		"another image's list":     {ocispec.MediaTypeImageIndex, []byte(indexOf(t, list...))},
		"an index of images":       {ocispec.MediaTypeImageIndex, []byte(indexOf(t, subject))},
		"an image among artifacts": {ocispec.MediaTypeImageIndex, changed(func(d *ocispec.Descriptor) { d.ArtifactType = "" })},
		"one for a platform":       {ocispec.MediaTypeImageIndex, changed(func(d *ocispec.Descriptor) { d.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"} })},
		"one with an image's type": {ocispec.MediaTypeImageIndex, changed(func(d *ocispec.Descriptor) { d.ArtifactType = ocispec.MediaTypeImageConfig })},
		"an index in an index":     {ocispec.MediaTypeImageIndex, changed(func(d *ocispec.Descriptor) { d.MediaType = ocispec.MediaTypeImageIndex })},
	} {
		if _, err := reg.PutManifest("app", tag(subject), c.mediaType, c.content); err != nil {
			t.Fatal(name, err)
		}
		if isList(open(t, reg.Host()+"/app", -1), tag(subject)) {
			t.Errorf("%s: got it taken for a list, want not", name)
		}
	}
}

// An endless list is given up at its budget, and the error says how to raise it.
func TestEndlessListsAreGivenUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		names  func(page int) string
		budget Budget
		want   string
		pages  int
	}{
		"new names for ever":  {func(p int) string { return fmt.Sprintf(`"v%d"`, p) }, Budget{Pages: 7}, "--max-pages", 8},
		"empty pages":         {func(int) string { return "" }, Budget{Pages: 7}, "--max-pages", 8},
		"pages that go round": {func(p int) string { return fmt.Sprintf(`"v%d"`, p%3) }, Budget{}, "goes round", 4},
		"huge pages":          {func(p int) string { return fmt.Sprintf(`"%d%s"`, p, strings.Repeat("v", 3<<20)) }, Budget{Pages: 150}, "--max-pages", 2},
		"slow pages": {func(p int) string {
			time.Sleep(30 * time.Millisecond)
			return fmt.Sprintf(`"v%d"`, p)
		}, Budget{Time: 100 * time.Millisecond}, "--list-timeout", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			host := serve(t, func(w http.ResponseWriter, req *http.Request) {
				p := int(asked.Add(1))
				w.Header().Set("Link", fmt.Sprintf(`<%s?page=%d>; rel="next"`, req.URL.Path, p))
				key := map[bool]string{true: "repositories", false: "tags"}[strings.HasSuffix(req.URL.Path, "/_catalog")]
				_, _ = fmt.Fprintf(w, `{"name":"app",%q:[%s]}`, key, c.names(p))
			})
			within := func(o *Options) { o.Lists = c.budget }
			check := func(what string, err error) {
				if n := int(asked.Swap(0)); !errors.Is(err, ErrBudget) || !strings.Contains(err.Error(), c.want) || c.pages > 0 && n != c.pages {
					t.Errorf("%s: got %v after %d pages, want %v with %q after %d", what, err, n, ErrBudget, c.want, c.pages)
				}
			}
			check("tags", open(t, host+"/app", -1, within).Tags(t.Context(), func(string) error { return nil }))
			check("catalogue", client(t, -1, within).Catalog(t.Context(), host, func(string) error { return nil }))
		})
	}
}

// Only the registry's own answer to GET says that a tag is gone: HEAD has no body, and a proxy's
// 404 or a hidden repository hides a tag that was moved.
func TestOnlyTheRegistrySaysThatATagIsGone(t *testing.T) {
	t.Parallel()
	const own, any404, listed = `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, `{"errors":[{"code":"NOT_FOUND"}]}`, `{"name":"app","tags":null}`
	for _, c := range []struct {
		body, tags string // tags: the answer to the list of tags; empty: the same 404
		gone       bool
	}{
		{own, "", true},
		{any404, listed, true},
		{any404, "", false},
		{any404, "<html>log in</html>", false},
		{any404, "{}", false},
		{`{"errors":[{"code":"MANIFEST_UNKNOWN"},{"code":"NOT_FOUND"}]}`, listed, true},
		{`{"errors":[{"code":"MANIFEST_UNKNOWN"},{"code":"NO_ROUTE"}]}`, listed, false},
		{`{"errors":[{"code":"MANIFEST_UNKNOWN"},{"code":"NAME_UNKNOWN"}]}`, listed, false},
		{`{"errors":[{"code":"NAME_UNKNOWN"}]}`, listed, false},
		{`{"errors":[{"code":"BLOB_UNKNOWN"}]}`, listed, false},
		{`{"errors":[]}`, listed, false},
		{`<html>not found</html>`, listed, false},
		{``, listed, false},
	} {
		r := open(t, serve(t, func(w http.ResponseWriter, req *http.Request) {
			if c.tags != "" && strings.HasSuffix(req.URL.Path, "/tags/list") {
				_, _ = fmt.Fprint(w, c.tags)
				return
			}
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprint(w, c.body)
		})+"/app", -1)
		answer := r.ResolveTag(t.Context(), "v1")
		by, absent := answer.Absent()
		if absent != c.gone || c.gone && by != lookup.Registry || (answer.Err() == nil) != c.gone {
			t.Errorf("%q, tags %q: got absent %v by %q, %v, want %v", c.body, c.tags, absent, by, answer.Err(), c.gone)
		}
		if _, err := r.Resolve(t.Context(), digest.FromString("gone")); lookup.IsAbsent(err) != c.gone {
			t.Errorf("%q, tags %q, by digest: got %v, want absent %v", c.body, c.tags, err, c.gone)
		}
		// What undo should remove did exist: a proxy that knows the codes of registries is not enough.
		stored := r.StoredSignature(t.Context(), digest.FromString("image"), digest.FromString("gone"))
		if _, absent := stored.Absent(); absent != (c.gone && c.tags != "") {
			t.Errorf("%q, tags %q, of a signature: got absent %v, %v, want %v", c.body, c.tags, absent, stored.Err(), c.gone && c.tags != "")
		}
	}
	// A proxy says so for a moment, for each path, and the registry itself answers the list of tags.
	reg := start(t, registrytest.Options{})
	there := image(t, reg, "v1")
	var mu sync.Mutex
	refused := map[string]bool{}
	reg.SetHook(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		mu.Lock()
		defer mu.Unlock()
		first := !refused[r.Method+r.URL.Path] && strings.Contains(r.URL.Path, "/manifests/")
		if refused[r.Method+r.URL.Path] = true; first {
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprint(w, any404)
		}
		return first
	})
	r := open(t, reg.Host()+"/app", -1)
	if answer := r.ResolveTag(t.Context(), "v1"); failure.Of(answer.Err()) != failure.Transient {
		t.Errorf("a tag that was refused for a moment: got %v, want class %s", answer.Err(), failure.Transient)
	}
	if _, err := r.Resolve(t.Context(), there.Digest); failure.Of(err) != failure.Transient {
		t.Errorf("an image that was refused for a moment: got %v, want class %s", err, failure.Transient)
	}
	// A registry that does not know HEAD has tag and image all the same.
	for _, status := range []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented} {
		reg := start(t, registrytest.Options{})
		want := image(t, reg, "v1")
		reg.SetHook(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			if r.Method == http.MethodHead {
				w.WriteHeader(status)
			}
			return r.Method == http.MethodHead
		})
		r := open(t, reg.Host()+"/app", -1)
		if d, err := r.ResolveTag(t.Context(), "v1").Result(); err != nil || d != want.Digest {
			t.Errorf("HEAD answered with %d: got %s, %v, want %s", status, d, err, want.Digest)
		}
		if d, err := r.Resolve(t.Context(), want.Digest); err != nil || d.Size != want.Size || d.MediaType != want.MediaType {
			t.Errorf("HEAD answered with %d: got %+v, %v, want %+v", status, d, err, want)
		}
	}
}

// A page without the member for its entries is an error: it would end the list, and what follows
// would seem to be missing.
func TestAPageThatIsNoListEndsNoList(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{})
	for _, last := range []string{`{}`, `null`, `{"errors":[]}`, `{"name":"app","Tags":[],"Repositories":[]}`} {
		for path, list := range map[string]func(each func(string) error) error{
			"/v2/app/tags/list": func(each func(string) error) error { return open(t, reg.Host()+"/app", -1).Tags(t.Context(), each) },
			"/v2/_catalog":      func(each func(string) error) error { return client(t, -1).Catalog(t.Context(), reg.Host(), each) },
		} {
			for _, first := range []bool{true, false} {
				reg.SetHook(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
					body := last
					if !first && r.URL.RawQuery == "" {
						w.Header().Set("Link", "<"+path+`?last=v1>; rel="next"`)
						body = `{"tags":["v1"],"repositories":["v1"]}`
					}
					_, _ = fmt.Fprint(w, body)
					return true
				})
				var got []string
				err := list(func(name string) error { got = append(got, name); return nil })
				if !errors.Is(err, ErrNotRegistry) || first && len(got) > 0 {
					t.Errorf("%s of %s, on the first page %t: %v, %v, want an error", last, path, first, got, err)
				}
			}
		}
	}
	reg.SetHook(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		_, _ = fmt.Fprint(w, `{"name":"app","tags":null}`)
		return true
	})
	if err := open(t, reg.Host()+"/app", -1).Tags(t.Context(), func(string) error { return nil }); err != nil {
		t.Errorf("a repository whose tags were deleted: got %v, want no error", err)
	}
}
