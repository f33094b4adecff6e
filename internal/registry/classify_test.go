package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

// answering makes a handler answer the requests for manifests, of one method or of any.
func answering(reg *registrytest.Registry, method string, with http.HandlerFunc) {
	reg.SetHook(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if method != "" && r.Method != method || !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		with(w, r)
		return true
	})
}

func code(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) }
}

// Only the registry's own word says that an image is gone: a 404 of something in between does not,
// and HEAD alone cannot tell.
func TestMissingIsTheRegistrysOwnWord(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]failure.Class{
		`{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`: failure.Missing,
		`{"errors":[{"code":"NOT_FOUND"}]}`:        failure.Missing,
		`{"errors":[{"code":"NAME_UNKNOWN"}]}`:     failure.Permanent,
		"<html>not found</html>":                   failure.Permanent,
		"":                                         failure.Permanent,
	} {
		reg := start(t, registrytest.Options{Referrers: true})
		d := image(t, reg, "v1").Digest
		answering(reg, "", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(body))
		})
		if _, err := open(t, reg.Host()+"/app", -1).Resolve(t.Context(), d); failure.Of(err) != want {
			t.Errorf("%q: got class %s, want %s: %v", body, failure.Of(err), want, err)
		}
	}
	reg := start(t, registrytest.Options{Referrers: true})
	d := image(t, reg, "v1").Digest
	answering(reg, http.MethodHead, code(http.StatusNotFound))
	if _, err := open(t, reg.Host()+"/app", -1).Resolve(t.Context(), d); err != nil {
		t.Errorf("a registry that knows no HEAD: got %v, want no error", err)
	}
}

// A registry's answer leaves this package with its class.
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
			reg := start(t, registrytest.Options{Referrers: true})
			d := image(t, reg, "v1").Digest
			answering(reg, http.MethodHead, c.with)
			_, err := open(t, reg.Host()+"/app", -1).Resolve(t.Context(), d)
			if failure.Of(err) != c.want {
				t.Errorf("got class %s, want %s: %v", failure.Of(err), c.want, err)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	reg := start(t, registrytest.Options{Referrers: true})
	d := image(t, reg, "v1").Digest
	if _, err := open(t, reg.Host()+"/app", -1).Resolve(ctx, d); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, want %v", err, context.Canceled)
	}
}
