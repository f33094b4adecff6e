package registrytest

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/bearer"
)

// A Hook sees a request before the credentials and the registry do. It returns true if it answered; false passes the
// request on to next. It may call next itself, and it may panic with http.ErrAbortHandler to cut the connection. It
// is called from many goroutines at once.
type Hook func(w http.ResponseWriter, r *http.Request, next http.Handler) bool

// LoseAnswer performs the request and cuts the connection instead of answering: the effect has happened and the
// client cannot know. Call it in a Hook; it does not return.
func LoseAnswer(r *http.Request, next http.Handler) {
	next.ServeHTTP(newAnswer(), r)
	panic(http.ErrAbortHandler)
}

// front handles a request first: counting, latency and the hook.
type front struct {
	next     http.Handler
	latency  time.Duration
	hook     atomic.Pointer[Hook]
	requests atomic.Int64
	log      ring
}

func newFront(o Options, next http.Handler) *front {
	return &front{latency: o.Latency, next: next}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.requests.Add(1)
	seen := &statusWriter{ResponseWriter: w}
	status := "aborted"
	defer func() { f.log.add(fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, status)) }()
	if f.latency > 0 {
		select {
		case <-time.After(f.latency):
		case <-r.Context().Done():
			return
		}
	}
	if hook := f.hook.Load(); hook == nil || *hook == nil || !(*hook)(seen, r, f.next) {
		f.next.ServeHTTP(seen, r)
	}
	status = seen.String()
}

// refuseDelete answers DELETE with 405, as GHCR does.
func refuseDelete(on bool, next http.Handler) http.Handler {
	if !on {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			bearer.Refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "deleting is disabled")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// statusWriter remembers the status that was sent.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets hooks flush and hijack through http.ResponseController.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *statusWriter) String() string {
	if s.status == 0 {
		return "200" // net/http sends this for a handler that sets no status
	}
	return fmt.Sprint(s.status)
}

// ring keeps the newest lines.
type ring struct {
	mu   sync.Mutex
	kept [4096]string
	n    int // lines ever added
}

func (l *ring) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept[l.n%len(l.kept)] = line
	l.n++
}

func (l *ring) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for i := max(0, l.n-len(l.kept)); i < l.n; i++ {
		out = append(out, l.kept[i%len(l.kept)])
	}
	return out
}

const tokenPath = "/token"

// guard requires credentials: bearer tokens, which it also issues, or basic authentication.
type guard struct {
	next   http.Handler
	token  bool
	tokens *bearer.Tokens
}

func newGuard(o Options, realm string, next http.Handler) *guard {
	return &guard{next, o.Token, &bearer.Tokens{Realm: realm, Service: "registrytest", Users: o.Users}}
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case g.token && r.URL.Path == tokenPath:
		g.tokens.ServeHTTP(w, r)
	case g.token:
		if resource, needed := needs(r); g.tokens.Allow(w, r, resource, needed...) {
			g.next.ServeHTTP(w, r)
		}
	case len(g.tokens.Users) > 0 && !g.tokens.Knows(r.BasicAuth()):
		w.Header().Set("WWW-Authenticate", `Basic realm="registrytest"`)
		bearer.Refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	default:
		g.next.ServeHTTP(w, r)
	}
}

// needs returns the permission that a request needs. The check of the API version needs any token.
func needs(r *http.Request) (resource string, actions []string) {
	if r.URL.Path == catalogPath {
		return "registry:catalog", []string{"*"}
	}
	repo, _, _, ok := route(r.URL.Path)
	if !ok {
		return "", nil
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return "repository:" + repo, []string{"pull"}
	case http.MethodDelete:
		return "repository:" + repo, []string{"delete"}
	default:
		return "repository:" + repo, []string{"pull", "push"} // as distribution asks for writes
	}
}

// answer is a response kept in memory, for requests that never touch the network.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func newAnswer() *answer { return &answer{header: http.Header{}} }

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// sendTo sends the answer to a client.
func (a *answer) sendTo(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	w.Write(a.body.Bytes())
}
