package notarytest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	// Its init function sets notary's real expiry times (root 10 years, targets and snapshot
	// 3 years, timestamp 14 days). Setting them here again would race with their readers.
	_ "github.com/theupdateframework/notary/client"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// Options say how a server behaves. The zero value is plain HTTP without authentication.
type Options struct {
	// TLS serves HTTPS with a certificate that only CAPEM vouches for.
	TLS bool

	// Token asks for docker's bearer tokens. The token endpoint is on the same host.
	// GUNs want repository:<gun>:pull or pull,push; /v2/ and the global changefeed want
	// registry:catalog:*.
	Token bool

	// Users are the names and passwords that the token endpoint accepts; they may do
	// everything. If nil, anybody gets a token, for pulling only.
	Users map[string]string

	// Latency is added to each request.
	Latency time.Duration
}

// A Hook may answer a request before the server does; it then returns true. It is called
// from several goroutines at once, with no lock held, so that it may block.
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

	shelf      *shelf   // all trust data
	ownKeys    *keyring // snapshot and timestamp keys: what a malicious server has
	signerKeys *keyring // root, targets and delegation keys: what publishers have
	tokens     tokens

	hook     atomic.Pointer[Hook]
	requests atomic.Int64
	pathsMu  sync.Mutex
	paths    map[string]int64 // guarded by pathsMu
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
		shelf:      newShelf(),
		ownKeys:    newKeyring(),
		signerKeys: newKeyring(),
		tokens:     tokens{grants: make(map[string][]scope)},
		paths:      make(map[string]int64),
	}
	s.http = &http.Server{
		Handler:  s,
		ErrorLog: log.New(io.Discard, "", 0), // refused handshakes are part of many tests
		// HTTP/1.1 only, as notary-server, and so that a hook can hijack the connection.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	if options.TLS {
		if err := s.enableTLS(); err != nil {
			_ = listener.Close()
			return nil, fmt.Errorf("starting notary test server: %w", err)
		}
	}
	go func() {
		defer close(s.stopped)
		_ = s.http.Serve(s.listener) // ends with Close, and has nothing else to tell
	}()
	return s, nil
}

// enableTLS puts a certificate of a new authority before the listener.
func (s *Server) enableTLS() error {
	authority, err := pki.NewAuthority("notarytest authority")
	if err != nil {
		return err
	}
	server, err := authority.Issue("notarytest", nil, pki.Server())
	if err != nil {
		return err
	}
	s.ca = authority.CertificatePEM()
	s.url = "https://" + s.host
	s.listener = tls.NewListener(s.listener, &tls.Config{
		Certificates: []tls.Certificate{server.TLS()},
		MinVersion:   tls.VersionTLS12,
	})
	return nil
}

// URL is the server's address with scheme and without a path.
func (s *Server) URL() string { return s.url }

// Host is the server's address as host:port.
func (s *Server) Host() string { return s.host }

// CAPEM is the certificate authority to trust, nil without TLS.
func (s *Server) CAPEM() []byte { return append([]byte(nil), s.ca...) }

// HTTPClient returns a client of its own that trusts the server's authority and sends no
// credentials.
func (s *Server) HTTPClient() *http.Client {
	transport := &http.Transport{}
	if s.options.TLS {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(s.ca)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport}
}

// Close cuts all connections and waits until nobody is accepted any more. A hook that
// ignores its request's context may outlive it. Closing twice is harmless.
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

// Requests counts everything that arrived, also tokens, challenges and what a hook answered.
func (s *Server) Requests() int64 { return s.requests.Load() }

// RequestsByPath counts requests by URL path, without what authentication costs: the token
// endpoint, and requests that were answered with a challenge.
func (s *Server) RequestsByPath() map[string]int64 {
	s.pathsMu.Lock()
	defer s.pathsMu.Unlock()
	return maps.Clone(s.paths)
}
