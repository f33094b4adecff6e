package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/registrytest"
)

func TestSignaturesAreFoundAndFetched(t *testing.T) {
	t.Parallel()
	for _, referrers := range []bool{true, false} {
		t.Run(fmt.Sprintf("referrers API %v", referrers), func(t *testing.T) {
			t.Parallel()
			reg := start(t, registrytest.Options{Referrers: referrers})
			r := open(t, reg.Host()+"/app", -1)
			subject := image(t, reg, "1")
			if list, err := r.Signatures(t.Context(), subject); err != nil || len(list) != 0 {
				t.Fatalf("before: %v, %v", list, err)
			}
			s := sign(t, subject, "a")
			// Another process pushes: the list must not come from a memory.
			if err := s.push(t.Context(), open(t, reg.Host()+"/app", -1), subject); err != nil {
				t.Fatal(err)
			}
			list, err := r.Signatures(t.Context(), subject)
			if err != nil || len(list) != 1 || list[0].Digest != s.desc.Digest || list[0].Annotations["by"] != "a" {
				t.Fatalf("after: %+v, %v", list, err)
			}
			mediaType, envelope, err := r.FetchSignature(t.Context(), list[0])
			if err != nil || mediaType != jws || string(envelope) != string(s.envelope) {
				t.Errorf("fetched %q %q, %v", mediaType, envelope, err)
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
		t.Errorf("requests:\n%s", log)
	}
}

// indexOf is a referrers answer.
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
		class  Class
	}{
		{"server error", answer(500, "", ""), Transient},
		{"busy", answer(429, "", ""), Throttled},
		{"denied", answer(403, "", ""), Auth},
		{"no such repository", answer(404, "", `{"errors":[{"code":"NAME_UNKNOWN"}]}`), Permanent},
		{"no JSON", answer(200, "", "<html>"), Permanent},
		{"cut JSON", answer(200, "", `{"manifests":[`), Transient},
		{"too many", answer(200, "", indexOf(t, many...)), Permanent},
		{"endless pages", answer(200, `</v2/app/referrers/x>; rel="next"`, indexOf(t)), Permanent},
		{"second page missing", func(w http.ResponseWriter, req *http.Request) {
			if strings.HasSuffix(req.URL.Path, "/next") {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			answer(200, `</v2/app/referrers/next>; rel="next"`, indexOf(t, entry(1)))(w, req)
		}, Permanent},
		{"next page on another host", answer(200, `<http://elsewhere.example/v2/app/referrers/x>; rel="next"`, indexOf(t, entry(1))), Permanent},
		{"index under the tag cannot be read", func(w http.ResponseWriter, req *http.Request) {
			w.WriteHeader(map[bool]int{true: 404, false: 502}[strings.Contains(req.URL.Path, "/referrers/")])
		}, Transient},
		{"a web page in place of the API", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprint(w, "<html>log in</html>")
		}, Permanent},
		{"no content", answer(204, "", ""), Permanent},
		{"a proxy's 404 for the tag", underTag(404, "text/html", "<html>"), Permanent},
		{"the tag's repository is unknown", underTag(404, "application/json", `{"errors":[{"code":"NAME_UNKNOWN"}]}`), Permanent},
		{"a web page under the tag", underTag(200, "text/html", "<html>log in</html>"), Permanent},
		{"an image under the tag", underTag(200, manifestType, `{"schemaVersion":2}`), Permanent},
		{"a list of another digest under the tag", func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Docker-Content-Digest", digest.FromString("another").String())
			underTag(200, ocispec.MediaTypeImageIndex, indexOf(t))(w, req)
		}, Integrity},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := open(t, serve(t, c.answer)+"/app", -1)
			list, err := r.Signatures(t.Context(), subject)
			if err == nil || list != nil || Classify(err) != c.class {
				t.Errorf("%d listed, class %q, want %q: %v", len(list), Classify(err), c.class, err)
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

// A 404 that passes is not taken for a registry without the referrers API.
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
	list, err := open(t, reg.Host()+"/app", -1).Signatures(t.Context(), subject)
	if err != nil || len(list) != 1 || list[0].Digest != ours {
		t.Errorf("got %v, %v, want %s", list, err, ours)
	}
}

// A new list is made only where the registry itself says that there is none: a proxy's 404
// between two requests must not hide the signatures of others.
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
		t.Error("pushed without knowing the list")
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
	list, err := r.Signatures(t.Context(), subject)
	if err != nil || len(list) != 2 || list[0].Digest != entry(1).Digest || list[1].Digest != entry(2).Digest {
		t.Errorf("got %v, %v", list, err)
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
		data, err := json.Marshal(m)
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
		if c := Classify(err); envelope != nil || (c != Permanent && c != Integrity) {
			t.Errorf("%s: %q, class %q: %v", name, envelope, c, err)
		}
	}
	if _, envelope, err := r.FetchSignature(t.Context(), good.desc); err != nil || string(envelope) != string(good.envelope) {
		t.Errorf("the good one: %v", err)
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
	list, err := r.Signatures(t.Context(), subject)
	if err != nil || len(list) != 2 || list[1].Digest != entry(1).Digest {
		t.Fatalf("got %v, %v", list, err)
	}
	if _, _, err := r.FetchSignature(t.Context(), list[0]); Classify(err) != Permanent || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v", err)
	}
}
