package registry

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/transport"
)

// A hint follows the cause: logging in is advised only where that helps.
func TestHintsFollowTheCause(t *testing.T) {
	t.Parallel()
	const login, again, rights = "log in with docker login ", "log in again with docker login ", "have the right granted"
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = fmt.Fprint(w, body)
		}
	}
	basic := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Www-Authenticate", `Basic realm="r"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	// Everybody with the right login gets a token, and this one is of no use.
	bearer := func(tokenStatus int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/token" && tokenStatus == http.StatusOK:
				_, _ = fmt.Fprint(w, `{"token":"useless"}`)
			case r.URL.Path == "/token":
				w.WriteHeader(tokenStatus)
			default:
				w.Header().Set("Www-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="s"`)
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"unauthorized to access repository"}]}`)
			}
		}
	}
	realm := func(address string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Www-Authenticate", `Bearer realm="`+address+`"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	denied := `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`
	challengedAnd := func(then http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				basic(w, r)
				return
			}
			then(w, r)
		}
	}
	for _, c := range []struct {
		name     string
		answer   http.HandlerFunc
		loggedIn bool
		want     string // of the hint of a push; empty: no hint
	}{
		{"nobody is logged in", basic, false, login},
		{"nobody is logged in, and gets a token", bearer(200), false, login},
		{"denied without a login", status(403, denied), false, login},
		{"a wrong password", basic, true, again},
		{"a wrong password at the token server", bearer(401), true, again},
		{"a token without the right", bearer(200), true, rights},
		{"a user without the right", challengedAnd(status(403, denied)), true, rights},
		{"a login that is denied with 401", challengedAnd(status(401, denied)), true, rights},
		{"read-only", status(405, `{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}`), false, "read-only"},
		{"Harbor, read-only", status(403, `{"errors":[{"code":"DENIED","message":"The system is in read only mode. Any modification is prohibited."}]}`), false, "read-only"},
		{"Harbor, a cache", status(403, `{"errors":[{"code":"DENIED","message":"can not push artifact to a proxy project: library/app"}]}`), false, "read-only"},
		{"a token server elsewhere", realm("http://tokens.example/token"), true, "--token-host"},
		{"a token server with a user", realm("http://me@127.0.0.1/token"), true, ""},
		{"a realm that is no address", realm("/token"), true, ""},
		{"only logins that are unknown here", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Www-Authenticate", "Negotiate")
			w.WriteHeader(http.StatusUnauthorized)
		}, true, "have Basic or Bearer offered"},
		{"a TLS port", status(400, "Client sent an HTTP request to an HTTPS server."), true, "without --plain-http"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			set := []func(*Options){}
			if c.loggedIn {
				set = append(set, as("me"))
			}
			r := open(t, serve(t, c.answer)+"/app", -1, set...)
			_, err := r.CanPush(t.Context())
			checkHint(t, err, c.want)
			if cause := map[string]string{login: "it requires a login", again: "it rejects the login"}[c.want]; hostCause(err) != cause {
				t.Errorf("got the host's cause %q, want %q: %v", hostCause(err), cause, err)
			}
			if c.want != login && strings.Contains(err.Error(), "log in with") {
				t.Errorf("got %v, want no advice to log in", err)
			}
		})
	}
	// The error says what is needed: reading needs no right to push.
	r := open(t, serve(t, basic)+"/app", -1, func(o *Options) { o.ReadOnly = true })
	if err := r.CanPull(t.Context(), "").Err(); !strings.Contains(err.Error(), "as a user who may pull from this repository") {
		t.Errorf("reading: got %v, want an error that asks for a user who may pull", err)
	}
	if _, err := open(t, serve(t, basic)+"/app", -1, deleting).CanPush(t.Context()); !strings.Contains(err.Error(), "delete in") {
		t.Errorf("deleting: got %v, want an error that says delete in", err)
	}
}

// checkHint checks the hint of an error, which is complete and on a line of its own.
func checkHint(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with hint %q", want)
	}
	_, hint, hinted := strings.Cut(err.Error(), "\nhint: ")
	if hinted != (want != "") || !strings.Contains(hint, want) || strings.Contains(err.Error(), `\x0a`) || strings.Count(err.Error(), "hint: ") > 1 {
		t.Errorf("got %v, want the hint %q", err, want)
	}
}

// Behind a proxy that ends TLS and does not say so, a registry gives its own address without TLS.
func TestRegistryThatForgetsTLSIsNamed(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"an upload": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://"+r.Host+"/v2/app/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
		},
		"an upload at the usual port": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1/v2/app/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+r.Host+"/elsewhere", http.StatusTemporaryRedirect)
		},
		"a realm": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Www-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
	} {
		srv := httptest.NewTLSServer(answer)
		t.Cleanup(srv.Close)
		r := overTLS(t, srv, "127.0.0.1")
		_, err := r.CanPush(t.Context())
		if checkHint(t, err, "X-Forwarded-Proto: https"); strings.Contains(err.Error(), "docker login") {
			t.Errorf("%s: got %v, want no advice to log in", name, err)
		}
	}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "<http://"+r.Host+`/v2/app/tags/list?last=a>; rel="next"`)
		_, _ = fmt.Fprint(w, `{"name":"app","tags":["a"]}`)
	}))
	t.Cleanup(srv.Close)
	checkHint(t, overTLS(t, srv, "127.0.0.1").Tags(t.Context(), func(string) error { return nil }), "X-Forwarded-Proto: https")
}

// overTLS opens a repository of a server with TLS under a name of this machine.
func overTLS(t *testing.T, srv *httptest.Server, name string) *Repository {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	rt, err := transport.New(transport.Options{Retries: -1, CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rt.CloseIdleConnections)
	host := strings.Replace(srv.Listener.Addr().String(), "127.0.0.1", name, 1)
	return open(t, host+"/app", -1, func(o *Options) { o.Client, o.PlainHTTP = transport.Client(rt, nil), nil })
}

// If a registry is not where its name says, a hint suggests another name or another scheme.
func TestUnreachableRegistriesHaveAHint(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	r := open(t, strings.TrimPrefix(plain.URL, "http://")+"/app", -1, func(o *Options) { o.PlainHTTP = nil })
	_, err := r.CanPush(t.Context())
	checkHint(t, err, "--plain-http")
	causes := []string{hostCause(err)}
	if !strings.Contains(err.Error(), "plain-http-hosts") {
		t.Errorf("got %v, want an error that names the list", err)
	}
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(srv.Close)
	_, err = overTLS(t, srv, "localhost").CanPush(t.Context()) // its certificate is for 127.0.0.1
	checkHint(t, err, "map")
	causes = append(causes, hostCause(err))
	_, err = open(t, "registry.invalid/app", -1).CanPush(t.Context())
	checkHint(t, err, "map")
	causes = append(causes, hostCause(err))
	_, err = open(t, "127.0.0.1:1/app", -1).CanPush(t.Context())
	causes = append(causes, hostCause(err))
	_, err = open(t, serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })+"/app", -1).CanPush(t.Context())
	causes = append(causes, hostCause(err))
	if want := []string{"it answers without TLS", "its certificate is not trusted", "its host name cannot be resolved", "it cannot be reached", ""}; !slices.Equal(causes, want) {
		t.Errorf("got causes %q, want %q", causes, want)
	}
}

// The hint of a limit is complete, whether the error is about a repository or a registry.
func TestHintsOfBoundsAreWhole(t *testing.T) {
	t.Parallel()
	host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "<"+r.URL.Path+`?last=`+r.URL.Query().Get("last")+`x>; rel="next"`)
		_, _ = fmt.Fprintf(w, `{"name":"app","tags":["t%[1]s"],"repositories":["r%[1]s"]}`, r.URL.Query().Get("last"))
	})
	bounded := func(o *Options) { o.Lists = Budget{Pages: 3, Time: time.Minute} }
	checkHint(t, open(t, host+"/app", -1, bounded).Tags(t.Context(), func(string) error { return nil }), "--max-pages")
	checkHint(t, client(t, -1, bounded).Catalog(t.Context(), host, func(string) error { return nil }), "--max-pages")
}
