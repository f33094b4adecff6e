package registrytest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

func TestWrongPasswordIsRefused(t *testing.T) {
	t.Parallel()
	for _, token := range []bool{true, false} {
		r := start(t, registrytest.Options{Token: token, Users: map[string]string{"alice": "secret"}})
		put(t, r, "app", "v1")
		c := client(t, r, "app")
		if _, err := c.Resolve(t.Context(), "v1"); err != nil {
			t.Errorf("tokens %v: right password: got error %v, want none", token, err)
		}
		for _, wrong := range []auth.Credential{{}, {Username: "alice", Password: "guess"}, {Username: "bob", Password: "secret"}} {
			c.Client = &auth.Client{Client: httpClient(t, r), Credential: auth.StaticCredential(r.Host(), wrong)}
			if _, err := c.Resolve(t.Context(), "v1"); err == nil {
				t.Errorf("tokens %v: got let in as %q, want an error", token, wrong.Username)
			}
		}
	}
}

// token asks the realm for scopes, anonymously.
func token(t *testing.T, r *registrytest.Registry, scopes ...string) string {
	t.Helper()
	answer, err := httpClient(t, r).Get(r.URL() + "/token?" + url.Values{"scope": scopes}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got struct{ Token string }
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || got.Token == "" {
		t.Fatalf("got token %q, error %v, want a token", got.Token, err)
	}
	return got.Token
}

func TestTokenIsGoodForItsScopeOnly(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{Token: true})
	put(t, r, "mine", "v1")
	put(t, r, "other", "v1")
	pull := token(t, r, "repository:mine:pull")
	for _, ask := range []struct {
		method, path string
		status       int
		challenge    string
	}{
		{"GET", "/v2/mine/manifests/v1", 200, ""},
		{"GET", "/v2/", 200, ""},
		{"GET", "/v2/other/manifests/v1", 401, `scope="repository:other:pull"`},
		{"POST", "/v2/mine/blobs/uploads/", 401, `scope="repository:mine:pull,push"`},
		{"DELETE", "/v2/mine/manifests/v1", 401, `scope="repository:mine:delete"`},
		{"GET", "/v2/_catalog", 401, `scope="registry:catalog:*"`},
	} {
		got := perform(t, r, ask.method, ask.path, pull)
		if got.StatusCode != ask.status || !strings.Contains(got.Header.Get("WWW-Authenticate"), ask.challenge) {
			t.Errorf("%s %s: got %d, %q, want %d, %q", ask.method, ask.path, got.StatusCode, got.Header.Get("WWW-Authenticate"), ask.status, ask.challenge)
		}
	}
}

func perform(t *testing.T, r *registrytest.Registry, method, path, token string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	answer, err := httpClient(t, r).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer
}

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
		t.Error("got an answer for the client, want an error")
	}
	if got := oracle(t, r, "app", image); len(got) != 1 {
		t.Errorf("got %v listed, want the one signature", got)
	}
	if !slices.ContainsFunc(r.Log(), func(l string) bool { return strings.HasSuffix(l, " aborted") }) {
		t.Errorf("got %v, want an aborted request in it", r.Log())
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
		t.Errorf("with the hook: got status %d, want %d", got.StatusCode, http.StatusTeapot)
	}
	r.SetHook(nil)
	if got := get(t, c, r.URL()+"/v2/"); got.StatusCode != http.StatusOK {
		t.Errorf("after the hook was taken away: got status %d, want %d", got.StatusCode, http.StatusOK)
	}
	if want := []string{"GET /v2/ 418", "GET /v2/ 200"}; !slices.Equal(r.Log(), want) || r.Requests() != 2 {
		t.Errorf("got log %v, %d requests, want %v, 2", r.Log(), r.Requests(), want)
	}
}

func TestDeletesAreRefusedOnDemand(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{RefuseDelete: true})
	image := put(t, r, "app", "v1")
	if err := client(t, r, "app").Delete(t.Context(), image); err == nil {
		t.Error("got it deleted, want an error")
	}
	if _, err := r.Resolve("app", "v1"); err != nil {
		t.Errorf("the image: got error %v, want none", err)
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
		t.Errorf("3 requests: got %v, want at least 90ms", took)
	}
}
