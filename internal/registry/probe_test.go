package registry

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

func TestProbesLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	users := map[string]string{"deploy": "secret"}
	for name, o := range map[string]registrytest.Options{
		"open": {}, "referrers": {Referrers: true}, "tokens": {Token: true, Users: users, Referrers: true}, "basic": {Users: users},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := start(t, o)
			desc := image(t, reg, "v1")
			r := open(t, reg.Host()+"/app", 0, as("deploy"))
			for of, want := range map[digest.Digest]bool{desc.Digest: true, "": false, digest.FromString("gone"): false} {
				answer := r.CanPull(t.Context(), of)
				if _, there := answer.Value(); answer.Err() != nil || there != want {
					t.Errorf("image %q there: got %t, %v, want %t", of, there, answer.Err(), want)
				}
			}
			left, err := r.CanPush(t.Context())
			if err != nil || left || reg.Uploads() != 0 {
				t.Errorf("got left %t, %d uploads open, %v, want none", left, reg.Uploads(), err)
			}
			for _, of := range []digest.Digest{"", desc.Digest} {
				r := open(t, reg.Host()+"/app", 0, as("deploy"))
				api, err := r.HasReferrers(t.Context(), of)
				if err != nil || api != o.Referrers {
					t.Errorf("referrers API: got %t, %v, want %t", api, err, o.Referrers)
				}
			}
			for _, line := range reg.Log() {
				if strings.HasPrefix(line, "PUT ") || strings.HasPrefix(line, "PATCH ") {
					t.Errorf("got %s, want nothing written", line)
				}
			}
		})
	}
}

// An upload that has begun shows in the count, so that zero means something.
func TestUploadsAreCountedUntilTheyEnd(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{RefuseDelete: true})
	image(t, reg, "v1")
	r := open(t, reg.Host()+"/app", 0)
	left, err := r.CanPush(t.Context())
	if err != nil || !left || reg.Uploads() != 1 {
		t.Errorf("got left %t, %d uploads open, %v, want true, 1", left, reg.Uploads(), err)
	}
}

func TestDeniedPushIsKnownBeforehand(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		reg := start(t, registrytest.Options{})
		image(t, reg, "v1")
		reg.SetHook(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			if r.Method == http.MethodPost {
				w.WriteHeader(status)
			}
			return r.Method == http.MethodPost
		})
		r := open(t, reg.Host()+"/app", 0)
		if err := r.CanPull(t.Context(), "").Err(); err != nil {
			t.Error(err)
		}
		if _, err := r.CanPush(t.Context()); failure.Of(err) != failure.Denied {
			t.Errorf("%d: got class %s, want %s: %v", status, failure.Of(err), failure.Denied, err)
		}
	}
}

func TestMissingRepositoryIsNotPullable(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{})
	if err := open(t, reg.Host()+"/none", 0).CanPull(t.Context(), "").Err(); !errors.Is(err, errNoRepository) || !strings.Contains(err.Error(), "hint: is the name right, or were the images moved") {
		t.Errorf("got %v, want %v with a hint", err, errNoRepository)
	}
}

// An upload that would continue elsewhere is not followed: the credentials would go along.
func TestUploadElsewhereIsNotFollowed(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	elsewhere := serve(t, func(_ http.ResponseWriter, r *http.Request) { asked <- r.Method })
	host := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://"+elsewhere+"/v2/app/blobs/uploads/1?state=secret")
		w.WriteHeader(http.StatusAccepted)
	})
	_, err := open(t, host+"/app", 0).CanPush(t.Context())
	if err == nil || !strings.Contains(err.Error(), "another place") || strings.Contains(err.Error(), "secret") || len(asked) > 0 {
		t.Errorf("got %v, %d requests elsewhere, want an error that says another place, and none", err, len(asked))
	}
}

func TestWebPageIsNoRegistry(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusOK, http.StatusNotFound} {
		host := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<html>log in</html>"))
		})
		r := open(t, host+"/app", 0)
		if err := r.CanPull(t.Context(), "").Err(); !errors.Is(err, ErrNotRegistry) {
			t.Errorf("pull, %d: got %v, want %v", status, err, ErrNotRegistry)
		}
		if _, err := r.CanPush(t.Context()); status == http.StatusOK && !errors.Is(err, ErrNotRegistry) || err == nil {
			t.Errorf("push, %d: got %v, want an error, %v for 200", status, err, ErrNotRegistry)
		}
	}
}

// Bytes other than the requested ones are not an image.
func TestImageWithOtherBytesIsNotReadable(t *testing.T) {
	t.Parallel()
	host := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		manifestAnswer(w, "application/vnd.oci.image.manifest.v1+json", "", "{}")
	})
	if err := open(t, host+"/app", 0).CanPull(t.Context(), digest.FromString("another")).Err(); failure.Of(err) != failure.Security {
		t.Errorf("got class %s, want %s: %v", failure.Of(err), failure.Security, err)
	}
}
