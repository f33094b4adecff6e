package transport

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// used are the secrets that this process has sent or is about to send. Servers quote them when they refuse a request,
// and their texts are shown to people and kept in the ledger: RedactText removes every known secret.
var used secrets

// secrets is a set that forgets secrets not noted again for long, since a long run gets ever more tokens. Its methods
// are safe for concurrent use.
type secrets struct {
	mu          sync.RWMutex
	now, before map[string][]string // secret -> forms in which it may be quoted
}

const (
	// generation is how many secrets are noted before old ones are forgotten.
	generation = 512
	// shortest is the least length of a secret to look for. Shorter ones would match inside words.
	shortest = 4
	// hidden takes the place of a secret.
	hidden = "***"
)

// note adds a secret.
func (s *secrets) note(secret string) {
	if len(secret) < shortest {
		return
	}
	s.mu.RLock()
	_, known := s.now[secret]
	s.mu.RUnlock()
	if known {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil || len(s.now) >= generation {
		s.now, s.before = map[string][]string{}, s.now
	}
	s.now[secret] = forms(secret)
}

// basic adds a user's password, and user and password in the form that is sent.
func (s *secrets) basic(user, password string) {
	if password == "" {
		return
	}
	s.note(password)
	s.note(base64.StdEncoding.EncodeToString([]byte(user + ":" + password)))
}

// sent adds the secrets that a request carries.
func (s *secrets) sent(req *http.Request) {
	if user, password, ok := req.BasicAuth(); ok {
		s.basic(user, password)
	} else if _, token, ok := strings.Cut(req.Header.Get("Authorization"), " "); ok {
		s.note(token)
	}
	s.address(req.URL)
}

// signing matches the parameters that make an address a credential, as in registries' upload and download addresses.
var signing = regexp.MustCompile(`(?i)sig|token|credential|policy|secret|key|state|jwt`)

// address adds the secret parts of an address. u may be nil.
func (s *secrets) address(u *url.URL) {
	if u == nil {
		return
	}
	if u.User != nil {
		password, _ := u.User.Password()
		s.basic(u.User.Username(), password)
	}
	if u.RawQuery == "" {
		return
	}
	for name, values := range u.Query() {
		if signing.MatchString(name) {
			for _, v := range values {
				s.note(v)
			}
		}
	}
}

// hide removes every known secret.
func (s *secrets) hide(text string) string {
	// The longest first: one may be part of another.
	found := s.in(text)
	slices.SortFunc(found, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, form := range found {
		text = strings.ReplaceAll(text, form, hidden)
	}
	return text
}

// in returns the forms of secrets that a text contains.
func (s *secrets) in(text string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []string
	for _, known := range []map[string][]string{s.now, s.before} {
		for _, all := range known {
			for _, form := range all {
				if strings.Contains(text, form) {
					found = append(found, form)
				}
			}
		}
	}
	return found
}

// forms returns a secret as it is, and as escaped in URLs and quoted text.
func forms(secret string) []string {
	all := []string{secret}
	quoted := strconv.Quote(secret)
	for _, form := range []string{url.QueryEscape(secret), url.PathEscape(secret), quoted[1 : len(quoted)-1]} {
		if !slices.Contains(all, form) {
			all = append(all, form)
		}
	}
	return all
}
