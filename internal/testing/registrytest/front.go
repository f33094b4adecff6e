package registrytest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Hook sees a request before the credentials and the registry do. True means that it
// answered; false lets the request go on to next. It may call next itself, and it may panic with
// http.ErrAbortHandler to cut the connection. It is called from many goroutines at once.
type Hook func(w http.ResponseWriter, r *http.Request, next http.Handler) bool

// LoseAnswer performs the request and cuts the connection instead of answering: the effect has
// happened and the client cannot know. For use in a Hook; it does not return.
func LoseAnswer(r *http.Request, next http.Handler) {
	next.ServeHTTP(newAnswer(), r)
	panic(http.ErrAbortHandler)
}

// front is what a request meets first: counting, latency and the hook.
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
			refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "deleting is disabled")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// statusWriter remembers the status that went out.
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
		return "200" // what net/http sends for a handler that says nothing
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

const (
	tokenPath     = "/token"
	tokenService  = "registrytest"
	tokenLifetime = 5 * time.Minute
)

// guard asks for credentials: bearer tokens, which it also hands out, or basic authentication.
type guard struct {
	next  http.Handler
	token bool
	realm string
	users map[string]string

	mu     sync.Mutex
	grants map[string]grant // by token; owned by mu
}

// A grant is what a token is good for: resource ("repository:name") -> actions.
type grant struct {
	actions map[string][]string
	until   time.Time
}

func newGuard(o Options, realm string, next http.Handler) *guard {
	return &guard{next: next, token: o.Token, realm: realm, users: o.Users, grants: map[string]grant{}}
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case g.token && r.URL.Path == tokenPath:
		g.serveToken(w, r)
	case g.token:
		g.checkToken(w, r)
	case len(g.users) > 0 && !g.knows(r.BasicAuth()):
		w.Header().Set("WWW-Authenticate", `Basic realm="registrytest"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	default:
		g.next.ServeHTTP(w, r)
	}
}

func (g *guard) knows(user, password string, given bool) bool {
	want, known := g.users[user]
	return given && known && password == want
}

// serveToken hands out a token for the scopes asked for, as a GET with basic authentication or an
// OAuth2 POST with grant_type=password, or with grant_type=refresh_token and a user's password as the
// identity token.
func (g *guard) serveToken(w http.ResponseWriter, r *http.Request) {
	user, password, given := r.BasicAuth()
	if r.Method == http.MethodPost && r.PostFormValue("grant_type") == "password" {
		user, password, given = r.PostFormValue("username"), r.PostFormValue("password"), true
	}
	if r.Method == http.MethodPost && r.PostFormValue("grant_type") == "refresh_token" {
		for name, of := range g.users {
			if of == r.PostFormValue("refresh_token") {
				user, password, given = name, of, true
			}
		}
	}
	if len(g.users) > 0 && !g.knows(user, password, given) {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "wrong or missing credentials")
		return
	}
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "UNKNOWN", "unreadable token request")
		return
	}
	token, now := "token-canary-"+rand.Text(), time.Now() // easily found where it must not be
	g.mu.Lock()
	g.grants[token] = grant{parseScopes(r.Form["scope"]), now.Add(tokenLifetime)}
	g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{
		"token": token, "access_token": token,
		"expires_in": int(tokenLifetime.Seconds()), "issued_at": now.UTC().Format(time.RFC3339),
	})
}

// parseScopes reads "repository:team/app:pull,push" and the like; several may share a value.
func parseScopes(values []string) map[string][]string {
	granted := map[string][]string{}
	for _, value := range values {
		for scope := range strings.FieldsSeq(value) {
			if i := strings.LastIndex(scope, ":"); i > 0 {
				granted[scope[:i]] = append(granted[scope[:i]], strings.Split(scope[i+1:], ",")...)
			}
		}
	}
	return granted
}

func (g *guard) checkToken(w http.ResponseWriter, r *http.Request) {
	resource, needed := needs(r)
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	g.mu.Lock()
	given, known := g.grants[token]
	g.mu.Unlock()
	known = known && bearer && time.Now().Before(given.until)
	if known && given.covers(resource, needed) {
		g.next.ServeHTTP(w, r)
		return
	}
	challenge := fmt.Sprintf(`Bearer realm="%s",service="%s"`, g.realm, tokenService)
	if resource != "" {
		challenge += fmt.Sprintf(`,scope="%s:%s"`, resource, strings.Join(needed, ","))
	}
	switch {
	case known:
		challenge += `,error="insufficient_scope"`
	case bearer:
		challenge += `,error="invalid_token"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

func (g grant) covers(resource string, needed []string) bool {
	for _, action := range needed {
		if !slices.Contains(g.actions[resource], action) && !slices.Contains(g.actions[resource], "*") {
			return false
		}
	}
	return true
}

// needs says what a request must be allowed to do. The check of the API version needs any token.
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

// sendTo passes the answer on to a client.
func (a *answer) sendTo(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	w.Write(a.body.Bytes())
}

// refuse answers with an error in the form of the OCI distribution specification.
func refuse(w http.ResponseWriter, status int, code, message string) {
	type failure struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	body, _ := json.Marshal(map[string][]failure{"errors": {{code, message}}}) // strings always marshal
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body)
}
