package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

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
			t.Errorf("%d: class %s, want %s: %q", c.status, failure.Of(err), c.class, err)
		}
	}
}

// Tags that cannot be changed are not the fault of whoever signs, nor of a policy for images.
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
			t.Errorf("%d: class %s: %v", status, failure.Of(err), err)
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
		if failure.Of(err) != failure.Permanent {
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
		t.Errorf("got %v", err)
	}
}
