package notarytest

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

const (
	tokenPath    = "/auth/token"
	tokenService = "notarytest"
)

// A scope is a right in docker's notation: type:name:actions.
type scope struct {
	resource string // type:name
	actions  []string
}

func (s scope) String() string { return s.resource + ":" + strings.Join(s.actions, ",") }

// scopeOf tells what a request needs. The real server maps everything that is not about one
// GUN to the catalogue, even /v2/.
func scopeOf(r route) scope {
	repository := "repository:" + r.gun
	switch r.kind {
	case fetch, feed:
		return scope{repository, []string{"pull"}}
	case publish, askKey:
		return scope{repository, []string{"pull", "push"}}
	case erase, newKey:
		return scope{repository, []string{"*"}}
	default:
		return scope{"registry:catalog", []string{"*"}}
	}
}

// parseScope reads what a client asks for. GUNs may hold a port, so the name ends at the last
// colon.
func parseScope(text string) (scope, bool) {
	at := strings.LastIndex(text, ":")
	if at < 0 || !strings.Contains(text[:at], ":") {
		return scope{}, false
	}
	return scope{text[:at], strings.Split(text[at+1:], ",")}, true
}

// tokens remembers what was given out, for as long as the server runs.
type tokens struct {
	mu     sync.Mutex
	grants map[string][]scope // what each token is good for; guarded by mu
}

// allow reports whether the request carries a token that is good for all that is needed.
func (t *tokens) allow(r *http.Request, need scope) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var actions []string
	for _, g := range t.grants[token] {
		if g.resource == need.resource {
			actions = append(actions, g.actions...)
		}
	}
	for _, a := range need.actions {
		if !slices.Contains(actions, a) {
			return false
		}
	}
	return true
}

// issue makes a token for what was granted.
func (t *tokens) issue(granted []scope) string {
	token := "token-canary-" + rand.Text() // easily found where it must not be
	t.mu.Lock()
	defer t.mu.Unlock()
	t.grants[token] = granted
	return token
}

// challenge sends the client to the token endpoint.
func (s *Server) challenge(w http.ResponseWriter, need scope) {
	w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm="%s%s",service="%s",scope="%s"`,
		s.url, tokenPath, tokenService, need))
	refuse(w, http.StatusUnauthorized, codeUnauthorized, need.String())
}

// serveToken is the token endpoint: GET, basic authentication, scope parameters; or POST with a
// user's password as the identity token.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	user, password, named := r.BasicAuth()
	switch {
	case r.Method == http.MethodPost && r.PostFormValue("grant_type") == "refresh_token":
		for name, of := range s.options.Users {
			if of == r.PostFormValue("refresh_token") {
				user, password, named = name, of, true
			}
		}
	case r.Method != http.MethodGet:
		refuse(w, http.StatusMethodNotAllowed, codeUnknown, nil)
		return
	}
	if named && !s.knows(user, password) || !named && s.options.Users != nil {
		w.Header().Set("Www-Authenticate", `Basic realm="notarytest"`)
		refuse(w, http.StatusUnauthorized, codeUnauthorized, nil)
		return
	}
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, codeUnknown, nil)
		return
	}
	var granted []scope
	for _, parameter := range r.Form["scope"] {
		for _, text := range strings.Fields(parameter) {
			if want, ok := parseScope(text); ok {
				granted = append(granted, permit(want, named))
			}
		}
	}
	token := s.tokens.issue(granted)
	writeJSON(w, http.StatusOK, map[string]any{
		"token": token, "access_token": token, "expires_in": 300,
	})
}

func (s *Server) knows(user, password string) bool {
	want, ok := s.options.Users[user]
	return ok && subtle.ConstantTimeCompare([]byte(want), []byte(password)) == 1
}

// permit cuts a wish down to what the asker may do: users everything, others pull. Like
// real token servers it grants less instead of refusing.
func permit(want scope, user bool) scope {
	if user {
		return want
	}
	g := scope{resource: want.resource}
	if strings.HasPrefix(want.resource, "repository:") && slices.Contains(want.actions, "pull") {
		g.actions = []string{"pull"}
	}
	return g
}
