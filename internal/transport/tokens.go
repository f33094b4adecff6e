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
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// A tokenCache keeps the tokens of one client, and requests them in advance. For each repository, oras-go sends a
// request without a token, learns where tokens are issued, and requests one there: two requests. Once a server has
// said where, we request a token before it is needed, and for several repositories at once if these are expected.
//
// No token requested in advance decides anything: if the token server does not give it, or the server does not accept
// it, oras-go makes the request in its own way, and that answer counts. It is an [auth.Cache], and safe for
// concurrent use.
type tokenCache struct {
	auth.Cache              // for everything but tokens
	client     *auth.Client // whose tokens these are

	// A goroutine that requests a token holds the lock its name falls to, so that no other requests the same one.
	locks [64]chan struct{}
	seed  maphash.Seed

	mu      sync.Mutex
	servers map[string]*tokenServer // by host[:port]; guarded by mu
	known   map[string]knownToken   // by server and scopes; guarded by mu
}

// tokenServer is what a server has said about its tokens. tokenCache's mu guards the fields.
type tokenServer struct {
	address   *url.URL // of the server
	challenge string   // the judged challenge, without a scope
	given     bool     // a token was issued
	unwanted  bool     // a token requested in advance was useless
	refusals  int      // refused tokens for several scopes
	expected  []string // scopes, in the order in which they will be needed
}

type knownToken struct {
	token string
	got   time.Time
	until time.Time // when to renew it; zero: unknown
	ahead bool      // requested before the server wanted it
	joint bool      // also for other scopes
}

// mayHaveEnded reports whether a token whose lifetime is not said may be over.
//
// SPEC (distribution, token authentication): expires_in, "if omitted, this defaults to 60 seconds".
func (k knownToken) mayHaveEnded() bool { return k.until.IsZero() && time.Since(k.got) >= time.Minute }

const (
	maxKnownTokens   = 1024    // of one client, before all are forgotten
	maxJointScopes   = 16      // of one token
	maxJointQuery    = 2000    // bytes of these
	maxJointToken    = 4 << 10 // bytes: servers limit the length of headers
	maxJointRefusals = 3       // of tokens for several scopes, before each is requested alone
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

// Expect says which scopes will be needed at a host, and in which order, so that one token can cover several. Use it
// only for servers whose refusal of a token is an error: a registry may instead answer that it has no such
// repository, and we would believe that.
func Expect(c *auth.Client, host string, scopes []string) {
	t, ok := c.Cache.(*tokenCache)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.server(host).expected = scopes
}

// server returns the tokenServer of a host. The caller holds mu.
func (t *tokenCache) server(host string) *tokenServer {
	s, ok := t.servers[host]
	if !ok {
		s = &tokenServer{}
		t.servers[host] = s
	}
	return s
}

// learn records where a server says that its tokens are issued. The challenge has been judged.
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

// refusedJoint returns the challenge of a server that refused a token for several scopes, or the empty string if it
// refused another token.
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

// GetScheme implements [auth.Cache].
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

// GetToken implements [auth.Cache]. It requests the token if it knows where, and returns an error if it then has
// none.
func (t *tokenCache) GetToken(ctx context.Context, host string, scheme auth.Scheme, scopes string) (string, error) {
	if scheme != auth.SchemeBearer {
		return t.Cache.GetToken(ctx, host, scheme, scopes)
	}
	k, fresh, s := t.have(host, scopes)
	switch {
	case k.token == "" && !s.usable(scopes):
		return "", errdef.ErrNotFound
	case fresh || !s.usable(scopes):
		return k.token, nil // the server says if it has expired
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
	k, fresh, s = t.have(host, scopes)
	switch {
	case fresh:
		return k.token, nil
	case !s.usable(scopes): // found out while we waited
		return "", errdef.ErrNotFound
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

// usable reports whether a token for these scopes can be requested in advance.
func (s tokenServer) usable(scopes string) bool {
	return s.challenge != "" && !s.unwanted && strings.HasPrefix(scopes, "repository:")
}

// have returns what is known of a token and its server, and whether the token can still be used.
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

// together returns the scopes to request in one token, beginning with scope, or none if scope is requested alone.
func (t *tokenCache) together(host string, s tokenServer, scope string) []string {
	if s.refusals >= maxJointRefusals {
		return nil
	}
	i := slices.Index(s.expected, scope)
	if i < 0 {
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

// keep stores a token for each of its scopes.
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

// useless records that a token was not issued, or not accepted. The refusal of one scope says nothing about the
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

// Set implements [auth.Cache]. It is called when a server wants a token, and did not accept an existing one.
func (t *tokenCache) Set(ctx context.Context, host string, scheme auth.Scheme, scopes string, fetch func(context.Context) (string, error)) (string, error) {
	if scheme != auth.SchemeBearer {
		t.mu.Lock()
		t.server(host).given = false // it issued them before
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
	if k.token != "" && k.got.After(began) && !k.joint { // another goroutine got one meanwhile
		return k.token, nil
	}
	asked := strings.Join(auth.GetAllScopesForHost(ctx, host), " ")
	if k, fresh, _ := t.have(host, asked); fresh && k.ahead && k.got.Before(began) && !k.mayHaveEnded() {
		t.useless(host, k.joint, errors.New("not taken"))
	}
	k, err = living(ctx, fetch)
	if err == nil {
		t.keep(host, []string{scopes}, k)
	}
	return k.token, err
}

// lock waits until no other goroutine requests a token under the same lock.
func (t *tokenCache) lock(ctx context.Context, name string) (unlock func(), err error) {
	lock := t.locks[maphash.String(t.seed, name)%uint64(len(t.locks))]
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask requests a token as oras-go does when the server says where. oras-go handles credentials, forms and redirects.
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
		_ = resp.Body.Close() // it is empty
		if told.token == "" {
			return "", fmt.Errorf("asking for a token: answered %d", resp.StatusCode)
		}
		return told.token, nil
	})
	k.ahead = true
	return k, err
}

// aheadPath is the path on the server that seems to want a token.
const aheadPath = "/.dct2notation/ahead"

// A teller plays the server for one request that needs a token: it says where tokens are issued, and accepts one. It
// sends all other requests.
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

// A TokenError says that a server wants a token, and the token server issues none. An answer in it is the token
// server's: its 404 says nothing of what the server has.
type TokenError struct{ Err error }

func (e *TokenError) Error() string { return e.Err.Error() }
func (e *TokenError) Unwrap() error { return e.Err }

type lifeKey struct{}

// living fetches a token and records its lifetime as stated by the server.
func living(ctx context.Context, fetch func(context.Context) (string, error)) (knownToken, error) {
	var life time.Duration
	k := knownToken{got: time.Now()}
	token, err := fetch(context.WithValue(ctx, lifeKey{}, &life))
	if err != nil {
		return knownToken{}, &TokenError{err}
	}
	if k.token = token; life > 0 {
		k.until = k.got.Add(max(life, leastLife) * 4 / 5)
	}
	return k, nil
}

// noteLife records for [living] what a token server says of a token's lifetime, and reports whether the request was
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
