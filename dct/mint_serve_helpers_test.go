package dct

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
)

// served records the requests to a mint, and sets how it answers.
type served struct {
	mu    sync.Mutex
	asked []string                    // roles and N.root, in order
	hooks map[string]http.HandlerFunc // instead of the file of a role
}

// ServeHTTP answers as a lying Notary server: with what it has of a role, whatever hash was
// requested.
func (m *mint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, file, _ := strings.Cut(r.URL.Path, "/_trust/tuf/")
	name := strings.TrimSuffix(file, ".json")
	name = withoutHash(name)
	m.served.mu.Lock()
	m.served.asked = append(m.served.asked, name)
	hook := m.served.hooks[name]
	m.served.mu.Unlock()
	raw, ok := m.files[name]
	switch {
	case hook != nil:
		hook(w, r)
	case !ok:
		notFound(w, r)
	default:
		_, _ = w.Write(raw) // a client that went away is no error here
	}
}

// withoutHash returns the role in a file name; N.root stays.
func withoutHash(name string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 && name[i:] != ".root" {
		return name[:i]
	}
	return name
}

// requests returns what was requested since its last call.
func (m *mint) requests() []string {
	m.served.mu.Lock()
	defer m.served.mu.Unlock()
	asked := m.served.asked
	m.served.asked = nil
	return asked
}

// inProcess sends requests to a handler without a network.
type inProcess struct{ http.Handler }

func (h inProcess) Do(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result(), nil
}

// handled reads from a handler through the real Server.
func handled(h http.Handler) *Server {
	return &Server{URL: func(string) string { return "http://notary.invalid" }, HTTP: func(string) Doer { return inProcess{h} }}
}

// reader returns a reader with the first root keys pinned.
func (m *mint) reader() *Reader {
	return &Reader{Source: handled(m), Pins: Pins{Certs: map[string][]string{m.gun: m.pin}}}
}

// A tufClient refreshes, and remembers only what it accepted.
type tufClient struct {
	t      *testing.T
	m      *mint
	reader *Reader
	known  Known
}

// newClient begins with the repository's root, as a TUF client does.
func newClient(t *testing.T, m *mint) *tufClient {
	return &tufClient{t, m, &Reader{Source: handled(m)}, Known{Root: m.files["root"]}}
}

func (c *tufClient) refresh() (*Repository, error) {
	c.m.requests()
	got, err := c.reader.Read(context.Background(), gun(c.t, c.m.gun), c.known)
	if err == nil {
		c.known = got.Known()
	}
	return got, err
}

func (c *tufClient) accepts() *Repository {
	c.t.Helper()
	got, err := c.refresh()
	must(c.t, err)
	return got
}

func (c *tufClient) refuses(kind error, roles ...string) {
	c.t.Helper()
	got, err := c.refresh()
	wantError(c.t, got, err, kind, roles...)
}

// wantError checks the kind of an error, and what every error of this package promises: it
// comes without targets, names the repository and one of the roles ("" for none), and can
// be shown on a terminal.
func wantError(t *testing.T, got *Repository, err error, kind error, roles ...string) {
	t.Helper()
	if got != nil {
		t.Errorf("got\n%s, want an error", show(got))
	}
	var e *Error
	if !errors.As(err, &e) || !errors.Is(e.Kind, kind) {
		t.Errorf("got %v, want %v", err, kind)
		return
	}
	text := err.Error()
	if !strings.Contains(text, e.GUN) || e.GUN == "" {
		t.Errorf("got %q, want an error that names its repository", text)
	}
	if !slices.Contains(roles, e.Role) || e.Role != "" && !strings.Contains(text, "role "+e.Role+": ") {
		t.Errorf("got role %q, want one of %q, named in: %s", e.Role, roles, text)
	}
	line, hint, _ := strings.Cut(text, "\nhint: ")
	if i := strings.IndexFunc(line+hint, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }); i >= 0 {
		t.Errorf("got %q, want an error without control characters", text)
	}
}
