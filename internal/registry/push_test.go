package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
	"github.com/dct2notation/dct2notation/internal/transport"
)

func TestSignatureCostsFewRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		registrytest.Options
		most int64
	}{
		{"with the referrers API", registrytest.Options{Referrers: true}, 2},
		{"without", registrytest.Options{}, 5}, // and whether there is still no API, before a list is made
		{"with it, an upload taking two requests", registrytest.Options{Referrers: true, TwoStepUploads: true}, 3},
		{"without, an upload taking two requests", registrytest.Options{TwoStepUploads: true}, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			reg := start(t, c.Options)
			r := open(t, reg.Host()+"/app", 0)
			first, second := image(t, reg, "1"), image(t, reg, "2")
			if err := sign(t, first, "a").push(t.Context(), r, first); err != nil {
				t.Fatal(err)
			}
			s := sign(t, second, "a")
			before := reg.Requests()
			if err := s.push(t.Context(), r, second); err != nil {
				t.Fatal(err)
			}
			if took := reg.Requests() - before; took > c.most {
				t.Errorf("got %d requests, want at most %d: %q", took, c.most, reg.Log())
			}
			if got := listed(t, reg, second); got[s.desc.Digest.String()] != 1 || len(got) != 1 {
				t.Errorf("listed %v, want %s", got, s.desc.Digest)
			}
		})
	}
}

func TestAllSignersOfAnImageAreListed(t *testing.T) {
	t.Parallel()
	for _, referrers := range []bool{true, false} {
		t.Run(fmt.Sprintf("referrers API %v", referrers), func(t *testing.T) {
			t.Parallel()
			reg := start(t, registrytest.Options{Referrers: referrers, RefuseDelete: true, Latency: time.Millisecond})
			r := open(t, reg.Host()+"/app", 0)
			subject := image(t, reg, "1")
			var g errgroup.Group
			for i := range 8 {
				s := sign(t, subject, fmt.Sprint(i))
				g.Go(func() error { return s.push(context.Background(), r, subject) })
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			if got := listed(t, reg, subject); len(got) != 8 {
				t.Errorf("got %d listed, want 8", len(got))
			}
			if list, _, err := r.Signatures(t.Context(), subject); err != nil || len(list) != 8 {
				t.Errorf("we list: got %d, %v, want 8", len(list), err)
			}
			if n := len(r.subjects.locks); n != 0 {
				t.Errorf("got %d locks left, want none", n)
			}
		})
	}
}

// The registry stores what it got, and the connection breaks before it says so, at each request of
// a push in turn. Whatever happened, pushing the same bytes again gives one signature.
func TestReplayListsOnce(t *testing.T) {
	t.Parallel()
	for kind := range 4 {
		o := registrytest.Options{Referrers: kind%2 == 0, TwoStepUploads: kind > 1}
		for lost := range 10 {
			t.Run(fmt.Sprintf("referrers API %v, uploads in two steps %v, answer %d lost", o.Referrers, o.TwoStepUploads, lost), func(t *testing.T) {
				t.Parallel()
				reg := start(t, o)
				subject := image(t, reg, "1")
				s := sign(t, subject, "a")
				var n atomic.Int32
				reg.SetHook(func(w http.ResponseWriter, req *http.Request, next http.Handler) bool {
					if int(n.Add(1))-1 == lost {
						registrytest.LoseAnswer(req, next)
					}
					return false
				})
				first := s.push(t.Context(), open(t, reg.Host()+"/app", -1), subject)
				if first != nil && failure.Of(first) != failure.Transient {
					t.Errorf("got %v, class %s, want class %s", first, failure.Of(first), failure.Transient)
				}
				reg.SetHook(nil)
				if err := s.push(t.Context(), open(t, reg.Host()+"/app", -1), subject); err != nil {
					t.Fatal(err)
				}
				if got := listed(t, reg, subject); len(got) != 1 || got[s.desc.Digest.String()] != 1 {
					t.Errorf("got %v listed, want %s once", got, s.desc.Digest)
				}
			})
		}
	}
}

// Transport repeats the PUT that ends an upload, whose session is gone by then.
func TestUploadWhoseAnswerIsLostSucceeds(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true, TwoStepUploads: true})
	subject := image(t, reg, "1")
	s := sign(t, subject, "a")
	var ends atomic.Int32
	reg.SetHook(func(w http.ResponseWriter, req *http.Request, next http.Handler) bool {
		if req.Method != http.MethodPut || !strings.Contains(req.URL.Path, "/blobs/") {
			return false
		}
		switch ends.Add(1) {
		case 1:
			return false // the config
		case 2:
			registrytest.LoseAnswer(req, next)
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, `{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}`)
		return true
	})
	if err := s.push(t.Context(), open(t, reg.Host()+"/app", 1), subject); err != nil {
		t.Fatalf("got %v, want no error\n%s", err, strings.Join(reg.Log(), "\n"))
	}
	if got := listed(t, reg, subject); len(got) != 1 {
		t.Errorf("got %v listed, want 1", got)
	}
}

func TestCollectedConfigIsPushedAgain(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	r := open(t, reg.Host()+"/app", -1)
	subject := image(t, reg, "1")
	if err := sign(t, subject, "a").push(t.Context(), r, subject); err != nil {
		t.Fatal(err)
	}
	reg.SetHook(func(w http.ResponseWriter, req *http.Request, next http.Handler) bool {
		if req.Method != http.MethodPut || !strings.Contains(req.URL.Path, "/manifests/") {
			return false
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"gone"}]}`)
		return true
	})
	if err := sign(t, subject, "b").push(t.Context(), r, subject); failure.Of(err) != failure.Transient {
		t.Fatalf("got %v, want class %s", err, failure.Transient)
	}
	reg.SetHook(nil)
	before := len(reg.Log())
	if err := sign(t, subject, "b").push(t.Context(), r, subject); err != nil {
		t.Fatal(err)
	}
	if log := reg.Log()[before:]; !slices.ContainsFunc(log, func(l string) bool {
		return strings.HasPrefix(l, "HEAD") && strings.Contains(l, configDescriptor().Digest.Encoded())
	}) {
		t.Errorf("got %q, want a look for the config", log)
	}
}

// What is under the referrers tag and is not a list is neither replaced nor extended, and the tag
// is named.
func TestWhatIsNoListIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ mediaType, content string }{
		{ocispec.MediaTypeImageManifest, `{"schemaVersion":2}`},
		{"application/vnd.docker.distribution.manifest.list.v2+json", `{"schemaVersion":2,"manifests":[]}`},
		{"text/html", "<html>log in</html>"},
		{ocispec.MediaTypeImageIndex, "<html>log in</html>"},
		{ocispec.MediaTypeImageIndex, `{"schemaVersion":2}`},
		{ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":{}}`},
	} {
		reg := start(t, registrytest.Options{})
		subject := image(t, reg, "1")
		s, tag := sign(t, subject, "us"), fallbackTag(subject.Digest)
		var puts atomic.Int32
		reg.SetHook(func(w http.ResponseWriter, req *http.Request, _ http.Handler) bool {
			if !strings.HasSuffix(req.URL.Path, "/manifests/"+tag) {
				return false
			}
			if req.Method == http.MethodPut {
				puts.Add(1)
			}
			manifestAnswer(w, c.mediaType, "", c.content)
			return true
		})
		r := open(t, reg.Host()+"/app", -1, deleting)
		for doing, err := range map[string]error{
			"pushing": s.push(t.Context(), r, subject), "deleting": r.RemoveSignature(t.Context(), subject.Digest, s.desc.Digest),
		} {
			if !errors.Is(err, errNoList) || !strings.Contains(err.Error(), tag) || puts.Load() != 0 {
				t.Errorf("%s, %s under the tag: got %v, stored %d times, want %v, never", doing, c.content, err, puts.Load(), errNoList)
			}
		}
	}
}

func TestWaitingForAnotherPushEndsWithTheContext(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	r := open(t, reg.Host()+"/app", -1)
	subject := image(t, reg, "1")
	unlock, err := r.subjects.lock(t.Context(), subject.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	before := reg.Requests()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := sign(t, subject, "a").push(ctx, r, subject); !errors.Is(err, context.DeadlineExceeded) || reg.Requests() != before {
		t.Errorf("got %v after %d requests, want %v after none", err, reg.Requests()-before, context.DeadlineExceeded)
	}
	unlock()
	if err := sign(t, subject, "a").push(t.Context(), r, subject); err != nil {
		t.Error(err)
	}
}

func TestOneTokenServesAllRequests(t *testing.T) {
	t.Parallel()
	for _, twoSteps := range []bool{false, true} {
		reg := start(t, registrytest.Options{Referrers: true, TwoStepUploads: twoSteps, Token: true, Users: map[string]string{"me": "secret"}})
		r := open(t, reg.Host()+"/app", -1, as("me"))
		subject := image(t, reg, "1")
		if _, err := r.Resolve(t.Context(), subject.Digest); err != nil {
			t.Fatal(err)
		}
		before := reg.Requests() // this included the 401 and a token
		s := sign(t, subject, "a")
		if err := s.push(t.Context(), r, subject); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.FetchSignature(t.Context(), s.desc); err != nil {
			t.Fatal(err)
		}
		if log := reg.Log()[before:]; slices.ContainsFunc(log, func(l string) bool {
			return strings.Contains(l, "token") || strings.HasSuffix(l, " 401")
		}) {
			t.Errorf("got %q, want no second token asked for", log)
		}
	}
}

// Somebody deleted signatures and left their entries in the list. Registries then accept no list
// that has these entries. The next push removes them, and nothing else.
func TestEntriesOfWhatIsGoneDoNotBlockTheNextSignature(t *testing.T) {
	t.Parallel()
	for name, blobUnknown := range map[string]bool{"404": false, "docker-registry's 400": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := start(t, registrytest.Options{})
			r := open(t, reg.Host()+"/app", -1)
			subject := image(t, reg, "1")
			gone, also, theirs := pushed(t, r, subject, "gone"), pushed(t, r, subject, "also"), pushed(t, r, subject, "them")
			for _, d := range []digest.Digest{gone, also} {
				if err := reg.Delete("app", d.String()); err != nil {
					t.Fatal(err)
				}
			}
			var refused atomic.Int32
			reg.SetHook(func(w http.ResponseWriter, req *http.Request, next http.Handler) bool {
				if req.Method != http.MethodPut || !strings.HasSuffix(req.URL.Path, fallbackTag(subject.Digest)) {
					return false
				}
				answer := httptest.NewRecorder()
				next.ServeHTTP(answer, req)
				status, body := answer.Code, answer.Body.Bytes()
				if status == http.StatusNotFound {
					refused.Add(1)
					if blobUnknown {
						status, body = http.StatusBadRequest, []byte(`{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}`)
					}
				}
				maps.Copy(w.Header(), answer.Header())
				w.Header().Del("Content-Length")
				w.WriteHeader(status)
				_, _ = w.Write(body)
				return true
			})
			ours := pushed(t, r, subject, "us")
			if refused.Load() != 1 {
				t.Fatalf("got the list refused %d times, want once", refused.Load())
			}
			if got := listed(t, reg, subject); len(got) != 2 || got[ours.String()] != 1 || got[theirs.String()] != 1 {
				t.Errorf("listed %v, want %s and %s", got, ours, theirs)
			}
			if next := pushed(t, r, subject, "next"); refused.Load() != 1 || listed(t, reg, subject)[next.String()] != 1 {
				t.Errorf("the one after: got %d refusals, want 1, and %s listed", refused.Load(), next)
			}
		})
	}
}

// An entry stays listed unless the registry says that it is gone, and the push fails.
func TestEntriesInDoubtStayListed(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{})
	r := open(t, reg.Host()+"/app", -1)
	subject := image(t, reg, "1")
	doubtful, there := pushed(t, r, subject, "doubtful"), pushed(t, r, subject, "them")
	before, err := reg.Manifest("app", fallbackTag(subject.Digest))
	if err != nil {
		t.Fatal(err)
	}
	for name, answer := range map[string]http.HandlerFunc{
		"a proxy's 404":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"an unknown repository": func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, "NAME_UNKNOWN") },
		"a refusal":             func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusForbidden, "DENIED") },
		"trouble":               func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusInternalServerError, "UNKNOWN") },
	} {
		asked := false
		reg.SetHook(func(w http.ResponseWriter, req *http.Request, next http.Handler) bool {
			switch {
			case req.Method == http.MethodPut && strings.HasSuffix(req.URL.Path, fallbackTag(subject.Digest)):
				list, err := io.ReadAll(req.Body)
				if err == nil && !strings.Contains(string(list), doubtful.String()) {
					req.Body = io.NopCloser(bytes.NewReader(list))
					next.ServeHTTP(w, req)
					break
				}
				refuse(w, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
			case strings.HasSuffix(req.URL.Path, doubtful.String()):
				asked = true
				answer(w, req)
			default:
				return false
			}
			return true
		})
		s := sign(t, subject, name)
		if err := s.push(t.Context(), r, subject); err == nil || failure.Of(err) != failure.Transient || !asked {
			t.Errorf("%s: got %v, asked %v, want class %s, asked", name, err, asked, failure.Transient)
		}
		reg.SetHook(nil)
		if after, err := reg.Manifest("app", fallbackTag(subject.Digest)); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: got the list %s, %v, want %s", name, after, err, before)
		}
	}
	if !stored(t, reg, there) {
		t.Error("got a signature deleted, want it kept")
	}
}

func TestPushKeepsItsCause(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	subject := image(t, reg, "1")
	for _, c := range []struct {
		status int
		body   string
		class  failure.Class
		text   string
	}{
		{429, `{"errors":[{"code":"TOOMANYREQUESTS"}]}`, failure.Throttled, "429"},
		{403, `{"errors":[{"code":"DENIED","message":"no\u001b[2J push"}]}`, failure.Denied, `no\x1b[2J push`},
		{412, `{"errors":[{"code":"PROJECTPOLICYVIOLATION"}]}`, failure.Denied, "\nhint: a policy of the project"},
		{507, `full`, failure.Full, "507"},
		{400, `{"errors":[{"code":"MANIFEST_INVALID"}]}`, failure.Permanent, "manifest invalid"},
	} {
		reg.SetHook(func(w http.ResponseWriter, req *http.Request, next http.Handler) bool {
			if req.Method != http.MethodPost {
				return false
			}
			w.WriteHeader(c.status)
			_, _ = fmt.Fprint(w, c.body)
			return true
		})
		err := sign(t, subject, "a").push(t.Context(), open(t, reg.Host()+"/app", -1), subject)
		var answer *errcode.ErrorResponse
		if !errors.As(err, &answer) || answer.StatusCode != c.status || failure.Of(err) != c.class || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%d: got class %s, %q, want %s with %q", c.status, failure.Of(err), err, c.class, c.text)
		}
	}
}

// Immutable tags are the fault neither of the signer nor of a policy for images.
func TestImmutableTagsAreNamed(t *testing.T) {
	t.Parallel()
	for status, body := range map[int]string{
		412: `{"errors":[{"code":"PRECONDITION","message":"Failed to process request due to 'sha256-1' configured as immutable."}]}`,
		400: `{"errors":[{"code":"TAG_INVALID","message":"The image tag 'sha256-1' already exists in the 'app' repository and cannot be overwritten because the tag is immutable."}]}`,
	} {
		reg := start(t, registrytest.Options{})
		subject := image(t, reg, "1")
		reg.SetHook(func(w http.ResponseWriter, req *http.Request, _ http.Handler) bool {
			hit := req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/manifests/sha256-")
			if hit {
				w.WriteHeader(status)
				_, _ = fmt.Fprint(w, body)
			}
			return hit
		})
		err := sign(t, subject, "a").push(t.Context(), open(t, reg.Host()+"/app", -1), subject)
		if failure.Of(err) != failure.Denied || !strings.Contains(err.Error(), "exempt those that begin with sha256-") || strings.Contains(err.Error(), "content trust") {
			t.Errorf("%d: got class %s, %v, want %s and advice to exempt tags", status, failure.Of(err), err, failure.Denied)
		}
	}
}

// A push never waits for itself, however few requests may be in flight. Uploads that are answered
// with a few words once did, as soon as that many were in progress.
func TestPushesNeedOneRequestAtATime(t *testing.T) {
	t.Parallel()
	for _, two := range []bool{false, true} {
		reg := start(t, registrytest.Options{TwoStepUploads: two})
		reg.SetHook(func(w http.ResponseWriter, req *http.Request, next http.Handler) bool {
			if req.Method == http.MethodGet || req.Method == http.MethodHead {
				return false
			}
			next.ServeHTTP(w, req)
			_, _ = io.WriteString(w, "accepted") // after what it may have written
			return true
		})
		rt, err := transport.New(transport.Options{Limits: func(string) transport.Limit { return transport.Limit{InFlight: 1} }})
		if err != nil {
			t.Fatal(err)
		}
		r := open(t, reg.Host()+"/app", 0, func(o *Options) { o.Client = transport.Client(rt, nil) })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var all errgroup.Group
		for i := range 4 {
			subject := image(t, reg, fmt.Sprint(i))
			s := sign(t, subject, "a")
			all.Go(func() error { return s.push(ctx, r, subject) })
		}
		if err := all.Wait(); err != nil {
			t.Errorf("uploads in two requests %t: got error %v, want none", two, err)
		}
	}
}

// Only an answer of a registry with the referrers API that names the image, once, means that it is
// listed.
func TestPushIsToldOfItsSubject(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		referrers bool
		answers   func(h http.Header, subject string)
		want      bool
	}{
		"named":         {true, nil, true},
		"not named":     {true, func(h http.Header, _ string) { h.Del(ociSubject) }, false},
		"another image": {true, func(h http.Header, _ string) { h.Set(ociSubject, digest.FromString("other").String()) }, false},
		"named twice":   {true, func(h http.Header, subject string) { h.Add(ociSubject, subject) }, false},
		"without API":   {false, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := start(t, registrytest.Options{Referrers: c.referrers})
			subject := image(t, reg, "1")
			reg.SetHook(func(w http.ResponseWriter, req *http.Request, next http.Handler) bool {
				if req.Method != http.MethodPut || c.answers == nil {
					return false
				}
				next.ServeHTTP(rewriting{w, func(h http.Header) { c.answers(h, subject.Digest.String()) }}, req)
				return true
			})
			s := sign(t, subject, "a")
			told, err := open(t, reg.Host()+"/app", 0).PushSignature(t.Context(), subject, jws, s.envelope, s.manifest, !c.referrers)
			if told != c.want || err != nil {
				t.Errorf("got told %t, error %v, want %t and none", told, err, c.want)
			}
		})
	}
}

// rewriting changes the header of an answer.
type rewriting struct {
	http.ResponseWriter
	change func(http.Header)
}

func (a rewriting) WriteHeader(status int) {
	a.change(a.Header())
	a.ResponseWriter.WriteHeader(status)
}

func TestPushRefusesWhatDoesNotBelongTogether(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	r := open(t, reg.Host()+"/app", -1)
	one, two := image(t, reg, "1"), image(t, reg, "2")
	s, other := sign(t, one, "a"), sign(t, one, "b")
	before := reg.Requests()
	_, otherType := r.PushSignature(t.Context(), one, "application/cose", s.envelope, s.manifest, false)
	for name, err := range map[string]error{
		"another image":    s.push(t.Context(), r, two),
		"another envelope": signature{other.envelope, s.manifest, s.desc}.push(t.Context(), r, one),
		"no manifest":      signature{s.envelope, []byte("{}"), s.desc}.push(t.Context(), r, one),
		"another type":     otherType,
	} {
		if failure.Of(err) != failure.Permanent {
			t.Errorf("%s: got %v, want class %s", name, err, failure.Permanent)
		}
	}
	readOnly := open(t, reg.Host()+"/app", -1, func(o *Options) { o.ReadOnly = true })
	if err := s.push(t.Context(), readOnly, one); !errors.Is(err, errReadOnly) {
		t.Errorf("read-only: got %v, want %v", err, errReadOnly)
	}
	if reg.Requests() != before {
		t.Errorf("got %d requests, want none", reg.Requests()-before)
	}
}

func TestRegistryThatStoresSomethingElseIsIntegrity(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	subject := image(t, reg, "1")
	reg.SetHook(func(w http.ResponseWriter, req *http.Request, next http.Handler) bool {
		if req.Method != http.MethodPut || !strings.Contains(req.URL.Path, "/manifests/") {
			return false
		}
		w.Header().Set("Docker-Content-Digest", subject.Digest.String())
		w.WriteHeader(http.StatusCreated)
		return true
	})
	err := sign(t, subject, "a").push(t.Context(), open(t, reg.Host()+"/app", -1), subject)
	if !errors.Is(err, ErrIntegrity) || failure.Of(err) != failure.Security {
		t.Errorf("got %v, want %v", err, ErrIntegrity)
	}
}

// What a registry redirects a push to does not confirm it: the registry's own list may be another, and a redirect
// that turns the push into a GET has stored nothing.
func TestPushThatIsRedirectedIsNotConfirmed(t *testing.T) {
	t.Parallel()
	for status, stored := range map[int]bool{
		http.StatusFound: false, http.StatusSeeOther: false, http.StatusTemporaryRedirect: true, http.StatusPermanentRedirect: true,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			reg := start(t, registrytest.Options{Referrers: true})
			subject := image(t, reg, "1")
			elsewhere := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set(ociSubject, subject.Digest.String())
				w.WriteHeader(http.StatusCreated)
			})
			reg.SetHook(func(w http.ResponseWriter, req *http.Request, _ http.Handler) bool {
				if req.Method != http.MethodPut || !strings.Contains(req.URL.Path, "/manifests/") {
					return false
				}
				http.Redirect(w, req, "http://"+elsewhere+req.URL.Path, status)
				return true
			})
			s := sign(t, subject, "a")
			told, err := open(t, reg.Host()+"/app", 0).PushSignature(t.Context(), subject, jws, s.envelope, s.manifest, false)
			if told || (err == nil) != stored {
				t.Errorf("got told %t, error %v, want not told, and no error %t", told, err, stored)
			}
		})
	}
}
