package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// A tokenCache keeps the tokens of one client, and asks for them ahead. oras-go sends a request without a token,
// is told where tokens are issued, and asks there: two requests for each repository. Once a server has said
// it, a token is asked for before it is needed, for several repositories at once where these are expected.
//
// Nothing that is asked for ahead decides anything: if the token server does not give it, or the server does
// not take it, the request is made as oras-go makes it, and its answer counts. It is an [auth.Cache], and
// safe for concurrent use.
type tokenCache struct {
	auth.Cache              // of what is no token
	client     *auth.Client // whose tokens these are

	// Who asks for a token has the lock that its name falls to, so that nobody else asks for the same.
	locks [64]chan struct{}
	seed  maphash.Seed

	mu      sync.Mutex
	servers map[string]*tokenServer // by host[:port]; guarded by mu
	known   map[string]knownToken   // by server and scopes; guarded by mu
}

// tokenServer is what a server has said of its tokens. The fields are guarded by tokenCache's mu.
type tokenServer struct {
	address   *url.URL       // of the server
	challenge string         // where tokens for it are issued, as it was judged; without a scope
	given     bool           // they were
	unwanted  bool           // a token that was asked for ahead was no use
	refusals  int            // of tokens for several scopes
	expected  []string       // scopes, in the order in which they will be asked for
	at        map[string]int // where each of them is
}

type knownToken struct {
	token string
	got   time.Time
	until time.Time // when it should be renewed; zero: its server has not said
	ahead bool      // it was asked for before the server wanted it
	joint bool      // it is for other scopes as well
}

const (
	maxKnownTokens   = 1024    // of one client, before all are asked for anew
	maxJointScopes   = 16      // of one token
	maxJointQuery    = 2000    // bytes of these
	maxJointToken    = 4 << 10 // bytes: servers bound the length of headers
	maxJointRefusals = 3       // of tokens for several scopes, before each is asked for alone
	leastLife        = 10 * time.Second
	maxTokenAnswer   = 128 << 10
)

func newTokenCache(client *auth.Client) *tokenCache {
	t := &tokenCache{Cache: auth.NewCache(), client: client, seed: maphash.MakeSeed(), servers: map[string]*tokenServer{}, known: map[string]knownToken{}}
	for i := range t.locks {
		t.locks[i] = make(chan struct{}, 1)
	}
	return t
}

// Expect says which scopes will be asked for at a host, in which order, so that one token can be for several.
// It is for servers whose refusal of a token is an error: a registry may answer instead that it has no such
// repository, which would be believed.
func Expect(c *auth.Client, host string, scopes []string) {
	t, ok := c.Cache.(*tokenCache)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.server(host)
	s.expected, s.at = scopes, make(map[string]int, len(scopes))
	for i, scope := range scopes {
		s.at[scope] = i
	}
}

// server returns that of a host. The caller holds mu.
func (t *tokenCache) server(host string) *tokenServer {
	s, ok := t.servers[host]
	if !ok {
		s = &tokenServer{}
		t.servers[host] = s
	}
	return s
}

// learn notes where a server says that its tokens are issued. The challenge is one that was judged.
func (t *tokenCache) learn(server *url.URL, challenge string) {
	all := challenges(challenge)
	if len(all) != 1 || !strings.EqualFold(all[0].scheme, "bearer") {
		return
	}
	text := "Bearer realm=" + strconv.Quote(all[0].params["realm"])
	if service, ok := all[0].params["service"]; ok {
		text += ",service=" + strconv.Quote(service)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.server(server.Host)
	s.address, s.challenge = server, text
}

// refusedJoint returns the challenge of a server that has refused a token for several scopes; empty: it has
// refused another.
func (t *tokenCache) refusedJoint(host, authorization string) string {
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	if !ok {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, k := range t.known {
		if k.joint && k.token == token && strings.HasPrefix(name, host+" ") {
			return t.server(host).challenge
		}
	}
	return ""
}

// GetScheme is [auth.Cache]'s.
func (t *tokenCache) GetScheme(ctx context.Context, host string) (auth.Scheme, error) {
	t.mu.Lock()
	s, ok := t.servers[host]
	bearer := ok && s.given
	t.mu.Unlock()
	if bearer {
		return auth.SchemeBearer, nil
	}
	return t.Cache.GetScheme(ctx, host)
}

// GetToken is [auth.Cache]'s. It asks for the token if it knows where, and returns an error if there is none
// then.
func (t *tokenCache) GetToken(ctx context.Context, host string, scheme auth.Scheme, scopes string) (string, error) {
	if scheme != auth.SchemeBearer {
		return t.Cache.GetToken(ctx, host, scheme, scopes)
	}
	k, fresh, s := t.have(host, scopes)
	switch {
	case k.token == "" && !s.usable(scopes):
		return "", errdef.ErrNotFound
	case fresh || !s.usable(scopes):
		return k.token, nil // the server says if it has ended
	}
	name := host + " " + scopes
	if len(s.expected) > 0 {
		name = host // one request for several
	}
	unlock, err := t.lock(ctx, name)
	if err != nil {
		return "", err
	}
	defer unlock()
	if k, fresh, s = t.have(host, scopes); fresh {
		return k.token, nil
	}
	for _, wanted := range [][]string{t.together(host, s, scopes), {scopes}} {
		if len(wanted) == 0 {
			continue
		}
		k, err := t.ask(ctx, s, wanted)
		joint := len(wanted) > 1
		if err == nil && (!joint || len(k.token) <= maxJointToken) {
			k.joint = joint
			t.keep(host, wanted, k)
			return k.token, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		t.useless(host, joint, err)
	}
	return "", errdef.ErrNotFound
}

// usable reports whether a token for these scopes can be asked for ahead.
func (s tokenServer) usable(scopes string) bool {
	return s.challenge != "" && !s.unwanted && strings.HasPrefix(scopes, "repository:")
}

// have returns what is known of a token and its server, and whether no other need be asked for.
func (t *tokenCache) have(host, scopes string) (k knownToken, fresh bool, s tokenServer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.servers[host]; ok {
		s = *known
	}
	k = t.known[host+" "+scopes]
	fresh = k.token != "" && (k.until.IsZero() || time.Now().Before(k.until)) && (!k.joint || s.refusals < maxJointRefusals)
	return k, fresh, s
}

// together returns the scopes that a token is asked for together with one, which is the first; none: it is
// asked for alone.
func (t *tokenCache) together(host string, s tokenServer, scope string) []string {
	i, ok := s.at[scope]
	if !ok || s.refusals >= maxJointRefusals {
		return nil
	}
	all, size := []string{scope}, len(scope)
	for _, next := range s.expected[i+1:] {
		if size += len(next); len(all) == maxJointScopes || size > maxJointQuery {
			break
		}
		if _, fresh, _ := t.have(host, next); !fresh {
			all = append(all, next)
		}
	}
	if len(all) == 1 {
		return nil
	}
	return all
}

// keep keeps a token for each of its scopes.
func (t *tokenCache) keep(host string, scopes []string, k knownToken) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known)+len(scopes) > maxKnownTokens {
		clear(t.known)
	}
	t.server(host).given = true
	for _, scope := range scopes {
		t.known[host+" "+scope] = k
	}
}

// useless notes that a token was not given, or was not taken. That one scope is refused says nothing of the
// others.
func (t *tokenCache) useless(host string, joint bool, err error) {
	var answer *errcode.ErrorResponse
	t.mu.Lock()
	defer t.mu.Unlock()
	switch s := t.server(host); {
	case joint:
		s.refusals++
	case !errors.As(err, &answer) || answer.StatusCode != http.StatusUnauthorized && answer.StatusCode != http.StatusForbidden:
		s.unwanted = true
	}
}

// Set is [auth.Cache]'s: a server wants a token, and has not taken the one that was there.
func (t *tokenCache) Set(ctx context.Context, host string, scheme auth.Scheme, scopes string, fetch func(context.Context) (string, error)) (string, error) {
	if scheme != auth.SchemeBearer {
		t.mu.Lock()
		t.server(host).given = false // they were before
		t.mu.Unlock()
		return t.Cache.Set(ctx, host, scheme, scopes, fetch)
	}
	began := time.Now()
	unlock, err := t.lock(ctx, host+" "+scopes)
	if err != nil {
		return "", err
	}
	defer unlock()
	k, _, _ := t.have(host, scopes)
	if k.token != "" && k.got.After(began) && !k.joint { // another has asked meanwhile
		return k.token, nil
	}
	asked := strings.Join(auth.GetAllScopesForHost(ctx, host), " ")
	if k, fresh, _ := t.have(host, asked); fresh && k.ahead && k.got.Before(began) {
		t.useless(host, k.joint, errors.New("not taken"))
	}
	k, err = living(ctx, fetch)
	if err == nil {
		t.keep(host, []string{scopes}, k)
	}
	return k.token, err
}

// lock waits until nobody else asks for what falls to the same lock.
func (t *tokenCache) lock(ctx context.Context, name string) (unlock func(), err error) {
	lock := t.locks[maphash.String(t.seed, name)%uint64(len(t.locks))]
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask asks for a token as oras-go does that is told by the server where: credentials, forms and redirects are
// its business.
func (t *tokenCache) ask(ctx context.Context, s tokenServer, scopes []string) (knownToken, error) {
	ctx = auth.WithScopesForHost(ctx, s.address.Host, scopes...)
	address := url.URL{Scheme: s.address.Scheme, Host: s.address.Host, Path: aheadPath}
	k, err := living(ctx, func(ctx context.Context) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
		if err != nil {
			return "", err
		}
		told, client := &teller{next: t.client.Client.Transport, challenge: s.challenge}, *t.client
		client.Cache, client.Client = nil, &http.Client{Transport: told, CheckRedirect: t.client.Client.CheckRedirect}
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		_ = resp.Body.Close() // there is none
		if told.token == "" {
			return "", fmt.Errorf("asking for a token: answered %d", resp.StatusCode)
		}
		return told.token, nil
	})
	k.ahead = true
	return k, err
}

// aheadPath is where a server seems to want a token.
const aheadPath = "/.dct2notation/ahead"

// A teller is the server of one request that needs a token: it says where tokens are issued, and takes one.
// All else is sent.
type teller struct {
	next      http.RoundTripper
	challenge string
	token     string
}

// RoundTrip implements http.RoundTripper.
func (a *teller) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path != aheadPath {
		return a.next.RoundTrip(req)
	}
	resp := &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{}, Body: http.NoBody, Request: req}
	if token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer "); ok {
		a.token, resp.StatusCode = token, http.StatusOK
		return resp, nil
	}
	resp.Header.Set("Www-Authenticate", a.challenge)
	return resp, nil
}

type lifeKey struct{}

// living fetches a token and notes how long its server says that it lives.
func living(ctx context.Context, fetch func(context.Context) (string, error)) (knownToken, error) {
	var life time.Duration
	k := knownToken{got: time.Now()}
	token, err := fetch(context.WithValue(ctx, lifeKey{}, &life))
	if err != nil {
		return knownToken{}, err
	}
	if k.token = token; life > 0 {
		k.until = k.got.Add(max(life, leastLife) * 4 / 5)
	}
	return k, nil
}

// noteLife notes for [living] what a token server says of a token's life, and reports whether the request was
// for a token.
//
// SPEC (distribution, token authentication: expires_in, in seconds).
func noteLife(req *http.Request, resp *http.Response) bool {
	life, ok := req.Context().Value(lifeKey{}).(*time.Duration)
	if !ok || resp == nil || resp.StatusCode != http.StatusOK || resp.Body == nil {
		return ok
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenAnswer))
	rest := io.Reader(resp.Body)
	if err != nil {
		rest = afterError{err}
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(data), rest), resp.Body}
	var answer struct {
		ExpiresIn int64 `json:"expires_in"`
	}
	if json.Unmarshal(data, &answer) == nil && answer.ExpiresIn > 0 {
		*life = time.Duration(min(answer.ExpiresIn, 24*60*60)) * time.Second
	}
	return true
}
