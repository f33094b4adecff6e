package transport

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"oras.land/oras-go/v2/registry/remote/auth"
)

var quiet = log.New(io.Discard, "", 0)

const canary = "canary-5f3c"

func TestErrorsShowNoSecrets(t *testing.T) {
	t.Parallel()
	presigned := "https://bucket.example/blob?X-Amz-Signature=" + canary + "&x='" + canary + "'"
	cause := &url.Error{Op: "Get", URL: presigned, Err: io.ErrUnexpectedEOF}
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"presigned address", cause, `Get "https://bucket.example/blob": unexpected EOF`},
		{"quoted in another error", fmt.Errorf("GET %q: mismatch", presigned), `GET "https://bucket.example/blob": mismatch`},
		{"relative link", errors.New(`invalid next link "/v2/a/tags/list?token=` + canary + `"`), `invalid next link "/v2/a/tags/list"`},
		{"link of a query only", errors.New("link ?token=" + canary), "link "},
		{"password", errors.New("proxy http://me:" + canary + "@proxy:3128/ refused"), "proxy http://proxy:3128/ refused"},
		{"password with an @", errors.New("proxy http://me:x@" + canary + "@proxy:3128/ refused"), "proxy http://proxy:3128/ refused"},
		{"terminal sequences", errors.New("denied\x1b[2J"), `denied\x1b[2J`},
		{"digests and questions stay", errors.New("alpine:3.1@sha256:ab: what now? retry"), "alpine:3.1@sha256:ab: what now? retry"},
	} {
		got := Redact(c.err).Error()
		if got != c.want || strings.Contains(got, canary) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	again := Redact(Redact(fmt.Errorf("reading: %w", cause)))
	var u *url.Error
	if !errors.As(again, &u) || !errors.Is(again, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want an error that keeps its cause", again)
	}
	if Redact(nil) != nil {
		t.Error("nil: got an error, want nil")
	}
}

// If a server repeats the credentials that it was sent, errors do not.
func TestUsedCredentialsAreTakenOutOfErrors(t *testing.T) {
	t.Parallel()
	const password = `pa"ss wo/rd&+` + canary
	token := canary + "-token"
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(rw, "%s %s", r.Header.Get("Authorization"), r.URL.Query().Get("sig"))
	}))
	t.Cleanup(srv.Close)
	said := func(set func(*http.Request), query string) string {
		req := request(t, t.Context(), "GET", srv.URL+"/x"+query, "")
		set(req)
		resp, err := mustNew(t, Options{}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	for _, text := range []string{
		said(func(r *http.Request) { r.SetBasicAuth("me", password) }, ""),
		said(func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }, ""),
		said(func(*http.Request) {}, "?sig="+canary+"-presigned"),
		password, fmt.Sprintf("%q", password), url.QueryEscape(password), url.PathEscape(password),
	} {
		got := RedactText("you sent " + text)
		left := strings.NewReplacer("you sent ", "", "Basic", "", "Bearer", "", hidden, "", `"`, "", " ", "").Replace(got)
		if left != "" {
			t.Errorf("%q: got %q, want no more than what is not secret", text, got)
		}
	}
}

// A long run uses tokens without end: only the last ones are kept, as many as fit.
func TestSecretsOfLongAgoAreForgotten(t *testing.T) {
	t.Parallel()
	var s secrets
	for i := range 10 * generation {
		s.note(fmt.Sprint(canary, i))
		s.note(canary + "-in-use")
	}
	if got := s.hide(fmt.Sprint(canary, 10*generation-1, " ", canary, "-in-use")); got != hidden+" "+hidden {
		t.Errorf("got %q, want %q", got, hidden+" "+hidden)
	}
	if n := len(s.now) + len(s.before); n > 2*generation {
		t.Errorf("got %d kept, want at most %d", n, 2*generation)
	}
}

// A password that was not escaped makes an invalid address, and net/http would ask a host called
// http.
func TestProxyThatIsNoAddressIsRefused(t *testing.T) {
	for value, good := range map[string]bool{
		"": true, "proxy:3128": true, "http://me:" + canary + "@proxy:3128": true, "http://me:" + canary + "%2F@proxy:3128": true,
		"http://me:" + canary + "/@proxy:3128": false, "http://me:" + canary + "#@proxy:3128": false, "http://me:" + canary + "%@proxy:3128": false,
	} {
		t.Setenv("https_proxy", value)
		_, err := New(Options{})
		if good != (err == nil) || err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%q: got %v, want it accepted %v, and no secret told", value, err, good)
		}
	}
}

// witness records what each of several servers was sent.
type witness struct {
	mu   sync.Mutex
	seen map[string]string
}

func (w *witness) server(t *testing.T, name string, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.seen[name] += fmt.Sprintf("%s %v\n", r.URL, r.Header)
		w.mu.Unlock()
		h(rw, r)
	}))
	t.Cleanup(srv.Close)
	return srv
}

func TestCredentialsGoOnlyToTheirHost(t *testing.T) {
	t.Parallel()
	w := &witness{seen: map[string]string{}}
	ask := func(rw http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			rw.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			rw.WriteHeader(http.StatusUnauthorized)
		}
	}
	store := w.server(t, "storage", ask)
	other := w.server(t, "other registry", ask)
	reg := w.server(t, "registry", func(rw http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			ask(rw, r)
			return
		}
		http.Redirect(rw, r, store.URL+"/blob", http.StatusTemporaryRedirect)
	})
	cred, err := Credentials(CredentialOptions{
		ConfigPath: writeConfig(t, `{}`), Username: "me", Password: canary,
		Hosts: []string{strings.TrimPrefix(reg.URL, "http://")},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := Client(mustNew(t, Options{}), cred)
	for _, u := range []string{reg.URL + "/v2/a/blobs/x?" + canary[:6], other.URL + "/v2/"} {
		resp, err := client.Do(request(t, t.Context(), "GET", u, ""))
		if err == nil {
			_ = resp.Body.Close()
		}
	}
	secret := base64.StdEncoding.EncodeToString([]byte("me:" + canary))
	if !strings.Contains(w.seen["registry"], secret) {
		t.Errorf("the registry: got %q, want its credentials", w.seen["registry"])
	}
	for _, name := range []string{"storage", "other registry"} {
		if seen := w.seen[name]; seen == "" || strings.Contains(seen, secret) || strings.Contains(seen, canary[:6]) {
			t.Errorf("%s: got %q, want a request without credentials", name, seen)
		}
	}
}

func TestRedirectsStayOnTLS(t *testing.T) {
	t.Parallel()
	w := &witness{seen: map[string]string{}}
	plain := w.server(t, "plain", func(http.ResponseWriter, *http.Request) {})
	srv := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeServerCA(t, srv, ca)
	client := Client(mustNew(t, Options{CAFile: ca}), nil)
	resp, err := client.Do(request(t, t.Context(), "GET", srv.URL, ""))
	if err == nil {
		_ = resp.Body.Close()
	}
	if err == nil || w.seen["plain"] != "" {
		t.Errorf("followed to http: got %v, want an error and nothing sent", err)
	}
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCredentialsComeFromDockersConfiguration(t *testing.T) {
	t.Parallel()
	entry := func(user string) map[string]string {
		return map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":secret"))}
	}
	text, err := json.Marshal(map[string]any{"auths": map[string]any{
		"https://index.docker.io/v1/": entry("hub"), "r.example:5000": entry("reg"),
		"bad.example": map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(canary))},
	}})
	if err != nil {
		t.Fatal(err)
	}
	path := writeConfig(t, string(text))
	before, _ := os.ReadFile(path)
	cred, err := Credentials(CredentialOptions{ConfigPath: path, Username: "given", Password: "x", Hosts: []string{"mine.example", "docker.io"}})
	if err != nil {
		t.Fatal(err)
	}
	fileOnly, err := Credentials(CredentialOptions{ConfigPath: path})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from       auth.CredentialFunc
		host, user string
	}{
		{cred, "r.example:5000", "reg"}, {cred, "r.example", ""}, {cred, "mine.example", "given"},
		{cred, "registry-1.docker.io", "given"}, {fileOnly, "registry-1.docker.io", "hub"},
		{fileOnly, "mine.example", ""},
	} {
		got, err := c.from(context.Background(), c.host)
		if err != nil || got.Username != c.user {
			t.Errorf("%s: user %q, %v; want %q", c.host, got.Username, err, c.user)
		}
	}
	if _, err := cred(context.Background(), "bad.example"); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("a damaged entry: got %v, want an error without the secret", err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Errorf("the configuration: got %d bytes, want it unchanged with %d", len(after), len(before))
	}
}

// The error says by file, helper and kind of fault why there is no credential, and shows nothing
// of one.
func TestUnusableCredentialsSayWhatIsWrong(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("helpers are shell scripts here")
	}
	helpers := t.TempDir()
	t.Setenv("PATH", helpers+string(os.PathListSeparator)+os.Getenv("PATH"))
	helper := func(name, script string) {
		if err := os.WriteFile(filepath.Join(helpers, "docker-credential-"+name), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	helper("broken", "echo "+canary+"\nexit 3\n")
	helper("leaky", `echo '{"Username":"me","Secret":"`+canary+`"}'`+"\nexit 4\n")
	helper("odd", "echo "+canary+"\n")
	helper("empty", "echo credentials not found in native keychain\nexit 1\n")
	for config, says := range map[string]string{
		`{"credHelpers":{"r.example":"nowhere"}}`:           "docker-credential-nowhere is not installed",
		`{"credsStore":"broken"}`:                           "docker-credential-broken ended with exit code 3",
		`{"credsStore":"leaky"}`:                            "docker-credential-leaky ended with exit code 4",
		`{"credsStore":"odd"}`:                              "the answer of its credential helper docker-credential-odd is no JSON",
		`{"auths":{"r.example":{"auth":"` + canary + `"}}}`: "no base64 of user:password",
		"\xef\xbb\xbf{}":                                    "byte-order mark",
		`{"auths":[]}`:                                      "auths is array",
		`{"credHelpers":{"r.example":1}}`:                   "credHelpers",
		"{\n\"auths\": {},\n\"" + canary + "\": oops}":      "is no JSON: see line 3",
		`{"credsStore":"empty"}`:                            "",
		``:                                                  "",
	} {
		path := writeConfig(t, config)
		find, err := Credentials(CredentialOptions{ConfigPath: path})
		if err == nil {
			_, err = find(context.Background(), "r.example")
		}
		if (err == nil) != (says == "") || err != nil && (!strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), canary)) {
			t.Errorf("%q: got %v, want the file and %q, and no secret", config, err, says)
		}
	}
}

func TestExplicitCredentialsNeedHosts(t *testing.T) {
	t.Parallel()
	path := writeConfig(t, `{}`)
	for _, o := range []CredentialOptions{
		{ConfigPath: path, Username: "me", Password: canary},
		{ConfigPath: path, Username: "me", Hosts: []string{"r.example"}},
		{ConfigPath: path + ".missing"},
		{ConfigPath: writeConfig(t, `{"auths": "`+canary+`"}`)},
	} {
		if _, err := Credentials(o); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%+v: got %v, want an error without the secret", o.Hosts, err)
		}
	}
	token, err := Credentials(CredentialOptions{ConfigPath: path, Password: "identity", Hosts: []string{"r.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := token(context.Background(), "r.example"); err != nil || got.RefreshToken != "identity" {
		t.Errorf("identity token: got %q, %v, want identity", got.RefreshToken, err)
	}
}
