package transport

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"oras.land/oras-go/v2/registry/remote/auth"
)

// tokens is a registry whose token server has another name, though it is the same machine here.
func tokens(t *testing.T, w *witness, realm func(tokenServer string) string) *httptest.Server {
	t.Helper()
	issuer := w.server(t, "token server", func(rw http.ResponseWriter, r *http.Request) {
		if _, pass, ok := r.BasicAuth(); !ok || pass != canary {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(rw, `{"token":"for %s"}`, r.URL.Query().Get("scope"))
	})
	return w.server(t, "registry", func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer for repository:a:pull" {
			rw.Header().Set("Www-Authenticate", realm(issuer.URL))
			rw.WriteHeader(http.StatusUnauthorized)
		}
	})
}

func ask(t *testing.T, reg *httptest.Server, tokenHosts ...string) (int, error) {
	t.Helper()
	c := Client(mustNew(t, Options{Retries: -1}), func(context.Context, string) (auth.Credential, error) {
		return auth.Credential{Username: "me", Password: canary}, nil
	}, tokenHosts...)
	resp, err := c.Do(request(t, t.Context(), "GET", reg.URL+"/v2/a", ""))
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	return resp.StatusCode, nil
}

// named gives the token server's address another name than the registry's 127.0.0.1.
func named(address string) string { return strings.Replace(address, "127.0.0.1", "localhost", 1) }

// Credentials go to a token server elsewhere only if the user has named it, and then also to a
// private one.
func TestTokenServersElsewhereHaveToBeAllowed(t *testing.T) {
	t.Parallel()
	challenge := func(issuer string) string {
		return `Bearer realm="` + named(issuer) + `/token?account=x",service="s",scope="repository:a:pull"`
	}
	w := &witness{seen: map[string]string{}}
	reg := tokens(t, w, challenge)
	_, err := ask(t, reg)
	var realm *RealmError
	if !errors.As(err, &realm) || !strings.Contains(Hint(err), "--token-host") || !strings.HasPrefix(realm.Realm, "localhost:") {
		t.Errorf("got %v, want a realm at localhost and a hint that names the flag", err)
	}
	if w.seen["token server"] != "" {
		t.Errorf("the token server: got %s, want nothing", w.seen["token server"])
	}
	if status, err := ask(t, reg, "other.example", "LOCALHOST"); status != http.StatusOK || err != nil {
		t.Errorf("allowed: got %d, %v, want 200", status, err)
	}
	if !strings.HasPrefix(w.seen["token server"], "/token?account=x&") || strings.Contains(w.seen["registry"], "Basic ") || strings.Contains(w.seen["registry"], realmPath) {
		t.Errorf("got %v, want the account at the token server and no password at the registry", w.seen)
	}
}

// The registry's own host may issue tokens at another port without being named.
func TestTokenServerOnTheRegistrysHostIsItsOwn(t *testing.T) {
	t.Parallel()
	w := &witness{seen: map[string]string{}}
	reg := tokens(t, w, func(issuer string) string {
		return `bearer realm="` + issuer + `/token", scope="repository:a:pull" , service=s`
	})
	if status, err := ask(t, reg); status != http.StatusOK || err != nil {
		t.Errorf("got %d, %v, want 200", status, err)
	}
}

// Whatever a challenge looks like, it sends no credential anywhere.
func TestHostileChallengesSendNothing(t *testing.T) {
	t.Parallel()
	for name, challenge := range map[string]func(issuer string) string{
		"another host": func(issuer string) string { return `Bearer realm="` + named(issuer) + `"` },
		"a user in it": func(issuer string) string { return `Bearer realm="` + strings.Replace(issuer, "//", "//x@", 1) + `"` },
		"twice":        func(issuer string) string { return `Bearer realm="` + named(issuer) + `",realm="http://127.0.0.1:1/"` },
		"in two cases": func(issuer string) string { return `Bearer REALM="http://127.0.0.1:1/",realm="` + named(issuer) + `"` },
		"unquoted":     func(issuer string) string { return `Bearer realm=` + named(issuer) + `/x` },
		"escaped": func(issuer string) string {
			return `Bearer realm="` + strings.Replace(named(issuer), "l", `\x6c`, 1) + `"`
		},
		"after a broken one":   func(issuer string) string { return `Bearer x="\q",realm="` + named(issuer) + `"` },
		"no address":           func(string) string { return `Bearer realm="/token"` },
		"none":                 func(string) string { return `Bearer service="s"` },
		"another scheme first": func(issuer string) string { return `Negotiate, Bearer realm="` + named(issuer) + `"` },
	} {
		w := &witness{seen: map[string]string{}}
		reg := tokens(t, w, challenge)
		if status, err := ask(t, reg); err == nil && status == http.StatusOK {
			t.Errorf("%s: got %d, want a refusal", name, status)
		}
		if w.seen["token server"] != "" {
			t.Errorf("%s: the token server: got %s, want nothing", name, w.seen["token server"])
		}
	}
}

// Of several challenges, in one header or in two, the one that can be answered is answered. If
// none can, the error names the schemes.
func TestTheChallengeThatCanBeAnsweredIs(t *testing.T) {
	t.Parallel()
	server, err := url.Parse("https://registry.example.com/v2/")
	if err != nil {
		t.Fatal(err)
	}
	const bearer = `Bearer realm="https://registry.example.com/token",service="s",scope="a:b:pull,push"`
	for _, c := range []struct {
		headers []string
		want    string // empty with says: an error
		says    string
	}{
		{nil, "", ""},
		{[]string{""}, "", ""},
		{[]string{bearer}, bearer, ""},
		{[]string{"Negotiate", bearer}, bearer, ""},
		{[]string{"Negotiate", `Basic realm="r"`, bearer}, bearer, ""},
		{[]string{bearer, `Basic realm="r"`}, bearer, ""},
		{[]string{"Negotiate, " + bearer}, bearer, ""},
		{[]string{`Negotiate YIIJvwYGKw==, Basic realm="r", ` + bearer}, bearer, ""},
		{[]string{`Basic realm="r", charset="UTF-8", ` + bearer}, bearer, ""},
		{[]string{bearer + `, Basic realm="r"`}, bearer, ""},
		{[]string{bearer + `, Negotiate`}, bearer, ""},
		{[]string{`Basic realm="a, Bearer realm=b", NTLM`}, `Basic realm="a, Bearer realm=b"`, ""},
		{[]string{`NTLM, basic realm = "r"`}, `Basic realm="r"`, ""},
		{[]string{`Bearer realm="https://registry.example.com/token" service="s"  scope="a:b:pull,push", Basic realm="r"`}, bearer, ""},
		{[]string{`Bearer realm="https://registry.example.com/token"service="s"`}, `Bearer realm="https://registry.example.com/token"`, ""},
		{[]string{"Basic"}, `Basic realm=""`, ""},
		{[]string{`Bearer realm="https://evil.example/token"`, `Basic realm="r"`}, `Basic realm="r"`, ""},
		{[]string{`Bearer realm="https://evil.example/token", ` + bearer}, bearer, ""},
		{[]string{`Bearer realm="https://evil.example/token"`}, "", "--token-host"},
		{[]string{`Bearer realm="http://registry.example.com/token"`, "Negotiate"}, "", "without TLS"},
		{[]string{"Negotiate", "NTLM"}, "", "a login by Negotiate, NTLM"},
		{[]string{"Negotiate oYG2MIGz, Digest realm=\"d\", nonce=\"n\""}, "", "a login by Negotiate, Digest"},
		{[]string{"Ba\x1b[2J"}, "", "a login by Ba"},
	} {
		got, err := (&realms{}).choose(server, c.headers)
		if got != c.want || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error()+Hint(err), c.says) {
			t.Errorf("%q: got %q, %v, want %q, %q", c.headers, got, err, c.want, c.says)
		}
	}
}

// FuzzChallenges: oras-go sees no realms but those that were judged.
func FuzzChallenges(f *testing.F) {
	server, err := url.Parse("https://registry.example.com/v2/")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`Negotiate, Bearer realm="https://evil.example/token", Basic realm="x"`)
	f.Add(`Bearer realm="https://registry.example.com/token", realm="https://evil.example"`)
	f.Fuzz(func(t *testing.T, header string) {
		text, err := (&realms{}).choose(server, []string{header, header})
		if err == nil && strings.HasPrefix(text, "Bearer ") && !strings.HasPrefix(text, `Bearer realm="https://registry.example.com`) {
			t.Errorf("%q: got %q, want no other realm", header, text)
		}
	})
}

// The rule itself, for what cannot be on a loopback address.
func TestRealmsAreJudgedByHost(t *testing.T) {
	t.Parallel()
	r := &realms{trusted: []string{"token.internal"}}
	for _, c := range []struct {
		server, realm string
		ok            bool
	}{
		{"https://registry-1.docker.io/v2/", "https://auth.docker.io/token", true},
		{"https://notary.docker.io/v2/", "https://auth.docker.io/token", true},
		{"https://harbor.example.com:4443/v2/", "https://harbor.example.com/service/token", true},
		{"https://registry.example.com/v2/", "https://auth.docker.io/token", false},
		{"https://registry.example.com/v2/", "https://token.internal/x", true},
		{"https://registry.example.com/v2/", "http://token.internal/x", false},
		{"https://registry.example.com/v2/", "http://registry.example.com/x", false},
		{"http://registry.example.com/v2/", "http://registry.example.com:81/x", true},
		{"https://registry.example.com/v2/", "https://registry.example.com.evil.example/x", false},
		{"https://registry.example.com/v2/", "https://token.internal@evil.example/x", false},
		{"https://registry.example.com/v2/", "ftp://registry.example.com/x", false},
	} {
		server, err := url.Parse(c.server)
		if err != nil {
			t.Fatal(err)
		}
		text, err := r.choose(server, []string{`Bearer realm="` + c.realm + `"`})
		if (err == nil) != c.ok {
			t.Errorf("%s of %s: got %q, %v, want it accepted %v", c.realm, c.server, text, err, c.ok)
		}
	}
}

// The address by which a token server is known here belongs to the registry that named it. No other registry gets its
// credentials sent there, as its own realm or by a redirect.
func TestATokenServerIsKnownOnlyToItsRegistry(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"as a realm": func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Www-Authenticate", `Bearer realm="http://`+r.Host+realmPath+`0",scope="repository:a:pull"`)
			rw.WriteHeader(http.StatusUnauthorized)
		},
		"by a redirect": func(rw http.ResponseWriter, r *http.Request) {
			if _, _, ok := r.BasicAuth(); ok {
				http.Redirect(rw, r, realmPath+"0", http.StatusTemporaryRedirect)
				return
			}
			rw.Header().Set("Www-Authenticate", `Basic realm="r"`)
			rw.WriteHeader(http.StatusUnauthorized)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &witness{seen: map[string]string{}}
			first := tokens(t, w, func(issuer string) string { return `Bearer realm="` + issuer + `/token",scope="repository:a:pull"` })
			second := w.server(t, "second", answer)
			other := strings.TrimPrefix(second.URL, "http://")
			c := Client(mustNew(t, Options{Retries: -1}), func(_ context.Context, host string) (auth.Credential, error) {
				if host == other {
					return auth.Credential{Username: "other", Password: "other's"}, nil
				}
				return auth.Credential{Username: "me", Password: canary}, nil
			})
			for _, server := range []string{first.URL, second.URL} {
				if resp, err := c.Do(request(t, t.Context(), "GET", server+"/v2/a", "")); err == nil {
					_ = resp.Body.Close()
				}
			}
			sent := base64.StdEncoding.EncodeToString([]byte("other:other's"))
			if w.seen["token server"] == "" || strings.Contains(w.seen["token server"], sent) {
				t.Errorf("the first registry's token server: got %s, want only that registry's password", w.seen["token server"])
			}
		})
	}
}
