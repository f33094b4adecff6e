package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

func TestSignaturesAreFoundAndFetched(t *testing.T) {
	t.Parallel()
	for _, referrers := range []bool{true, false} {
		t.Run(fmt.Sprintf("referrers API %v", referrers), func(t *testing.T) {
			t.Parallel()
			reg := start(t, registrytest.Options{Referrers: referrers})
			r := open(t, reg.Host()+"/app", -1)
			subject := image(t, reg, "1")
			if list, _, err := r.Signatures(t.Context(), subject); err != nil || len(list) != 0 {
				t.Fatalf("before: got %v, %v, want none", list, err)
			}
			s := sign(t, subject, "a")
			// Another process pushes: the list must not come from a cache.
			if err := s.push(t.Context(), open(t, reg.Host()+"/app", -1), subject); err != nil {
				t.Fatal(err)
			}
			list, _, err := r.Signatures(t.Context(), subject)
			if err != nil || len(list) != 1 || list[0].Digest != s.desc.Digest || list[0].Annotations["by"] != "a" {
				t.Fatalf("after: got %+v, %v, want %s", list, err, s.desc.Digest)
			}
			mediaType, envelope, err := r.FetchSignature(t.Context(), list[0])
			if err != nil || mediaType != jws || string(envelope) != string(s.envelope) {
				t.Errorf("got %q %q, %v, want %q %q", mediaType, envelope, err, jws, s.envelope)
			}
		})
	}
}

func TestForcedTagIsUsedWithoutAsking(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	r := open(t, reg.Host()+"/app", -1, func(o *Options) { o.ForceReferrersTag = true })
	subject := image(t, reg, "1")
	if err := sign(t, subject, "a").push(t.Context(), r, subject); err != nil {
		t.Fatal(err)
	}
	if log := strings.Join(reg.Log(), "\n"); strings.Contains(log, "/referrers/") || !strings.Contains(log, "/manifests/sha256-"+subject.Digest.Encoded()) {
		t.Errorf("got requests\n%s, want the tag asked for and not the API", log)
	}
}

// indexOf returns a referrers answer.
func indexOf(t *testing.T, manifests ...ocispec.Descriptor) string {
	t.Helper()
	data, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func entry(i int) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: manifestType, ArtifactType: ArtifactType, Size: 100, Digest: digest.FromString(fmt.Sprint(i))}
}

func TestUnknownIsNeverNone(t *testing.T) {
	t.Parallel()
	subject := ocispec.Descriptor{MediaType: manifestType, Digest: digest.FromString("image"), Size: 5}
	many := make([]ocispec.Descriptor, maxSignatures+1)
	for i := range many {
		many[i] = entry(i)
	}
	answer := func(status int, headers, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			if headers != "" {
				w.Header().Set("Link", headers)
			}
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, body)
		}
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		class  failure.Class
	}{
		{"server error", answer(500, "", ""), failure.Transient},
		{"busy", answer(429, "", ""), failure.Throttled},
		{"denied", answer(403, "", ""), failure.Denied},
		{"no such repository", answer(404, "", `{"errors":[{"code":"NAME_UNKNOWN"}]}`), failure.Permanent},
		{"no JSON", answer(200, "", "<html>"), failure.Permanent},
		{"cut JSON", answer(200, "", `{"manifests":[`), failure.Transient},
		{"too many", answer(200, "", indexOf(t, many...)), failure.Permanent},
		{"endless pages", answer(200, `</v2/app/referrers/x>; rel="next"`, indexOf(t)), failure.Permanent},
		{"second page missing", func(w http.ResponseWriter, req *http.Request) {
			if strings.HasSuffix(req.URL.Path, "/next") {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			answer(200, `</v2/app/referrers/next>; rel="next"`, indexOf(t, entry(1)))(w, req)
		}, failure.Permanent},
		{"next page on another host", answer(200, `<http://elsewhere.example/v2/app/referrers/x>; rel="next"`, indexOf(t, entry(1))), failure.Permanent},
		{"index under the tag cannot be read", func(w http.ResponseWriter, req *http.Request) {
			w.WriteHeader(map[bool]int{true: 404, false: 502}[strings.Contains(req.URL.Path, "/referrers/")])
		}, failure.Transient},
		{"a web page in place of the API", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprint(w, "<html>log in</html>")
		}, failure.Permanent},
		{"no content", answer(204, "", ""), failure.Permanent},
		{"a proxy's 404 for the tag", underTag(404, "text/html", "<html>"), failure.Permanent},
		{"the tag's repository is unknown", underTag(404, "application/json", `{"errors":[{"code":"NAME_UNKNOWN"}]}`), failure.Permanent},
		{"a web page under the tag", underTag(200, "text/html", "<html>log in</html>"), failure.Permanent},
		{"an image under the tag", underTag(200, manifestType, `{"schemaVersion":2}`), failure.Permanent},
		{"docker's list of images under the tag", underTag(200, "application/vnd.docker.distribution.manifest.list.v2+json", `{"schemaVersion":2,"manifests":[]}`), failure.Permanent},
		{"an index of nothing under the tag", underTag(200, ocispec.MediaTypeImageIndex, `{}`), failure.Permanent},
		{"a list of another digest under the tag", func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Docker-Content-Digest", digest.FromString("another").String())
			underTag(200, ocispec.MediaTypeImageIndex, indexOf(t))(w, req)
		}, failure.Security},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := open(t, serve(t, c.answer)+"/app", -1)
			list, _, err := r.Signatures(t.Context(), subject)
			if err == nil || list != nil || failure.Of(err) != c.class {
				t.Errorf("got %d listed, class %q, %v, want an error of class %q", len(list), failure.Of(err), err, c.class)
			}
			if errors.Is(err, errNoList) && !strings.Contains(err.Error(), fallbackTag(subject.Digest)) {
				t.Errorf("got %v, want an error that names the tag %s", err, fallbackTag(subject.Digest))
			}
		})
	}
}

// underTag answers as a registry without the API that has something under every tag.
func underTag(status int, mediaType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, "/referrers/") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", mediaType)
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}
}

// A momentary 404 does not mean that a registry lacks the referrers API.
func TestMomentary404HidesNoReferrersAPI(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	r := open(t, reg.Host()+"/app", -1)
	subject := image(t, reg, "1")
	ours := pushed(t, r, subject, "us")
	var asked atomic.Int32
	reg.SetHook(func(w http.ResponseWriter, req *http.Request, _ http.Handler) bool {
		hit := strings.Contains(req.URL.Path, "/referrers/") && asked.Add(1) == 1
		if hit {
			w.WriteHeader(http.StatusNotFound)
		}
		return hit
	})
	list, _, err := open(t, reg.Host()+"/app", -1).Signatures(t.Context(), subject)
	if err != nil || len(list) != 1 || list[0].Digest != ours {
		t.Errorf("got %v, %v, want %s", list, err, ours)
	}
}

// A notebook is a Memory.
type notebook struct {
	mu  sync.Mutex
	has map[string]bool
}

func (n *notebook) HasReferrers(repository string) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.has[repository], nil
}

func (n *notebook) SetReferrers(repository string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.has[repository] = true
	return nil
}

func (n *notebook) HostHasReferrers(host string) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for repository := range n.has {
		if strings.HasPrefix(repository, host+"/") {
			return true, nil
		}
	}
	return false, nil
}

// hideAPI makes a proxy answer the referrers API with 404, n times from request number first on.
func hideAPI(reg *registrytest.Registry, first, n int32) {
	var asked atomic.Int32
	reg.SetHook(func(w http.ResponseWriter, req *http.Request, _ http.Handler) bool {
		if !strings.Contains(req.URL.Path, "/referrers/") {
			return false
		}
		i := asked.Add(1)
		if i < first || i >= first+n {
			return false
		}
		w.WriteHeader(http.StatusNotFound)
		return true
	})
}

// A repository that had the referrers API is not believed to lack it, however often it says so.
func TestHiddenReferrersAPIIsUnknown(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	subject := image(t, reg, "1")
	known := &notebook{has: map[string]bool{}}
	c := client(t, -1)
	c.Remember(known)
	r := repository(t, c, reg.Host()+"/app")
	pushed(t, r, subject, "us")
	hideAPI(reg, 1, 1000)
	later := client(t, -1)
	later.Remember(known)
	r = repository(t, later, reg.Host()+"/app")
	for range 2 {
		if list, _, err := r.Signatures(t.Context(), subject); failure.Of(err) != failure.Permanent || len(list) != 0 || !strings.Contains(err.Error(), "--force-referrers-tag") {
			t.Errorf("got %v, %v, want an error that names --force-referrers-tag", list, err)
		}
	}
	if err := sign(t, subject, "again").push(t.Context(), r, subject); err == nil {
		t.Error("a push without knowing the list: got no error, want one")
	}
	if api, err := r.HasReferrers(t.Context(), ""); err == nil {
		t.Errorf("doctor: got %v, want an error", api)
	}
	reg.SetHook(nil)
	if list, _, err := r.Signatures(t.Context(), subject); err != nil || len(list) != 1 {
		t.Errorf("when it is back: got %v, %v, want one", list, err)
	}
}

// If another repository of the host has shown the referrers API, its absence is believed only
// after one more request. It is believed then, as a host may route to several registries.
func TestHostThatHasTheAPIIsAskedOnceMore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		shown string // host/path of the repository that has shown it: H is the host
		now   bool   // in this process, not in an earlier one
		lies  int32
		want  bool
	}{
		"in this process":           {"H/other", true, 2, true},
		"in an earlier one":         {"H/other", false, 2, true},
		"and it says so to the end": {"H/other", true, 3, false},
		"another host":              {"H0/other", false, 2, false},
		"no repository":             {"", false, 2, false},
	} {
		reg := start(t, registrytest.Options{Referrers: true})
		shown := strings.Replace(c.shown, "H", strings.ToUpper(reg.Host()), 1)
		known := &notebook{has: map[string]bool{}}
		cl := client(t, -1)
		cl.Remember(known)
		if c.now {
			if api, err := repository(t, cl, shown).HasReferrers(t.Context(), ""); err != nil || !api {
				t.Fatalf("%s: got %v, %v, want the API", name, api, err)
			}
		} else if shown != "" {
			known.has[strings.ToLower(shown)] = true
		}
		hideAPI(reg, 1, c.lies)
		api, err := repository(t, cl, reg.Host()+"/app").HasReferrers(t.Context(), "")
		if err != nil || api != c.want {
			t.Errorf("%s: got %v, %v, want %v", name, api, err, c.want)
		}
	}
}

// One more request is made even if the other repository shows the API only after this one was
// asked.
func TestHostThatShowsTheAPILaterIsAskedOnceMore(t *testing.T) {
	t.Parallel()
	for lies, moved := range map[int32]bool{2: true, 3: true, 4: true, 5: true, 1000: false} {
		reg := start(t, registrytest.Options{Referrers: true})
		subject := image(t, reg, "1")
		c := client(t, -1)
		r := repository(t, c, reg.Host()+"/app")
		var asked atomic.Int32
		reg.SetHook(func(w http.ResponseWriter, req *http.Request, _ http.Handler) bool {
			hit := strings.Contains(req.URL.Path, "/app/referrers/") && asked.Add(1) <= lies
			if hit {
				w.WriteHeader(http.StatusNotFound)
			}
			return hit
		})
		_, inTag, err := r.Signatures(t.Context(), subject)
		if err != nil || !inTag {
			t.Fatalf("got in tag %t, %v, want a list in a tag", inTag, err)
		}
		if api, err := repository(t, c, reg.Host()+"/other").HasReferrers(t.Context(), ""); err != nil || !api {
			t.Fatalf("the other: got %t, %v, want the API", api, err)
		}
		for range 2 {
			if err := r.CheckList(t.Context(), subject, inTag); errors.Is(err, ErrListMoved) != moved || !moved && err != nil {
				t.Errorf("after %d lies: got %v, want it moved: %t", lies, err, moved)
			}
		}
		if n := asked.Load(); lies == 1000 && n != 2+3+2 {
			t.Errorf("got %d requests, want 2, then 3 once, and 1 each time", n)
		}
	}
}

// After another image has shown the API, nothing is pushed beside a list that was looked up in a
// tag. A 404 where the API was a moment ago leaves it unknown.
func TestPushRestsOnTheListThatWasLookedAt(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	one, two := image(t, reg, "1"), image(t, reg, "2")
	hideAPI(reg, 1, 2)
	r := open(t, reg.Host()+"/app", -1)
	_, inTag, err := r.Signatures(t.Context(), one)
	if err != nil || !inTag {
		t.Fatalf("got in tag %t, %v, want a list in a tag", inTag, err)
	}
	if err := r.CheckList(t.Context(), two, true); !errors.Is(err, ErrListMoved) {
		t.Fatalf("another image: got %v, want %v", err, ErrListMoved)
	}
	s := sign(t, one, "us")
	if _, err := r.PushSignature(t.Context(), one, jws, s.envelope, s.manifest, inTag); !errors.Is(err, ErrListMoved) || failure.Of(err) != failure.Transient || len(listed(t, reg, one)) != 0 {
		t.Errorf("got %v, %d listed, want %v, and none", err, len(listed(t, reg, one)), ErrListMoved)
	}
	if _, err := r.PushSignature(t.Context(), one, jws, s.envelope, s.manifest, false); err != nil || len(listed(t, reg, one)) != 1 {
		t.Errorf("after a look by the API: got %v, %d listed, want one", err, len(listed(t, reg, one)))
	}
	hideAPI(reg, 1, 1)
	if list, _, err := r.Signatures(t.Context(), one); !errors.Is(err, errHiddenAPI) {
		t.Errorf("404 for the list: got %v, %v, want %v", list, err, errHiddenAPI)
	}
}

// A server that answers for a while as the API would, but lists nothing to the end, is not
// remembered.
func TestReferrersAPIThatListsNothingIsNotRemembered(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{})
	subject := image(t, reg, "1")
	known := &notebook{has: map[string]bool{}}
	look := func() ([]ocispec.Descriptor, error) {
		c := client(t, -1)
		c.Remember(known)
		list, _, err := repository(t, c, reg.Host()+"/app").Signatures(t.Context(), subject)
		return list, err
	}
	reg.SetHook(func(w http.ResponseWriter, req *http.Request, _ http.Handler) bool {
		if !strings.Contains(req.URL.Path, "/referrers/") {
			return false
		}
		w.Header().Set("Link", "<"+req.URL.Path+`?n=1>; rel="next"`) // pages without end
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_, _ = fmt.Fprint(w, indexOf(t))
		return true
	})
	if list, err := look(); err == nil || len(known.has) != 0 {
		t.Errorf("got %v, %v, remembered %v, want an error and nothing remembered", list, err, known.has)
	}
	c := client(t, -1)
	c.Remember(known)
	r := repository(t, c, reg.Host()+"/app")
	if err := sign(t, subject, "us").push(t.Context(), r, subject); err != nil || len(known.has) != 0 {
		t.Errorf("a push that is answered as without the API: got %v, remembered %v, want no error and nothing remembered", err, known.has)
	}
	reg.SetHook(nil)
	if list, err := look(); err != nil || len(list) != 0 {
		t.Errorf("afterwards: got %v, %v, want none", list, err)
	}
}

// The API is requested again before anything relies on its absence.
func TestReferrersAPIThatComesBackIsUsed(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	subject := image(t, reg, "1")
	ours := pushed(t, open(t, reg.Host()+"/app", -1), subject, "us")
	for name, check := range map[string]func(*Repository) error{
		"before signing": func(r *Repository) error { return r.CheckList(t.Context(), subject, true) },
		"found by another": func(r *Repository) error {
			if err := r.CheckList(t.Context(), image(t, reg, "2"), true); !errors.Is(err, ErrListMoved) {
				t.Errorf("another image: got %v, want %v", err, ErrListMoved)
			}
			return r.CheckList(t.Context(), subject, true)
		},
		"before pushing": func(r *Repository) error { return sign(t, subject, "again").push(t.Context(), r, subject) },
	} {
		hideAPI(reg, 1, 2)
		r := open(t, reg.Host()+"/app", -1)
		if list, _, err := r.Signatures(t.Context(), subject); err != nil || len(list) != 0 {
			t.Fatalf("%s: got %v, %v, want a list that seems empty", name, list, err)
		}
		if err := check(r); failure.Of(err) != failure.Transient {
			t.Errorf("%s: got class %q, want %q: %v", name, failure.Of(err), failure.Transient, err)
		}
		list, _, err := r.Signatures(t.Context(), subject)
		if err != nil || len(list) != 1 || list[0].Digest != ours || !r.ListsInTag() {
			t.Errorf("%s: then got %v, %v, want %s, and to be looked at again before the push", name, list, err, ours)
		}
		if err := r.CheckList(t.Context(), subject, false); err != nil {
			t.Errorf("%s: got %v, want no error", name, err)
		}
	}
	if got := listed(t, reg, subject); len(got) != 1 {
		t.Errorf("got %v listed, want 1", got)
	}
}

// A registry that answers a push as one with the API does has the API, whatever it said before.
func TestPushThatTellsOfTheAPIStopsTheRepository(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	first, second := image(t, reg, "1"), image(t, reg, "2")
	hideAPI(reg, 1, 1000)
	known := &notebook{has: map[string]bool{}}
	c := client(t, -1)
	c.Remember(known)
	r := repository(t, c, reg.Host()+"/app")
	if err := sign(t, first, "us").push(t.Context(), r, first); !errors.Is(err, errHiddenAPI) || failure.Of(err) != failure.Permanent {
		t.Errorf("got %v, want %v", err, errHiddenAPI)
	}
	if err := sign(t, second, "us").push(t.Context(), r, second); !errors.Is(err, errHiddenAPI) {
		t.Errorf("the next image: got %v, want %v", err, errHiddenAPI)
	}
	if _, _, err := r.Signatures(t.Context(), second); !errors.Is(err, errHiddenAPI) {
		t.Errorf("looking: got %v, want %v", err, errHiddenAPI)
	}
	if n := len(reg.Attached("app")); n != 1 || len(reg.Tags("app")) != 2 || !known.has[reg.Host()+"/app"] {
		t.Errorf("got %d images with signatures, tags %v, known %v, want 1, 2 tags, and the repository known", n, reg.Tags("app"), known.has)
	}
	reg.SetHook(nil)
	if err := sign(t, first, "us").push(t.Context(), r, first); err != nil || len(listed(t, reg, first)) != 1 {
		t.Errorf("when it is back: got %v, %v, want one", err, listed(t, reg, first))
	}
}

// Which answers mean that there is no referrers API, and which leave that unknown.
func TestAnswersForTheReferrersAPI(t *testing.T) {
	t.Parallel()
	const list = `{"schemaVersion":2,"manifests":[]}`
	for _, c := range []struct {
		name                  string
		image, zero           int
		imageBody, mediaType  string
		api, unknown, hinting bool
	}{
		{name: "404 for both", image: 404, zero: 404},
		{name: "404 for the image alone", image: 404, zero: 200, mediaType: ocispec.MediaTypeImageIndex, api: true},
		{name: "404 for the image, and the other question refused", image: 404, zero: 400, unknown: true, hinting: true},
		{name: "404 for the image, and trouble with the other", image: 404, zero: 503, unknown: true},
		{name: "the repository is unknown", image: 404, zero: 404, imageBody: `{"errors":[{"code":"NAME_UNKNOWN"}]}`, unknown: true, hinting: true},
		{name: "400", image: 400, zero: 404, unknown: true, hinting: true},
		{name: "405", image: 405, zero: 404, unknown: true, hinting: true},
		{name: "406", image: 406, zero: 404, unknown: true, hinting: true},
		{name: "410", image: 410, zero: 404, unknown: true, hinting: true},
		{name: "415", image: 415, zero: 404, unknown: true, hinting: true},
		{name: "501", image: 501, zero: 404, unknown: true, hinting: true},
		{name: "500", image: 500, zero: 404, unknown: true},
		{name: "an index", image: 200, mediaType: ocispec.MediaTypeImageIndex, api: true},
		{name: "an index in UTF-8", image: 200, mediaType: ocispec.MediaTypeImageIndex + "; charset=utf-8", api: true},
		{name: "without the blank", image: 200, mediaType: ocispec.MediaTypeImageIndex + ";charset=utf-8", api: true},
		{name: "a bare semicolon", image: 200, mediaType: ocispec.MediaTypeImageIndex + ";", api: true},
		{name: "half a parameter", image: 200, mediaType: ocispec.MediaTypeImageIndex + "; charset", api: true},
		{name: "in capitals", image: 200, mediaType: strings.ToUpper(ocispec.MediaTypeImageIndex), api: true},
		{name: "an old Harbor", image: 200, zero: 200, mediaType: "application/json; charset=utf-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			subject := ocispec.Descriptor{MediaType: manifestType, Digest: digest.FromString("image"), Size: 5}
			host := serve(t, func(w http.ResponseWriter, req *http.Request) {
				status, body := http.StatusNotFound, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`
				if strings.Contains(req.URL.Path, "/referrers/") {
					if status, body = c.image, c.imageBody; strings.HasSuffix(req.URL.Path, nothing.String()) {
						status = c.zero
					}
				}
				if status == http.StatusOK {
					w.Header().Set("Content-Type", c.mediaType)
					body = list
				}
				w.WriteHeader(status)
				_, _ = fmt.Fprint(w, body)
			})
			api, err := open(t, host+"/app", -1).HasReferrers(t.Context(), subject.Digest)
			if api != c.api || (err != nil) != c.unknown || err != nil && strings.Contains(err.Error(), "--force-referrers-tag") != c.hinting {
				t.Errorf("got API %v, %v, want %v, unknown %v, the flag named %v", api, err, c.api, c.unknown, c.hinting)
			}
			got, _, err := open(t, host+"/app", -1).Signatures(t.Context(), subject)
			wantErr := c.unknown || c.image == 404 && c.api // the list itself is asked for next
			if (err != nil) != wantErr || len(got) != 0 || failure.Of(err) == failure.Missing {
				t.Errorf("got %v, class %q, %v, want none, an error %v", got, failure.Of(err), err, wantErr)
			}
		})
	}
}

// A new list is made only if the registry itself says that there is none: a proxy's 404 between
// two requests must not hide the signatures of others.
func TestPushKeepsTheListThatAProxyHides(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{})
	r := open(t, reg.Host()+"/app", -1)
	subject := image(t, reg, "1")
	theirs := pushed(t, r, subject, "them")
	reg.SetHook(func(w http.ResponseWriter, req *http.Request, _ http.Handler) bool {
		hit := req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/manifests/sha256-")
		if hit {
			w.WriteHeader(http.StatusNotFound)
		}
		return hit
	})
	s := sign(t, subject, "us")
	if err := s.push(t.Context(), r, subject); err == nil {
		t.Error("a push without knowing the list: got no error, want one")
	}
	reg.SetHook(nil)
	if got := listed(t, reg, subject); got[theirs.String()] != 1 {
		t.Errorf("listed %v, want %s kept", got, theirs)
	}
	if err := s.push(t.Context(), r, subject); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, reg, subject); len(got) != 2 || got[s.desc.Digest.String()] != 1 {
		t.Errorf("listed %v, want both", got)
	}
}

func TestAllPagesAreRead(t *testing.T) {
	t.Parallel()
	subject := ocispec.Descriptor{MediaType: manifestType, Digest: digest.FromString("image"), Size: 5}
	other := entry(9)
	other.ArtifactType = "application/spdx+json"
	r := open(t, serve(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		if req.URL.Query().Get("page") == "" {
			w.Header().Set("Link", "<"+req.URL.Path+`?page=2>; rel="next"`)
			_, _ = fmt.Fprint(w, indexOf(t, entry(1), other))
			return
		}
		_, _ = fmt.Fprint(w, indexOf(t, entry(2), entry(1)))
	})+"/app", -1)
	list, _, err := r.Signatures(t.Context(), subject)
	if err != nil || len(list) != 2 || list[0].Digest != entry(1).Digest || list[1].Digest != entry(2).Digest {
		t.Errorf("got %v, %v, want two entries in order", list, err)
	}
}

// What was planted beside a signature must neither hide it nor pass for one.
func TestPlantedReferrersAreRefusedOneByOne(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	r := open(t, reg.Host()+"/app", -1)
	subject := image(t, reg, "1")
	good := sign(t, subject, "a")
	if err := good.push(t.Context(), r, subject); err != nil {
		t.Fatal(err)
	}
	changed := func(f func(*ocispec.Manifest)) ocispec.Descriptor {
		var m ocispec.Manifest
		if err := json.Unmarshal(good.manifest, &m); err != nil {
			t.Fatal(err)
		}
		f(&m)
		var form any = m
		if m.MediaType == "blobs" { // those of an artifact manifest, in an image manifest
			form = referrer{Config: &m.Config, Layers: []ocispec.Descriptor{}, Blobs: []ocispec.Descriptor{describe(jws, good.envelope)}, Subject: m.Subject}
		}
		data, err := json.Marshal(form)
		if err != nil {
			t.Fatal(err)
		}
		desc, err := reg.PutManifest("app", "", manifestType, data)
		if err != nil {
			t.Fatal(err)
		}
		return desc
	}
	for name, d := range map[string]ocispec.Descriptor{
		"two envelopes":            changed(func(m *ocispec.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) }),
		"no envelope":              changed(func(m *ocispec.Manifest) { m.Layers = []ocispec.Descriptor{} }),
		"an envelope too large":    changed(func(m *ocispec.Manifest) { m.Layers[0].Size = maxEnvelope + 1 }),
		"another size of envelope": changed(func(m *ocispec.Manifest) { m.Layers[0].Size++ }),
		"blobs of another form":    changed(func(m *ocispec.Manifest) { m.Layers = []ocispec.Descriptor{}; m.MediaType = "blobs" }),
		"no image":                 changed(func(m *ocispec.Manifest) { m.Subject = nil }),
		"another artifact type":    changed(func(m *ocispec.Manifest) { m.Config.MediaType = "application/x" }),
		"no digest":                {MediaType: manifestType, Digest: "sha256:../../x", Size: 5},
		"no media type":            {Digest: good.desc.Digest, Size: good.desc.Size},
		"no size":                  {MediaType: manifestType, Digest: good.desc.Digest},
		"another size":             {MediaType: manifestType, Digest: good.desc.Digest, Size: 3},
		"a size too large":         {MediaType: manifestType, Digest: good.desc.Digest, Size: maxManifest + 1},
		"not there":                entry(1),
	} {
		_, envelope, err := r.FetchSignature(t.Context(), d)
		if c := failure.Of(err); envelope != nil || (c != failure.Permanent && c != failure.Security) {
			t.Errorf("%s: got %q, class %q, %v, want no envelope, class %q or %q", name, envelope, c, err, failure.Permanent, failure.Security)
		}
	}
	if _, envelope, err := r.FetchSignature(t.Context(), good.desc); err != nil || string(envelope) != string(good.envelope) {
		t.Errorf("the good one: got %q, %v, want %q", envelope, err, good.envelope)
	}
}

func TestMalformedEntriesDoNotHideOthers(t *testing.T) {
	t.Parallel()
	subject := ocispec.Descriptor{MediaType: manifestType, Digest: digest.FromString("image"), Size: 5}
	broken := ocispec.Descriptor{Digest: "nonsense", Size: -1, ArtifactType: ArtifactType}
	r := open(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_, _ = fmt.Fprint(w, indexOf(t, broken, entry(1)))
	})+"/app", -1)
	list, _, err := r.Signatures(t.Context(), subject)
	if err != nil || len(list) != 2 || list[1].Digest != entry(1).Digest {
		t.Fatalf("got %v, %v, want two, the second %s", list, err, entry(1).Digest)
	}
	if _, _, err := r.FetchSignature(t.Context(), list[0]); failure.Of(err) != failure.Permanent || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v, want class %q without nonsense", err, failure.Permanent)
	}
}

// What a token server answers is not the registry's word: neither that an image is absent, nor that there is no
// referrers API.
func TestTokenServersWordIsNotTheRegistrys(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"a page":       "<html>not found</html>",
		"one code":     `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`,
		"unknown name": `{"errors":[{"code":"NOT_FOUND"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := serve(t, func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/token" {
					w.WriteHeader(http.StatusNotFound)
					_, _ = io.WriteString(w, body)
					return
				}
				w.Header().Set("Www-Authenticate", `Bearer realm="http://`+req.Host+`/token",service="s"`)
				w.WriteHeader(http.StatusUnauthorized)
			})
			r := open(t, host+"/app", -1)
			if there, err := r.HasReferrers(t.Context(), ""); err == nil {
				t.Errorf("the referrers API: got %t, want an error", there)
			}
			if tag := r.ResolveTag(t.Context(), "1"); tag.Err() == nil {
				t.Errorf("a tag: got %v, want unknown", tag)
			}
			if pull := r.CanPull(t.Context(), ""); pull.Err() == nil {
				t.Errorf("whether it can be read: got %v, want unknown", pull)
			}
		})
	}
}

// A token server that takes no POST, with which identity tokens are sent, is no registry that accepts no pushes.
func TestTokenServerThatTakesNoPostIsNoReadOnlyRegistry(t *testing.T) {
	t.Parallel()
	host := serve(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Www-Authenticate", `Bearer realm="http://`+req.Host+`/token",service="s"`)
		w.WriteHeader(map[bool]int{true: http.StatusMethodNotAllowed, false: http.StatusUnauthorized}[req.URL.Path == "/token"])
	})
	r := open(t, host+"/app", -1, func(o *Options) {
		o.Client.Credential = func(context.Context, string) (auth.Credential, error) {
			return auth.Credential{RefreshToken: "identity"}, nil
		}
	})
	if err := r.ResolveTag(t.Context(), "1").Err(); err == nil || strings.Contains(err.Error(), "read-only") {
		t.Errorf("got %v, want an error that does not call the registry read-only", err)
	}
}
