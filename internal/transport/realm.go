package transport

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// A server that wants a token names the address that issues it, its realm, and the user's credentials are sent there.
// So anyone who answers for a registry, or changes one answer, could have them sent anywhere. We send them only to
// the registry's own host (at any port), to known token servers of registries, and to hosts that the user names.
//
// oras-go's client, which answers the challenges, has another rule: any public host, but no private one except the
// registry's own. Self-hosted token servers are private. So an allowed realm is presented to oras-go as an address of
// the registry itself, and forwarded from there.

// knownRealms are the token servers of registries that have them on another host.
var knownRealms = map[string]string{
	dockerHub:                   "auth.docker.io",
	"notary.docker.io":          "auth.docker.io",
	"registry.gitlab.com":       "gitlab.com",
	"registry.digitalocean.com": "api.digitalocean.com",
}

// A RealmError says that a server wants credentials sent to a host that is not allowed. Nothing was sent there.
type RealmError struct {
	Server, Realm string // hosts
	Why           string // empty: it is not allowed
}

func (e *RealmError) Error() string {
	why := cmp.Or(e.Why, "which is neither its own host nor one that is allowed")
	return fmt.Sprintf("%s wants credentials sent to %s, %s", e.Server, RedactText(e.Realm), why)
}

// withoutTLS is the reason not to send credentials to a realm without TLS that a server with TLS names.
const withoutTLS = "without TLS"

// A ChallengeError says that a server offers only unknown ways to authenticate.
type ChallengeError struct {
	Server  string
	Schemes []string // the server offers
}

func (e *ChallengeError) Error() string {
	return fmt.Sprintf("%s asks for a login by %s, and only Basic and Bearer can be answered",
		e.Server, safetext.Safe(strings.Join(e.Schemes, ", "), 200))
}

// realms rewrites challenges in responses and token requests on their way out.
type realms struct {
	next    http.RoundTripper
	trusted []string    // host names, in lower case
	tokens  *tokenCache // learns where tokens are issued; may be nil

	mu   sync.Mutex
	ways []way // by number
}

// A way is the address of a token server, known to the registry that named it and to no other: only for that one has
// it been judged, and only that one's credentials may go there.
type way struct{ server, realm url.URL }

// realmPath is where the token servers appear to be, on the registry's own host.
const realmPath = "/.dct2notation/token/"

// RoundTrip implements http.RoundTripper.
func (r *realms) RoundTrip(req *http.Request) (*http.Response, error) {
	if u, ok := r.way(req.URL); ok {
		req = req.Clone(req.Context())
		u.RawQuery = req.URL.RawQuery // the realm's query, with what oras-go added
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
		_ = resp.Body.Close() // its content is not needed
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

// first returns the request that was redirected, or the request itself. Credentials belong to its server, wherever it
// redirects.
func first(req *http.Request) *http.Request {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return req
}

// CloseIdleConnections makes http.Client's method of that name reach the Transport.
func (r *realms) CloseIdleConnections() {
	if c, ok := r.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// way returns the address of the token server that is known under an address of a registry.
func (r *realms) way(at *url.URL) (realm url.URL, ok bool) {
	number, ok := strings.CutPrefix(at.Path, realmPath)
	if !ok {
		return url.URL{}, false
	}
	n, err := strconv.Atoi(number)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || n < 0 || n >= len(r.ways) || r.ways[n].server != origin(at) {
		return url.URL{}, false
	}
	return r.ways[n].realm, true
}

// origin returns the scheme and host of an address.
func origin(u *url.URL) url.URL { return url.URL{Scheme: u.Scheme, Host: u.Host} }

// choose returns the one challenge to answer among all that a server makes: one for a token whose realm is allowed,
// or else Basic, which goes to the server itself. It is empty if there is no challenge at all. The error is a
// [*RealmError], or a [*ChallengeError] if none can be answered.
//
// oras-go reads only the first header, and only a challenge at its beginning.
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

// rewrite judges a challenge for a token and writes it again, so that nobody can read a different realm in it.
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
		address = server.Scheme + "://" + server.Host + realmPath + strconv.Itoa(r.number(server, realm))
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

// number stores a server's realm and returns its number, the same for the same address.
func (r *realms) number(server, realm *url.URL) int {
	known := way{origin(server), *realm}
	known.realm.RawQuery, known.realm.Fragment = "", ""
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.ways, known); i >= 0 {
		return i
	}
	r.ways = append(r.ways, known)
	return len(r.ways) - 1
}

// challenge is one way to authenticate that a server offers.
type challenge struct {
	scheme string
	params map[string]string // names in lower case
}

// challenges reads the challenges of one header. It stops at anything ambiguous: only what comes before is judged and
// passed on.
//
// SPEC (RFC 9110, 11.6.1): challenges separated by commas, each a scheme alone, with one token68, or with
// comma-separated name=token or name="quoted" parameters.
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
				break // the next challenge begins
			}
			c.params[name] = value
			// Some servers omit the comma.
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

// token returns the token at the beginning of text, and the rest.
func token(text string) (token, rest string) {
	end := strings.IndexFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}

// token68 reports whether text begins with a token68 that is the challenge's only content.
func token68(text string) (ok bool, rest string) {
	end := strings.IndexAny(text, " \t,")
	if end < 0 {
		end = len(text)
	}
	value := strings.TrimRight(text[:end], "=")
	rest = strings.TrimLeft(text[end:], " \t")
	return value != "" && !strings.ContainsAny(value, `="`) && (rest == "" || rest[0] == ','), rest
}

// another reports whether text begins with a scheme rather than a parameter.
func another(text string) bool {
	name, rest := token(text)
	return name != "" && !strings.HasPrefix(strings.TrimLeft(rest, " \t"), "=")
}

// parameter reads the parameter at the beginning of text. Its name is returned in lower case.
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
