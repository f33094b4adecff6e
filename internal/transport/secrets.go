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

// used are the secrets that this process has sent or is about to send. Servers quote what
// they were sent when they refuse it, and what they say is shown to people and kept in the
// ledger: RedactText takes out what is known here.
var used secrets

// secrets is a set that forgets what was not noted again for long: a long run gets tokens
// without end. Its methods are safe for concurrent use.
type secrets struct {
	mu          sync.RWMutex
	now, before map[string][]string // secret -> the forms in which it may be quoted
}

const (
	// generation is how many secrets are noted before those of long ago are forgotten.
	generation = 512
	// shortest is the length of a secret that is looked for. Less would be found in the
	// middle of words.
	shortest = 4
	// hidden takes the place of a secret.
	hidden = "***"
)

// note remembers a secret.
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

// basic remembers a user's password, and both as they are sent.
func (s *secrets) basic(user, password string) {
	if password == "" {
		return
	}
	s.note(password)
	s.note(base64.StdEncoding.EncodeToString([]byte(user + ":" + password)))
}

// sent remembers what a request carries.
func (s *secrets) sent(req *http.Request) {
	if user, password, ok := req.BasicAuth(); ok {
		s.basic(user, password)
	} else if _, token, ok := strings.Cut(req.Header.Get("Authorization"), " "); ok {
		s.note(token)
	}
	s.address(req.URL)
}

// signing are the parameters that make an address a credential, as registries hand them out
// for uploads and downloads.
var signing = regexp.MustCompile(`(?i)sig|token|credential|policy|secret|key|state|jwt`)

// address remembers what in an address is secret. u may be nil.
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

// hide takes out every secret that is known.
func (s *secrets) hide(text string) string {
	// The longest first: one may be part of another.
	found := s.in(text)
	slices.SortFunc(found, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, form := range found {
		text = strings.ReplaceAll(text, form, hidden)
	}
	return text
}

// in gives the forms of secrets that a text holds.
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

// forms returns a secret as it is, and as it is escaped in URLs and quoted text.
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
