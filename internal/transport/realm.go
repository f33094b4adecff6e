package transport

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// A server that wants a token names the address that issues it, its realm, and the user's
// credentials are sent there. So whoever answers for a registry, or changes one answer,
// could have them sent anywhere. They go to the registry's own host (at any port), to the
// token servers that are known to be a registry's, and to hosts that the user names.
//
// oras-go's client, which answers the challenges, has another rule: any public host, and
// no private one but the registry's own, without exception. Self-hosted token servers are
// private. So what is allowed here is shown to it as an address of the registry itself, and
// sent on from there.

// knownRealms are the token servers of registries that have them elsewhere.
var knownRealms = map[string]string{
	dockerHub:                   "auth.docker.io",
	"notary.docker.io":          "auth.docker.io",
	"registry.gitlab.com":       "gitlab.com",
	"registry.digitalocean.com": "api.digitalocean.com",
}

// A RealmError says that a server wants credentials sent to a host that nobody has allowed.
// Nothing was sent there.
type RealmError struct {
	Server, Realm string // hosts
	Why           string // empty: nobody has allowed it
}

func (e *RealmError) Error() string {
	why := cmp.Or(e.Why, "which is neither its own host nor one that is allowed")
	return fmt.Sprintf("%s wants credentials sent to %s, %s", e.Server, RedactText(e.Realm), why)
}

// withoutTLS is why credentials are not sent to a realm that a server with TLS names.
const withoutTLS = "without TLS"

// A ChallengeError says that a server wants to know who asks in ways that are all unknown here.
type ChallengeError struct {
	Server  string
	Schemes []string // that it offers
}

func (e *ChallengeError) Error() string {
	return fmt.Sprintf("%s asks for a login by %s, and only Basic and Bearer can be answered",
		e.Server, safetext.Safe(strings.Join(e.Schemes, ", "), 200))
}

// realms rewrites challenges on their way up and requests for tokens on their way down.
type realms struct {
	next    http.RoundTripper
	trusted []string    // host names, in lower case
	tokens  *tokenCache // told where tokens are issued; nil: nobody is

	mu   sync.Mutex
	ways []*url.URL // by number: where a token is asked for
}

// realmPath is where the token servers seem to be, on the registry's own host.
const realmPath = "/.dct2notation/token/"

// RoundTrip implements http.RoundTripper.
func (r *realms) RoundTrip(req *http.Request) (*http.Response, error) {
	if way, ok := r.way(req.URL.Path); ok {
		req = req.Clone(req.Context())
		query := req.URL.RawQuery
		u := *way
		u.RawQuery = query // oras-go has added to what the realm had
		req.URL, req.Host = &u, ""
		resp, err := r.next.RoundTrip(req)
		noteLife(req, resp)
		return resp, err
	}
	resp, err := r.next.RoundTrip(req)
	if err != nil {
		return resp, err
	}
	forToken := noteLife(req, resp)
	if resp.StatusCode == http.StatusForbidden && r.tokens != nil {
		if challenge := r.tokens.refusedJoint(req.URL.Host, req.Header.Get("Authorization")); challenge != "" {
			resp.StatusCode, resp.Header = http.StatusUnauthorized, http.Header{"Www-Authenticate": {challenge}}
			return resp, nil
		}
	}
	if resp.StatusCode != http.StatusUnauthorized {
		return resp, nil
	}
	server := first(req)
	challenge, err := r.choose(server.URL, resp.Header.Values("Www-Authenticate"))
	if err != nil {
		_ = resp.Body.Close() // nothing in it is needed
		return nil, err
	}
	if challenge != "" {
		resp.Header = resp.Header.Clone()
		resp.Header.Set("Www-Authenticate", challenge)
		if r.tokens != nil && server == req && !forToken {
			r.tokens.learn(req.URL, challenge)
		}
	}
	return resp, nil
}

// first returns the request that a redirect was the answer to, or the request itself. Credentials are those of
// its server, whoever it redirects to.
func first(req *http.Request) *http.Request {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return req
}

// CloseIdleConnections lets http.Client's method of that name reach the Transport.
func (r *realms) CloseIdleConnections() {
	if c, ok := r.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (r *realms) way(path string) (*url.URL, bool) {
	number, ok := strings.CutPrefix(path, realmPath)
	if !ok {
		return nil, false
	}
	n, err := strconv.Atoi(number)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || n < 0 || n >= len(r.ways) {
		return nil, false
	}
	return r.ways[n], true
}

// choose returns the one challenge that is answered, of all that a server makes: one for a token
// whose realm may be asked, or else Basic, which the server itself gets. It is empty if there is
// none at all. The error is a [*RealmError], or a [*ChallengeError] if none can be answered.
//
// oras-go looks at the first header alone, and takes only a challenge that begins it.
func (r *realms) choose(server *url.URL, headers []string) (string, error) {
	var schemes []string
	var refused error
	basic := ""
	for _, header := range headers {
		for _, c := range challenges(header) {
			schemes = append(schemes, c.scheme)
			switch strings.ToLower(c.scheme) {
			case "bearer":
				text, err := r.rewrite(server, c.params)
				if err == nil {
					return text, nil
				}
				refused = cmp.Or(refused, err)
			case "basic":
				basic = "Basic realm=" + strconv.Quote(c.params["realm"])
			}
		}
	}
	switch {
	case basic != "":
		return basic, nil
	case refused != nil:
		return "", refused
	case len(schemes) > 0:
		return "", &ChallengeError{server.Host, schemes}
	}
	return "", nil
}

// rewrite judges a challenge for a token and writes it anew, so that nobody reads another realm in
// it than was judged.
func (r *realms) rewrite(server *url.URL, params map[string]string) (string, error) {
	realm, err := url.Parse(params["realm"])
	if err != nil || realm.Host == "" {
		return "", &RealmError{server.Host, params["realm"], "which is no address"}
	}
	if err := r.judge(server, realm); err != nil {
		return "", err
	}
	address := params["realm"]
	if realm.Host != server.Host || realm.Scheme != server.Scheme {
		address = server.Scheme + "://" + server.Host + realmPath + strconv.Itoa(r.number(realm))
		if realm.RawQuery != "" {
			address += "?" + realm.RawQuery
		}
	}
	text := `Bearer realm=` + strconv.Quote(address)
	for _, name := range []string{"service", "scope"} {
		if v, ok := params[name]; ok {
			text += "," + name + "=" + strconv.Quote(v)
		}
	}
	return text, nil
}

func (r *realms) judge(server, realm *url.URL) error {
	host, own := strings.ToLower(realm.Hostname()), strings.ToLower(server.Hostname())
	switch {
	case realm.User != nil:
		return &RealmError{server.Host, realm.Host, "with a user of its own"}
	case realm.Scheme != "https" && (realm.Scheme != "http" || server.Scheme != "http"):
		return &RealmError{server.Host, realm.Host, withoutTLS}
	case host == own, knownRealms[own] == host:
		return nil
	}
	for _, t := range r.trusted {
		if t == host {
			return nil
		}
	}
	return &RealmError{Server: server.Host, Realm: realm.Host}
}

// number remembers a realm, one and the same for the same address.
func (r *realms) number(realm *url.URL) int {
	plain := *realm
	plain.RawQuery, plain.Fragment = "", ""
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, w := range r.ways {
		if *w == plain {
			return i
		}
	}
	r.ways = append(r.ways, &plain)
	return len(r.ways) - 1
}

// challenge is one way in which a server wants to know who asks.
type challenge struct {
	scheme string
	params map[string]string // names in lower case
}

// challenges reads the challenges of one header. What cannot be read in one way only ends it: what
// comes before is judged, and nothing else is passed on.
//
// SPEC (RFC 9110, 11.6.1): challenges with commas between, each a scheme alone, with one token68,
// or with name=token or name="quoted" parameters and commas between these as well.
func challenges(header string) []challenge {
	var all []challenge
	for rest := strings.TrimLeft(header, " \t,"); rest != ""; rest = strings.TrimLeft(rest, " \t,") {
		scheme, after := token(rest)
		if scheme == "" {
			return all
		}
		all = append(all, challenge{scheme: scheme, params: map[string]string{}})
		c := &all[len(all)-1]
		if rest = strings.TrimLeft(after, " \t"); rest == after || rest == "" || rest[0] == ',' {
			if rest != "" && rest[0] != ',' {
				return all
			}
			continue
		}
		if alone, after := token68(rest); alone {
			rest = after
			continue
		}
		for {
			name, value, after, ok := parameter(rest)
			if _, twice := c.params[name]; !ok || twice {
				if len(c.params) == 0 || twice || !another(rest) {
					return all
				}
				break // the next challenge
			}
			c.params[name] = value
			// Some servers leave out the comma.
			if rest = strings.TrimLeft(after, " \t,"); rest == after && rest != "" {
				return all
			}
			if rest == "" {
				break
			}
		}
	}
	return all
}

// token splits off the token that text begins with.
func token(text string) (token, rest string) {
	end := strings.IndexFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}

// token68 reports whether text begins with a token68 that is a challenge's only content.
func token68(text string) (ok bool, rest string) {
	end := strings.IndexAny(text, " \t,")
	if end < 0 {
		end = len(text)
	}
	value := strings.TrimRight(text[:end], "=")
	rest = strings.TrimLeft(text[end:], " \t")
	return value != "" && !strings.ContainsAny(value, `="`) && (rest == "" || rest[0] == ','), rest
}

// another reports whether text begins with a scheme, and not with a parameter.
func another(text string) bool {
	name, rest := token(text)
	return name != "" && !strings.HasPrefix(strings.TrimLeft(rest, " \t"), "=")
}

// parameter reads the parameter that text begins with; its name in lower case.
func parameter(text string) (name, value, rest string, ok bool) {
	name, rest = token(text)
	rest = strings.TrimLeft(rest, " \t")
	if name == "" || !strings.HasPrefix(rest, "=") {
		return "", "", text, false
	}
	rest = strings.TrimLeft(rest[1:], " \t")
	if strings.HasPrefix(rest, `"`) {
		quoted, err := strconv.QuotedPrefix(rest)
		if err == nil {
			value, err = strconv.Unquote(quoted)
		}
		if err != nil {
			return "", "", text, false
		}
		return strings.ToLower(name), value, rest[len(quoted):], true
	}
	end := strings.IndexAny(rest, " \t,")
	if end < 0 {
		end = len(rest)
	}
	return strings.ToLower(name), rest[:end], rest[end:], true
}
