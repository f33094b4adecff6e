package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/dct2notation/dct2notation/internal/registrytest"
)

func TestSignatureCostsFewRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		referrers bool
		most      int64
	}{{"with the referrers API", true, 3}, {"without", false, 5}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			reg := start(t, registrytest.Options{Referrers: c.referrers})
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
				t.Errorf("%d requests, want at most %d: %q", took, c.most, reg.Log())
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
				t.Errorf("%d of 8 are listed", len(got))
			}
			if list, err := r.Signatures(t.Context(), subject); err != nil || len(list) != 8 {
				t.Errorf("we list %d, %v", len(list), err)
			}
			if n := len(r.subjects.locks); n != 0 {
				t.Errorf("%d locks are left", n)
			}
		})
	}
}

// The registry stores what it got and the connection breaks before it says so, at each
// request of a push in turn. Whatever happened, the same bytes again give one signature.
func TestReplayListsOnce(t *testing.T) {
	t.Parallel()
	for _, referrers := range []bool{true, false} {
		for lost := range 9 {
			t.Run(fmt.Sprintf("referrers API %v, answer %d lost", referrers, lost), func(t *testing.T) {
				t.Parallel()
				reg := start(t, registrytest.Options{Referrers: referrers})
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
				if first != nil && Classify(first) != Transient {
					t.Errorf("%v is classed %s", first, Classify(first))
				}
				reg.SetHook(nil)
				if err := s.push(t.Context(), open(t, reg.Host()+"/app", -1), subject); err != nil {
					t.Fatal(err)
				}
				if got := listed(t, reg, subject); len(got) != 1 || got[s.desc.Digest.String()] != 1 {
					t.Errorf("listed %v", got)
				}
			})
		}
	}
}

// Transport repeats the PUT that ends an upload; the session is gone by then.
func TestUploadWhoseAnswerIsLostSucceeds(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	subject := image(t, reg, "1")
	s := sign(t, subject, "a")
	var once sync.Once
	reg.SetHook(func(w http.ResponseWriter, req *http.Request, next http.Handler) bool {
		if req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/blobs/") {
			lose := false
			once.Do(func() { lose = true })
			if lose {
				registrytest.LoseAnswer(req, next)
			}
		}
		return false
	})
	if err := s.push(t.Context(), open(t, reg.Host()+"/app", 1), subject); err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(reg.Log(), "\n"))
	}
	if got := listed(t, reg, subject); len(got) != 1 {
		t.Errorf("listed %v", got)
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
	if err := sign(t, subject, "b").push(t.Context(), r, subject); Classify(err) != Transient {
		t.Fatalf("got %v", err)
	}
	reg.SetHook(nil)
	before := len(reg.Log())
	if err := sign(t, subject, "b").push(t.Context(), r, subject); err != nil {
		t.Fatal(err)
	}
	if log := reg.Log()[before:]; !slices.ContainsFunc(log, func(l string) bool {
		return strings.HasPrefix(l, "HEAD") && strings.Contains(l, configDescriptor().Digest.Encoded())
	}) {
		t.Errorf("the config was not looked for: %q", log)
	}
}

func TestPushKeepsItsCause(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	subject := image(t, reg, "1")
	for _, c := range []struct {
		status int
		body   string
		class  Class
		text   string
	}{
		{429, `{"errors":[{"code":"TOOMANYREQUESTS"}]}`, Throttled, "429"},
		{403, `{"errors":[{"code":"DENIED","message":"no\u001b[2J push"}]}`, Auth, `no\x1b[2J push`},
		{412, `{"errors":[{"code":"PROJECTPOLICYVIOLATION"}]}`, Auth, "\nhint: a policy of the project"},
		{507, `full`, Transient, "507"},
		{400, `{"errors":[{"code":"MANIFEST_INVALID"}]}`, Permanent, "manifest invalid"},
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
		if !errors.As(err, &answer) || answer.StatusCode != c.status || Classify(err) != c.class || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%d: class %s, want %s: %q", c.status, Classify(err), c.class, err)
		}
	}
}

func TestPushRefusesWhatDoesNotBelongTogether(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	r := open(t, reg.Host()+"/app", -1)
	one, two := image(t, reg, "1"), image(t, reg, "2")
	s, other := sign(t, one, "a"), sign(t, one, "b")
	before := reg.Requests()
	for name, err := range map[string]error{
		"another image":    s.push(t.Context(), r, two),
		"another envelope": signature{other.envelope, s.manifest, s.desc}.push(t.Context(), r, one),
		"no manifest":      signature{s.envelope, []byte("{}"), s.desc}.push(t.Context(), r, one),
		"another type":     r.PushSignature(t.Context(), one, "application/cose", s.envelope, s.manifest),
	} {
		if Classify(err) != Permanent {
			t.Errorf("%s: %v", name, err)
		}
	}
	readOnly := open(t, reg.Host()+"/app", -1, func(o *Options) { o.ReadOnly = true })
	if err := s.push(t.Context(), readOnly, one); !errors.Is(err, errReadOnly) {
		t.Errorf("read-only: %v", err)
	}
	if reg.Requests() != before {
		t.Error("something was sent")
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
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sign(t, subject, "a").push(ctx, r, subject); Classify(err) != Canceled {
		t.Errorf("got %v", err)
	}
	unlock()
	if err := sign(t, subject, "a").push(t.Context(), r, subject); err != nil {
		t.Error(err)
	}
}

func TestOneTokenServesAllRequests(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true, Token: true, Users: map[string]string{"me": "secret"}})
	r := open(t, reg.Host()+"/app", -1, as("me"))
	subject := image(t, reg, "1")
	if _, err := r.Resolve(t.Context(), subject.Digest); err != nil {
		t.Fatal(err)
	}
	before := reg.Requests() // with it came 401 and a token
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
		t.Errorf("a second token was asked for: %q", log)
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
	if !errors.Is(err, ErrIntegrity) || Classify(err) != Integrity {
		t.Errorf("got %v", err)
	}
}
