package transport

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
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
	why := "which is neither its own host nor one that is allowed\nhint: if that is its token server, name it with --token-host"
	if e.Why != "" {
		why = e.Why
	}
	return fmt.Sprintf("%s wants credentials sent to %s, %s", e.Server, RedactText(e.Realm), why)
}

// realms rewrites challenges on their way up and requests for tokens on their way down.
type realms struct {
	next    http.RoundTripper
	trusted []string // host names, in lower case

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
		return r.next.RoundTrip(req)
	}
	resp, err := r.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	challenge, err := r.rewrite(req.URL, resp.Header.Get("Www-Authenticate"))
	if err != nil {
		_ = resp.Body.Close() // nothing in it is needed
		return nil, err
	}
	resp.Header = resp.Header.Clone()
	resp.Header.Set("Www-Authenticate", challenge)
	return resp, nil
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

// rewrite judges a challenge and writes it anew, so that nobody reads another realm in it
// than was judged. A challenge that asks for no token is left as it is: its answer goes to
// the server itself.
func (r *realms) rewrite(server *url.URL, challenge string) (string, error) {
	params, ok := bearer(challenge)
	if !ok {
		return challenge, nil
	}
	realm, err := url.Parse(params["realm"])
	if err != nil || realm.Host == "" {
		return "", &RealmError{server.Host, params["realm"], "which is no address"}
	}
	if err := r.judge(server, realm); err != nil {
		return "", err
	}
	if realm.Host != server.Host || realm.Scheme != server.Scheme {
		params["realm"] = server.Scheme + "://" + server.Host + realmPath + strconv.Itoa(r.number(realm))
		if realm.RawQuery != "" {
			params["realm"] += "?" + realm.RawQuery
		}
	}
	text := `Bearer realm=` + strconv.Quote(params["realm"])
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
		return &RealmError{server.Host, realm.Host, "without TLS"}
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

// bearer reads the parameters of a challenge that asks for a token, their names in lower
// case; false where it is none or cannot be read in one way only.
//
// SPEC (RFC 9110, 11.6.1): scheme, then name=token or name="quoted" with commas between.
func bearer(challenge string) (map[string]string, bool) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(challenge), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return nil, false
	}
	params := map[string]string{}
	for rest = strings.TrimLeft(rest, " \t,"); rest != ""; rest = strings.TrimLeft(rest, " \t,") {
		name, value, ok := strings.Cut(rest, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := params[name]; !ok || name == "" || twice {
			return params, true // what is read so far is judged, and nothing else is passed on
		}
		value = strings.TrimLeft(value, " \t")
		if strings.HasPrefix(value, `"`) {
			quoted, err := strconv.QuotedPrefix(value)
			if err != nil {
				return params, true
			}
			rest = value[len(quoted):]
			if value, err = strconv.Unquote(quoted); err != nil {
				return params, true
			}
		} else {
			end := strings.IndexAny(value, " \t,")
			if end < 0 {
				end = len(value)
			}
			value, rest = value[:end], value[end:]
		}
		params[name] = value
	}
	return params, true
}
