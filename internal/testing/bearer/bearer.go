// Package bearer implements docker's token authentication for test servers: the token endpoint, the check of tokens,
// and the challenge. Tokens do not expire.
package bearer

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Tokens are the tokens of one server. Methods may be called from several goroutines at once.
type Tokens struct {
	Realm   string // URL of the endpoint
	Service string
	Users   map[string]string // passwords by name, of users who may do everything; empty: anybody gets a token
	// PullOnly is for a server without users: tokens allow only pulling, and requests with a user name are refused.
	PullOnly bool

	mu     sync.Mutex
	grants map[string]map[string][]string // actions by resource ("repository:name"), by token; guarded by mu
}

// Knows reports whether these are a user's name and password.
func (t *Tokens) Knows(user, password string, given bool) bool {
	want, known := t.Users[user]
	return given && known && password == want
}

// ServeHTTP is the token endpoint. It accepts a GET with basic authentication, or an OAuth2 POST with
// grant_type=password, or refresh_token with a user's password as the identity token. Like real token servers it
// grants less than requested instead of refusing.
func (t *Tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, given := r.BasicAuth()
	switch {
	case r.Method != http.MethodPost:
	case r.PostFormValue("grant_type") == "password":
		user, password, given = r.PostFormValue("username"), r.PostFormValue("password"), true
	case r.PostFormValue("grant_type") == "refresh_token":
		for name, of := range t.Users {
			if of == r.PostFormValue("refresh_token") {
				user, password, given = name, of, true
			}
		}
	}
	if known := t.Knows(user, password, given); !known && (len(t.Users) > 0 || t.PullOnly && given) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q", t.Service))
		Refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "wrong or missing credentials")
		return
	}
	if err := r.ParseForm(); err != nil {
		Refuse(w, http.StatusBadRequest, "UNKNOWN", "unreadable token request")
		return
	}
	token := "token-canary-" + rand.Text() // easy to find where it must not appear
	t.mu.Lock()
	if t.grants == nil {
		t.grants = map[string]map[string][]string{}
	}
	t.grants[token] = t.permit(r.Form["scope"])
	t.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": 300}) // a client that is gone needs none
}

// permit parses "repository:team/app:pull,push" and the like; several may share a value. A name may contain a port,
// so it ends at the last colon.
func (t *Tokens) permit(scopes []string) map[string][]string {
	granted := map[string][]string{}
	for _, value := range scopes {
		for scope := range strings.FieldsSeq(value) {
			i := strings.LastIndex(scope, ":")
			if i < 0 || !strings.Contains(scope[:i], ":") {
				continue
			}
			resource, actions := scope[:i], strings.Split(scope[i+1:], ",")
			if t.PullOnly {
				actions = slices.DeleteFunc(actions, func(a string) bool { return a != "pull" || !strings.HasPrefix(resource, "repository:") })
			}
			granted[resource] = append(granted[resource], actions...)
		}
	}
	return granted
}

// Allow reports whether a request has a token that allows all these actions; without actions, any token does. If not,
// it answers with a challenge.
func (t *Tokens) Allow(w http.ResponseWriter, r *http.Request, resource string, actions ...string) bool {
	token, given := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	t.mu.Lock()
	granted, known := t.grants[token]
	t.mu.Unlock()
	if given && known && !slices.ContainsFunc(actions, func(a string) bool {
		return !slices.Contains(granted[resource], a) && !slices.Contains(granted[resource], "*")
	}) {
		return true
	}
	challenge := fmt.Sprintf(`Bearer realm="%s",service="%s"`, t.Realm, t.Service)
	if resource != "" {
		challenge += fmt.Sprintf(`,scope="%s:%s"`, resource, strings.Join(actions, ","))
	}
	switch {
	case given && known:
		challenge += `,error="insufficient_scope"`
	case given:
		challenge += `,error="invalid_token"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	Refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	return false
}

// Refuse answers with an error in the form of the OCI distribution specification.
func Refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}
