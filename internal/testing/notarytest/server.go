// Package notarytest is a Notary v1 server in this process and a publisher for it, so
// that tests, benchmarks and the demonstration need neither a container nor a network.
//
// The server speaks the routes of notary-server 0.7: trust data by role, by version and by
// checksum, publishing, deletion, both changefeeds, server-held keys, and docker's token
// authentication when asked for. What is published is verified as the real server does it,
// with notary's own builder; snapshot and timestamp are signed here, as docker's default has it.
//
// A Repository publishes as the docker client does, through notary's own client, but
// straight into the server's memory: no TLS, no tokens, no hook, nothing counted. So
// Server.Requests tells what the code under test asked for, and a fault that a test injects
// never breaks the test's own preparation.
//
// The tampering methods of Repository do what somebody could do who holds the keys named in
// their comments: the files around a forged one are signed again and stay consistent. They
// build on what is published at that moment, so several can be combined; break the outer
// file (timestamp, then snapshot) last, because forging an inner one signs it anew. A
// repository whose files no longer verify can be tampered with further, but Publish
// refuses it, as docker does.
//
// Not promised: a file whose expiry has passed is never signed again by a mere GET (the real
// server does that with its own two roles), tokens do not expire, nothing is on disk.
//
// A Server and a Repository may be used from several goroutines at once. Two publishers of
// one GUN race as on the real server: one of them may be told that its version is old.
package notarytest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	// Its init function sets notary's real expiry times (root 10 years, targets and snapshot
	// 3 years, timestamp 14 days). Setting them here again would race with their readers.
	_ "github.com/theupdateframework/notary/client"
	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/tuf/data"

	"github.com/dct2notation/dct2notation/internal/testing/bearer"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// Options configure a server. The zero value is plain HTTP without authentication.
type Options struct {
	// TLS serves HTTPS with a certificate that only CAPEM verifies.
	TLS bool

	// Token requires docker's bearer tokens. The token endpoint is on the same host. GUNs require
	// repository:<gun>:pull or pull,push; /v2/ and the global changefeed require registry:catalog:*.
	Token bool

	// Users are the names and passwords that the token endpoint accepts; they may do
	// everything. If nil, anybody gets a token, for pulling only.
	Users map[string]string

	// Latency is added to each request.
	Latency time.Duration
}

// A Hook may answer a request before the server does; then it returns true. It is called from several goroutines at
// once, with no lock held, so that it may block.
type Hook func(w http.ResponseWriter, r *http.Request) bool

// Server is a running Notary server. Its methods may be called from several goroutines.
type Server struct {
	options  Options
	url      string
	host     string
	listener net.Listener
	http     *http.Server
	ca       []byte
	stopped  chan struct{}

	store      *store   // all trust data
	ownKeys    *keyring // snapshot and timestamp keys: what a malicious server has
	signerKeys *keyring // root, targets and delegation keys: what publishers have
	tokens     *bearer.Tokens

	hook     atomic.Pointer[Hook]
	requests atomic.Int64
}

var quiet sync.Once

// Start runs a server on a free port of 127.0.0.1 until Close. It silences the global
// logrus logger, which notary's packages write to.
func Start(options Options) (*Server, error) {
	quiet.Do(func() { logrus.SetOutput(io.Discard) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting notary test server: %w", err)
	}
	s := &Server{
		options:    options,
		host:       listener.Addr().String(),
		url:        "http://" + listener.Addr().String(),
		listener:   listener,
		stopped:    make(chan struct{}),
		store:      newStore(),
		ownKeys:    newKeyring(),
		signerKeys: newKeyring(),
	}
	s.http = &http.Server{
		Handler:  s,
		ErrorLog: log.New(io.Discard, "", 0), // refused handshakes are part of many tests
		// HTTP/1.1 only, as in notary-server, and so that a hook can hijack the connection.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	if options.TLS {
		config, ca, err := pki.ServerTLS("notarytest authority")
		if err != nil {
			_ = listener.Close()
			return nil, fmt.Errorf("starting notary test server: %w", err)
		}
		s.url, s.ca, s.listener = "https://"+s.host, ca, tls.NewListener(listener, config)
	}
	s.tokens = &bearer.Tokens{Realm: s.url + tokenPath, Service: tokenService, Users: options.Users, PullOnly: options.Users == nil}
	go func() {
		defer close(s.stopped)
		_ = s.http.Serve(s.listener) // ends with Close, and has nothing else to tell
	}()
	return s, nil
}

// URL returns the server's address with scheme and without a path.
func (s *Server) URL() string { return s.url }

// Host returns the server's address as host:port.
func (s *Server) Host() string { return s.host }

// CAPEM returns the certificate authority to trust; nil without TLS.
func (s *Server) CAPEM() []byte { return append([]byte(nil), s.ca...) }

// HTTPClient returns a new client that trusts the server's authority and sends no credentials.
func (s *Server) HTTPClient() *http.Client {
	transport := &http.Transport{}
	if s.options.TLS {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(s.ca)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport}
}

// Close closes all connections and waits until no more are accepted. A hook that ignores its request's context may
// outlive it. Closing twice is harmless.
func (s *Server) Close() {
	_ = s.http.Close()
	<-s.stopped
}

// SetHook installs a hook, or removes it (nil).
func (s *Server) SetHook(h func(w http.ResponseWriter, r *http.Request) bool) {
	if h == nil {
		s.hook.Store(nil)
		return
	}
	hook := Hook(h)
	s.hook.Store(&hook)
}

// Requests counts every request, including those for tokens, challenged ones and those that a hook answered.
func (s *Server) Requests() int64 { return s.requests.Load() }

// ServeHTTP answers one request: first the latency, then the hook, then authentication, then
// the trust data.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	if !pause(r.Context(), s.options.Latency) {
		return
	}
	if hook := s.hook.Load(); hook != nil && (*hook)(w, r) {
		return
	}
	if s.options.Token && r.URL.Path == tokenPath {
		s.tokens.ServeHTTP(w, r)
		return
	}
	target := routeOf(r.Method, r.URL.Path)
	if resource, actions := scopeOf(target); s.options.Token && !s.tokens.Allow(w, r, resource, actions...) {
		return
	}
	s.serve(w, r, target)
}

const (
	tokenPath    = "/auth/token"
	tokenService = "notarytest"
)

// scopeOf returns the permission that a request needs. The real server maps everything that is not about one GUN to
// the catalogue, even /v2/.
func scopeOf(r route) (resource string, actions []string) {
	repository := "repository:" + r.gun
	switch r.kind {
	case fetch, feed:
		return repository, []string{"pull"}
	case publish, askKey:
		return repository, []string{"pull", "push"}
	case erase, newKey:
		return repository, []string{"*"}
	default:
		return "registry:catalog", []string{"*"}
	}
}

// pause waits, and returns false if the client goes away meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// serve answers an allowed request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, target route) {
	switch target.kind {
	case ping:
		_, _ = w.Write([]byte("{}"))
	case fetch:
		raw, ok := s.store.lookUp(target.gun, target.name)
		if !ok {
			refuse(w, http.StatusNotFound, codeNotFound, nil)
			return
		}
		_, _ = w.Write(raw)
	case publish:
		s.servePublish(w, r, target.gun)
	case erase:
		s.store.remove(target.gun)
	case askKey, newKey:
		s.serveKey(w, target)
	case feed, feedOfAll:
		s.serveChanges(w, r, target.gun)
	default:
		refuse(w, http.StatusNotFound, codeNotFound, nil)
	}
}

// An errorCode is an error's code in notary-server.
type errorCode string

const (
	codeNotFound     errorCode = "METADATA_NOT_FOUND"
	codeParameters   errorCode = "INVALID_PARAMETERS"
	codeUpload       errorCode = "MALFORMED_UPLOAD"
	codeJSON         errorCode = "MALFORMED_JSON"
	codeRole         errorCode = "INVALID_ROLE"
	codeUpdate       errorCode = "INVALID_UPDATE"
	codeVersion      errorCode = "VERSION"
	codeUnauthorized errorCode = "UNAUTHORIZED"
	codeUnknown      errorCode = "UNKNOWN"
)

// refuse writes an error in the form of registries and notary-server: a list with one member. Notary's client reads
// the reason of a refused publication from detail.
func refuse(w http.ResponseWriter, status int, code errorCode, detail any) {
	type member struct {
		Code    errorCode `json:"code"`
		Message string    `json:"message"`
		Detail  any       `json:"detail"`
	}
	writeJSON(w, status, map[string][]member{
		"errors": {{Code: code, Message: http.StatusText(status), Detail: detail}},
	})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // not our error if the client went away
}

// A kind is what a request asks for.
type kind int

const (
	unknown   kind = iota
	ping           // GET /v2/
	fetch          // GET a file
	publish        // POST files
	erase          // DELETE a GUN
	askKey         // GET a server-held key
	newKey         // POST: rotate it
	feed           // GET the changefeed of a GUN
	feedOfAll      // GET the changefeed of all
)

// A route is a parsed request. Its name is the last part of the path, without extension.
type route struct {
	kind kind
	gun  string
	name string
}

const (
	prefix    = "/v2/"
	tufPart   = "/_trust/tuf/"
	feedPart  = "/_trust/changefeed"
	globalURL = "/v2/_trust/changefeed"
)

// routeOf parses a request line. GUNs contain slashes, so a GUN is what precedes the last /_trust/.
func routeOf(method, path string) route {
	switch {
	case method == "GET" && path == prefix:
		return route{kind: ping}
	case method == "GET" && path == globalURL:
		return route{kind: feedOfAll}
	case !strings.HasPrefix(path, prefix):
		return route{}
	}
	rest := strings.TrimPrefix(path, prefix)
	if gun, ok := strings.CutSuffix(rest, feedPart); ok && method == "GET" && validGUN(gun) {
		return route{kind: feed, gun: gun}
	}
	at := strings.LastIndex(rest, tufPart)
	if at < 0 || !validGUN(rest[:at]) {
		return route{}
	}
	return tufRoute(method, rest[:at], rest[at+len(tufPart):])
}

// tufRoute parses what follows /_trust/tuf/.
func tufRoute(method, gun, last string) route {
	switch {
	case last == "" && method == "POST":
		return route{kind: publish, gun: gun}
	case last == "" && method == "DELETE":
		return route{kind: erase, gun: gun}
	case last == "timestamp.key" || last == "snapshot.key":
		r := route{kind: askKey, gun: gun, name: strings.TrimSuffix(last, ".key")}
		switch method {
		case "GET":
			return r
		case "POST":
			r.kind = newKey
			return r
		}
		return route{}
	}
	if name, ok := strings.CutSuffix(last, ".json"); ok && method == "GET" {
		return route{kind: fetch, gun: gun, name: name}
	}
	return route{}
}

// validGUN follows the real server's router, which accepts anything without an asterisk.
func validGUN(gun string) bool { return gun != "" && !strings.Contains(gun, "*") }

const rolePattern = `(root|targets(?:/[^/\s]+)*|snapshot|timestamp)`

var (
	byChecksum = regexp.MustCompile(`^` + rolePattern + `\.([a-fA-F0-9]{64})$`)
	byVersion  = regexp.MustCompile(`^([0-9]+)\.` + rolePattern + `$`)
	byRole     = regexp.MustCompile(`^` + rolePattern + `$`)
)

// lookUp finds a file by the name that clients use: role, version.role, role.sha256. It tries the checksum first,
// because it could be taken for a part of the role's name.
func (sh *store) lookUp(gun, name string) ([]byte, bool) {
	if m := byChecksum.FindStringSubmatch(name); m != nil {
		sum := strings.ToLower(m[2])
		v, ok := sh.find(gun, m[1], func(v Version) bool { return v.SHA256 == sum })
		return v.Raw, ok
	}
	if m := byVersion.FindStringSubmatch(name); m != nil {
		number, err := strconv.Atoi(m[1])
		v, ok := sh.find(gun, m[2], func(v Version) bool { return v.Number == number })
		return v.Raw, ok && err == nil
	}
	if m := byRole.FindStringSubmatch(name); m != nil {
		v, ok := sh.latest(gun, m[1])
		return v.Raw, ok
	}
	return nil, false
}

// A direct is the server as notary's client sees it, without HTTP: repositories publish through it. It is a
// storage.RemoteStore.
type direct struct {
	server *Server
	gun    string
}

// GetSized returns a file by its name in URLs; storage.ErrMetaNotFound if it does not exist. It does not enforce the
// size: the bytes come from this process.
func (d direct) GetSized(name string, _ int64) ([]byte, error) {
	raw, ok := d.server.store.lookUp(d.gun, name)
	if !ok {
		return nil, storage.ErrMetaNotFound{Resource: name}
	}
	return bytes.Clone(raw), nil
}

// Set publishes one file.
func (d direct) Set(name string, raw []byte) error {
	return d.SetMulti(map[string][]byte{name: raw})
}

// SetMulti publishes files, all or none.
func (d direct) SetMulti(files map[string][]byte) error {
	return d.server.publish(d.gun, files)
}

// Remove always fails: no server removes single files.
func (d direct) Remove(string) error { return errors.New("single files cannot be removed") }

// RemoveAll deletes the GUN.
func (d direct) RemoveAll() error {
	d.server.store.remove(d.gun)
	return nil
}

// Location returns the server's name for errors.
func (d direct) Location() string { return d.server.host }

// GetKey returns the server's public key for a role.
func (d direct) GetKey(role data.RoleName) ([]byte, error) {
	key, err := d.server.serverKey(d.gun, role)
	if err != nil {
		return nil, err
	}
	return json.Marshal(key)
}

// RotateKey makes a new key.
func (d direct) RotateKey(role data.RoleName) ([]byte, error) {
	key, err := d.server.freshKey(d.gun, role)
	if err != nil {
		return nil, err
	}
	return json.Marshal(key)
}

// serveKey answers with the public half of a key that the server holds.
func (s *Server) serveKey(w http.ResponseWriter, target route) {
	get := s.serverKey
	if target.kind == newKey {
		get = s.freshKey
	}
	key, err := get(target.gun, data.RoleName(target.name))
	if err != nil {
		refuse(w, http.StatusInternalServerError, codeUnknown, err.Error())
		return
	}
	writeJSON(w, http.StatusOK, key)
}

// serverKey returns the key that the stored root names for the role, if the server holds it. Otherwise it makes a new
// one for each request, as the real server does: only the root that is published later decides which of them counts.
func (s *Server) serverKey(gun string, role data.RoleName) (data.PublicKey, error) {
	if root, ok := s.store.latestRoot(gun); ok {
		if named, err := root.BuildBaseRole(role); err == nil {
			for id := range named.Keys {
				if key := s.ownKeys.GetKey(id); key != nil {
					return key, nil
				}
			}
		}
	}
	return s.freshKey(gun, role)
}

// freshKey makes a key. It counts once a root that names it is published.
func (s *Server) freshKey(gun string, role data.RoleName) (data.PublicKey, error) {
	return s.ownKeys.Create(role, data.GUN(gun), data.ECDSAKey)
}

// defaultRecords is how many changes records=0 returns, as on the real server.
const defaultRecords = 100

// A feedPage is the answer of both changefeeds; Records is null at the end, as from the real server.
type feedPage struct {
	Count   int      `json:"count"`
	Records []change `json:"records"`
}

// serveChanges answers a changefeed, of one GUN or, if gun is empty, of all.
func (s *Server) serveChanges(w http.ResponseWriter, r *http.Request, gun string) {
	query := r.URL.Query()
	records, err := strconv.ParseInt(query.Get("records"), 10, 32)
	if err != nil {
		refuse(w, http.StatusBadRequest, codeParameters, err.Error())
		return
	}
	after := int64(0)
	if id := query.Get("change_id"); id != "" {
		if after, err = strconv.ParseInt(id, 10, 32); err != nil {
			refuse(w, http.StatusBadRequest, codeParameters, err.Error())
			return
		}
	}
	if records == 0 {
		records = defaultRecords
	}
	page := s.store.page(gun, int(after), int(records))
	writeJSON(w, http.StatusOK, feedPage{Count: len(page), Records: page})
}

// page returns up to records changes after the given number, or, if either argument is negative, up to -records
// changes before it. -1 is after the newest. Both ways the oldest comes first.
func (sh *store) page(gun string, after, records int) []change {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	backwards := after < 0 || records < 0
	if after < 0 || after > len(sh.changes) {
		// One more than the number of the newest, so that the newest is included backwards.
		after = len(sh.changes) + 1
	}
	if records < 0 {
		records = -records
	}
	var page []change
	take := func(c change) bool {
		if gun == "" || c.GUN == gun {
			page = append(page, c)
		}
		return len(page) < records
	}
	if !backwards {
		for i := after; i < len(sh.changes) && take(sh.changes[i]); i++ {
		}
		return page
	}
	for i := after - 2; i >= 0 && take(sh.changes[i]); i-- {
	}
	slices.Reverse(page)
	return page
}
