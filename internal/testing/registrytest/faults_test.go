package registrytest_test

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

// TestLostAnswerKeepsItsEffect is the fault that makes signing twice so easy.
func TestLostAnswerKeepsItsEffect(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{Referrers: true})
	image := put(t, r, "app", "v1")
	var armed atomic.Bool
	armed.Store(true)
	r.SetHook(func(w http.ResponseWriter, req *http.Request, next http.Handler) bool {
		if req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/manifests/") && armed.CompareAndSwap(true, false) {
			registrytest.LoseAnswer(req, next)
		}
		return false
	})
	if _, err := sign(t.Context(), client(t, r, "app"), image, "{}"); err == nil {
		t.Error("the client got an answer")
	}
	if got := oracle(t, r, "app", image); len(got) != 1 {
		t.Errorf("the registry lists %v, want the one signature", got)
	}
	if !slices.ContainsFunc(r.Log(), func(l string) bool { return strings.HasSuffix(l, " aborted") }) {
		t.Errorf("no aborted request in %v", r.Log())
	}
}

func TestHookAnswersInsteadOfTheRegistry(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{})
	c := httpClient(t, r)
	r.SetHook(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		w.WriteHeader(http.StatusTeapot)
		return true
	})
	if got := get(t, c, r.URL()+"/v2/"); got.StatusCode != http.StatusTeapot {
		t.Errorf("status %d with the hook", got.StatusCode)
	}
	r.SetHook(nil)
	if got := get(t, c, r.URL()+"/v2/"); got.StatusCode != http.StatusOK {
		t.Errorf("status %d after the hook was taken away", got.StatusCode)
	}
	if want := []string{"GET /v2/ 418", "GET /v2/ 200"}; !slices.Equal(r.Log(), want) || r.Requests() != 2 {
		t.Errorf("log %v, %d requests; want %v", r.Log(), r.Requests(), want)
	}
}

func TestRateAboveTheLimitIsThrottled(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{MaxPerSecond: 2})
	c := httpClient(t, r)
	var throttled *http.Response
	for range 200 { // more than a slow machine could send at 2 per second
		if got := get(t, c, r.URL()+"/v2/"); got.StatusCode == http.StatusTooManyRequests {
			throttled = got
			break
		}
	}
	if throttled == nil || throttled.Header.Get("Retry-After") != "1" {
		t.Errorf("throttled answer: %v", throttled)
	}
}

func TestDeletesAreRefusedOnDemand(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{RefuseDelete: true})
	image := put(t, r, "app", "v1")
	if err := client(t, r, "app").Delete(t.Context(), image); err == nil {
		t.Error("deleted")
	}
	if _, err := r.Resolve("app", "v1"); err != nil {
		t.Errorf("the image is gone: %v", err)
	}
}

func TestLatencyIsAddedToEachRequest(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{Latency: 30 * time.Millisecond})
	c := httpClient(t, r)
	begin := time.Now()
	for range 3 {
		get(t, c, r.URL()+"/v2/")
	}
	if took := time.Since(begin); took < 90*time.Millisecond {
		t.Errorf("3 requests took %v", took)
	}
}
