package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
)

// issuers are servers that require tokens. Each has its own token server, which requires that
// server's password. They answer in a second.
type issuers struct {
	realm func(host string) string                               // nil: its own host
	token func(host string, scopes []string) (int, string)       // nil: one that names the scopes, for 300 s
	read  func(host, name, token string) (status int, to string) // nil: the token has to name the scope

	mu  sync.Mutex
	log []string // what was asked for, in order
}

func (s *issuers) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case <-time.After(time.Second):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	host := req.URL.Host
	answer := func(code int, body string, header ...string) (*http.Response, error) {
		h := http.Header{}
		if len(header) > 0 {
			h.Set(header[0], header[1])
		}
		return &http.Response{StatusCode: code, Header: h, Request: req, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}, nil
	}
	if req.URL.Path == "/token" {
		scopes := strings.Fields(strings.Join(req.URL.Query()["scope"], " "))
		_, password, _ := req.BasicAuth()
		s.note("token " + host + " " + names(scopes) + map[bool]string{false: " with " + password}[password == "of "+host])
		if s.token != nil {
			code, body := s.token(host, scopes)
			return answer(code, body)
		}
		return answer(200, granted(scopes))
	}
	name := strings.Split(req.URL.Path, "/")[2]
	token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	code, to := 200, ""
	if s.read != nil {
		code, to = s.read(host, name, token)
	} else if !slices.Contains(strings.Split(token, "+"), name) {
		code = 401
	}
	s.note(fmt.Sprintf("%d %s %s", code, host, name))
	switch {
	case code == 401:
		realm := "https://" + host + "/token"
		if s.realm != nil {
			realm = s.realm(host)
		}
		return answer(code, "", "Www-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="s",scope="repository:%s:pull"`, realm, name))
	case to != "":
		return answer(code, "", "Location", to)
	}
	return answer(code, "")
}

func granted(scopes []string) string {
	return fmt.Sprintf(`{"token":%q,"expires_in":300}`, names(scopes))
}

// names returns the names of the scopes' repositories.
func names(scopes []string) string {
	var all []string
	for _, s := range scopes {
		all = append(all, strings.TrimSuffix(strings.TrimPrefix(s, "repository:"), ":pull"))
	}
	return strings.Join(all, "+")
}

func (s *issuers) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, what)
}

// since returns what was requested since its last call.
func (s *issuers) since() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.Join(s.log, ", ")
	s.log = nil
	return text
}

func (s *issuers) client() *auth.Client {
	return Client(s, func(_ context.Context, host string) (auth.Credential, error) {
		return auth.Credential{Username: "me", Password: "of " + host}, nil
	})
}

func read(ctx context.Context, c *auth.Client, host, name string) (int, error) {
	ctx = auth.WithScopesForHost(ctx, host, auth.ScopeRepository(name, auth.ActionPull))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/v2/"+name+"/x", nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func expecting(c *auth.Client, host, all string) {
	var scopes []string
	for _, name := range strings.Split(all, "") {
		scopes = append(scopes, auth.ScopeRepository(name, auth.ActionPull))
	}
	Expect(c, host, scopes)
}

// A server says once where its tokens are issued. Whatever comes of a token requested ahead, the
// repository is read, or refused as it would have been.
func TestTokensAreAskedForAhead(t *testing.T) {
	t.Parallel()
	const h = "r.example"
	single := func(_ string, scopes []string) (int, string) { // grants only the first, and does not say so
		return 200, granted(scopes[:1])
	}
	for name, c := range map[string]struct {
		s      *issuers
		expect string // repositories, each of one letter
		read   string
		want   string // what was asked for
		status string // of each that was read; e: an error
	}{
		"one after the other": {&issuers{}, "", "abab", "401 h a, token h a, 200 h a, token h b, 200 h b, 200 h a, 200 h b", ""},
		"several at once":     {&issuers{}, "abcd", "abcd", "401 h a, token h a+b+c+d, 200 h a, 200 h b, 200 h c, 200 h d", ""},
		"not expected":        {&issuers{}, "ab", "az", "401 h a, token h a+b, 200 h a, token h z, 200 h z", ""},
		"granted for one": {&issuers{token: single}, "abcdefgh", "abcdefgh", "401 h a, token h a+b+c+d+e+f+g+h, 200 h a, " +
			"401 h b, token h b, 200 h b, 401 h c, token h c, 200 h c, 401 h d, token h d, 200 h d, token h e, 200 h e, token h f, 200 h f, token h g, 200 h g, token h h, 200 h h", ""},
		"refused with 403": {&issuers{read: func(_, name, token string) (int, string) {
			switch {
			case token == "":
				return 401, ""
			case token != name:
				return 403, ""
			}
			return 200, ""
		}}, "abc", "ab", "401 h a, token h a+b+c, 403 h a, token h a, 200 h a, 403 h b, token h b, 200 h b", ""},
		"forbidden": {&issuers{read: func(_, name, token string) (int, string) {
			switch {
			case token == "":
				return 401, ""
			case name == "b":
				return 403, ""
			}
			return 200, ""
		}}, "", "ab", "401 h a, token h a, 200 h a, token h b, 403 h b", "200 403"},
		"too long for several": {&issuers{token: func(_ string, scopes []string) (int, string) {
			if len(scopes) > 1 {
				return 200, `{"token":"` + strings.Repeat("x", maxJointToken+1) + `"}`
			}
			return 200, granted(scopes)
		}}, "abc", "ab", "401 h a, token h a+b+c, token h a, 200 h a, token h b+c, token h b, 200 h b", ""},
		"none for several": {&issuers{token: func(_ string, scopes []string) (int, string) {
			if len(scopes) > 1 {
				return 403, ""
			}
			return 200, granted(scopes)
		}}, "abc", "ab", "401 h a, token h a+b+c, token h a, 200 h a, token h b+c, token h b, 200 h b", ""},
		"refused for one": {&issuers{token: func(_ string, scopes []string) (int, string) {
			if names(scopes) == "b" {
				return 401, ""
			}
			return 200, granted(scopes)
		}}, "", "abc", "401 h a, token h a, 200 h a, token h b, 401 h b, token h b, token h c, 200 h c", "200 e 200"},
		"absent": {&issuers{token: func(_ string, scopes []string) (int, string) {
			if names(scopes) != "a" {
				return 500, ""
			}
			return 200, granted(scopes)
		}}, "", "abc", "401 h a, token h a, 200 h a, token h b, 401 h b, token h b, 401 h c, token h c", "200 e e"},
		"no token": {&issuers{token: func(_ string, scopes []string) (int, string) {
			if names(scopes) != "a" {
				return 200, `{"token":{}}`
			}
			return 200, granted(scopes)
		}}, "", "ab", "401 h a, token h a, 200 h a, token h b, 401 h b, token h b", "200 e"},
		"needed for one alone": {&issuers{read: func(_, name, token string) (int, string) {
			if name == "a" && token == "" {
				return 401, ""
			}
			return 200, ""
		}, token: func(_ string, scopes []string) (int, string) {
			if names(scopes) != "a" {
				return 403, ""
			}
			return 200, granted(scopes)
		}}, "", "ab", "401 h a, token h a, 200 h a, token h b, 200 h b", ""},
		"never taken": {&issuers{read: func(string, string, string) (int, string) { return 401, "" }}, "", "ab",
			"401 h a, token h a, 401 h a, token h a, 401 h a, 401 h b, token h b, 401 h b", "401 401"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client := c.s.client()
				if c.expect != "" {
					expecting(client, h, c.expect)
				}
				var status []string
				for _, name := range strings.Split(c.read, "") {
					code, err := read(t.Context(), client, h, name)
					if status = append(status, fmt.Sprint(code)); err != nil {
						status[len(status)-1] = "e"
					}
				}
				want := c.status
				if want == "" {
					want = strings.TrimSuffix(strings.Repeat("200 ", len(c.read)), " ")
				}
				if got := strings.ReplaceAll(c.s.since(), " "+h, " h"); got != c.want || strings.Join(status, " ") != want {
					t.Errorf("got %s\n%s, want %s\n%s", status, got, want, c.want)
				}
			})
		})
	}
}

// Many that need the same token request it once, and one that gives up takes it from nobody else.
func TestATokenIsAskedForOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &issuers{}
		c := s.client()
		_, _ = read(t.Context(), c, "r.example", "a")
		s.since()
		hasty, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := read(hasty, c, "r.example", "b"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who waits for half a second: got %v, want %v", err, context.DeadlineExceeded)
			}
		})
		synctest.Wait()
		for range 20 {
			all.Go(func() {
				if code, err := read(t.Context(), c, "r.example", "b"); code != 200 || err != nil {
					t.Errorf("got %d, %v, want 200", code, err)
				}
			})
		}
		all.Wait()
		if got := s.since(); strings.Count(got, "token") != 1 || strings.Count(got, "401") != 0 {
			t.Errorf("got %s, want one token and no challenge", got)
		}
	})
}

// A token is renewed before it ends, so that nothing is refused and sent again.
func TestTokensAreRenewedBeforeTheyEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ life, after, tokens int }{
		"in its time":   {300, 200, 0},
		"near its end":  {300, 260, 1},
		"far too short": {1, 5, 0}, // otherwise each request would need one
		"not said":      {0, 10_000, 0},
		"for ever":      {1 << 62, 10_000, 0},
		"below zero":    {-1, 10_000, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &issuers{token: func(_ string, scopes []string) (int, string) {
					return 200, fmt.Sprintf(`{"token":%q,"expires_in":%d}`, names(scopes), c.life)
				}}
				client := s.client()
				_, _ = read(t.Context(), client, "r.example", "a")
				s.since()
				time.Sleep(time.Duration(c.after) * time.Second)
				if code, err := read(t.Context(), client, "r.example", "a"); code != 200 || err != nil {
					t.Errorf("got %d, %v, want 200", code, err)
				}
				if got := s.since(); strings.Count(got, "token") != c.tokens || strings.Contains(got, "401") {
					t.Errorf("got %s, want %d tokens and no challenge", got, c.tokens)
				}
			})
		})
	}
}

// A token whose lifetime is not said has ended, rather than been useless, if it is refused after a while. Others are
// still requested in advance, and for several repositories at once.
func TestTokensThatEndUnannouncedAreNotUseless(t *testing.T) {
	t.Parallel()
	for expect, want := range map[string]string{"": "token h x, 200 h x", "abcdexy": "token h x+y, 200 h x"} {
		synctest.Test(t, func(t *testing.T) {
			var valid time.Time // when the tokens were issued that are valid
			s := &issuers{token: func(_ string, scopes []string) (int, string) {
				return 200, fmt.Sprintf(`{"token":"%s@%d"}`, names(scopes), valid.Unix())
			}, read: func(_, name, token string) (int, string) {
				all, at, _ := strings.Cut(token, "@")
				if at != fmt.Sprint(valid.Unix()) || !slices.Contains(strings.Split(all, "+"), name) {
					return 401, ""
				}
				return 200, ""
			}}
			c := s.client()
			expecting(c, "h", strings.TrimSuffix(expect, "xy"))
			for range 2 {
				valid = time.Now()
				for _, name := range strings.Split("abcde", "") {
					if code, err := read(t.Context(), c, "h", name); code != 200 || err != nil {
						t.Errorf("%s: got %d, %v, want 200", name, code, err)
					}
				}
				time.Sleep(10 * time.Minute)
			}
			s.since()
			expecting(c, "h", expect)
			_, _ = read(t.Context(), c, "h", "x")
			if got := s.since(); got != want {
				t.Errorf("expected %q: got %s, want %s", expect, got, want)
			}
		})
	}
}

// What one server says of its tokens applies to no other, and a server that it redirects to cannot
// say it.
func TestCredentialsOfARegistryStayWithIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &issuers{}
		c := s.client()
		for _, name := range []string{"a", "b"} {
			for _, host := range []string{"r.example", "s.example:5000", "r.example:444"} {
				if code, err := read(t.Context(), c, host, name); code != 200 || err != nil {
					t.Errorf("%s: got %d, %v, want 200", host, code, err)
				}
			}
		}
		if got := s.since(); strings.Contains(got, "with") || strings.Count(got, "token") != 6 || strings.Count(got, "401") != 3 {
			t.Errorf("got %s, want two tokens of each host, with its own password", got)
		}
		// Later answers are judged like the first.
		s.realm, s.read = func(string) string { return "https://evil.example/token" }, func(string, string, string) (int, string) { return 401, "" }
		var realm *RealmError
		if _, err := read(t.Context(), c, "r.example", "c"); !errors.As(err, &realm) {
			t.Errorf("a realm elsewhere: got %v, want an error that names it", err)
		}
		if got := s.since(); strings.Contains(got, "evil") {
			t.Errorf("got %s, want nothing for evil.example", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := &issuers{read: func(host, name, _ string) (int, string) {
			if host == "r.example" {
				return 302, "https://evil.example/v2/" + name + "/x"
			}
			return 401, ""
		}}
		var realm *RealmError
		if _, err := read(t.Context(), s.client(), "r.example", "a"); !errors.As(err, &realm) {
			t.Errorf("a redirect to who wants a login: got %v, want a refusal", err)
		}
		if got := s.since(); strings.Contains(got, "token") {
			t.Errorf("a redirect to who wants a login: got %s, want no token", got)
		}
	})
}

// A token server that hangs is not asked in advance by one after the other of those who wait for a token.
func TestATokenServerThatHangsIsWaitedForTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const all = "abcdefghijklmnopqrst"
		s := &issuers{}
		c := s.client()
		expecting(c, "r.example", all)
		_, _ = read(t.Context(), c, "r.example", "z")
		s.token = func(string, []string) (int, string) {
			time.Sleep(5 * time.Minute)
			return 500, ""
		}
		began := time.Now()
		var readers sync.WaitGroup
		for _, name := range strings.Split(all, "") {
			readers.Go(func() {
				if _, err := read(t.Context(), c, "r.example", name); err == nil {
					t.Errorf("%s: got no error, want one", name)
				}
			})
		}
		readers.Wait()
		if took := time.Since(began); took > time.Hour {
			t.Errorf("got %s for %d repositories, want less than an hour", took, len(all))
		}
	})
}
