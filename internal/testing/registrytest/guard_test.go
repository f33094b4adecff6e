package registrytest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

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
			t.Errorf("tokens %v: right password: %v", token, err)
		}
		for _, wrong := range []auth.Credential{{}, {Username: "alice", Password: "guess"}, {Username: "bob", Password: "secret"}} {
			c.Client = &auth.Client{Client: httpClient(t, r), Credential: auth.StaticCredential(r.Host(), wrong)}
			if _, err := c.Resolve(t.Context(), "v1"); err == nil {
				t.Errorf("tokens %v: let in as %q", token, wrong.Username)
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
		t.Fatalf("token %q, %v", got.Token, err)
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
			t.Errorf("%s %s: %d, %q", ask.method, ask.path, got.StatusCode, got.Header.Get("WWW-Authenticate"))
		}
	}
}

func TestRevokedTokensAreRefusedAndReplaced(t *testing.T) {
	t.Parallel()
	r := start(t, registrytest.Options{Token: true})
	put(t, r, "app", "v1")
	c, old := client(t, r, "app"), token(t, r, "repository:app:pull")
	for range 2 {
		if _, err := c.Resolve(t.Context(), "v1"); err != nil {
			t.Fatal(err)
		}
		r.RevokeTokens()
	}
	got := perform(t, r, "GET", "/v2/app/manifests/v1", old)
	if got.StatusCode != 401 || !strings.Contains(got.Header.Get("WWW-Authenticate"), "invalid_token") {
		t.Errorf("revoked token: %d, %q", got.StatusCode, got.Header.Get("WWW-Authenticate"))
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
