// Package registrytest is a container registry on 127.0.0.1, for tests, benchmarks and the demo.
//
// It is go-containerregistry's in-memory registry behind an HTTP server of our own, and it promises
// what that registry leaves out but real ones do, since a product tested without it passes for the
// wrong reason:
//
//   - with the referrers API: the OCI-Subject answer header, artifactType taken from the config when a
//     manifest has none, the artifactType filter, no 404, and the order of arrival. Lists come from an
//     index, so they cost the same with ten images in the repository or ten thousand;
//   - without it: 404, which sends clients to the sha256-<hex> tag;
//   - blobs belong to a repository, and a manifest whose blobs are not there is refused;
//   - deleting a digest takes its tags along; tag and catalogue lists are cut in pages with Link headers;
//   - a manifest pushed under a digest that is not its own is refused.
//
// What goes wrong in the field is switched on by Options (tokens, latency, refused
// deletes) or scripted with SetHook, which can also perform a request and lose its answer.
//
// Put, Tag, Delete, Resolve, Signatures and SignatureBlob go straight to the store: no network, no
// credentials, no latency, no hook, and neither Requests nor Log mentions them. All methods may be
// called from several goroutines at once.
//
// Not promised: storage limits, cross-repository mounts (answered with an upload session, as the
// specification allows), refresh tokens, pages in referrers lists.
package registrytest

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// Options configure a registry. The zero value is open, plain HTTP, without delay, and without the referrers API.
type Options struct {
	// Referrers turns the referrers API on. Off, clients must keep the sha256-<hex> tag themselves.
	Referrers bool
	// TLS serves HTTPS with a certificate of an authority made for this registry: see CAPEM.
	TLS bool
	// Token requires bearer tokens, each valid for the repository and actions it was requested for. The realm is on
	// the same host and port. Without it, Users means basic authentication.
	Token bool
	// Users are names and passwords. Empty: anyone, and with Token anyone gets a token.
	Users map[string]string
	// Latency is added to every request before anything else happens.
	Latency time.Duration
	// RefuseDelete answers every DELETE with 405.
	RefuseDelete bool
	// TwoStepUploads treats a POST with a whole blob as the beginning of its upload and discards the bytes, as
	// distribution does and the specification allows. Without it, one request is enough.
	TwoStepUploads bool
}

// A Registry is a running registry. Its content is in memory and is gone after Close.
type Registry struct {
	store  *store
	front  *front
	server *http.Server
	host   string
	scheme string
	ca     []byte // PEM; nil without TLS
}

// Start serves a new, empty registry on a free port of 127.0.0.1. The caller closes it.
func Start(o Options) (*Registry, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the test registry: %w", err)
	}
	r := &Registry{store: newStore(o), host: listener.Addr().String(), scheme: "http"}
	if o.TLS {
		r.scheme = "https"
	}
	r.front = newFront(o, newGuard(o, r.URL()+tokenPath, refuseDelete(o.RefuseDelete, r.store)))
	r.server = &http.Server{
		Handler:           r.front,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // handshakes that tests break on purpose need no log
	}
	if o.TLS {
		if r.server.TLSConfig, r.ca, err = pki.ServerTLS("dct2notation test registry CA"); err != nil {
			listener.Close()
			return nil, err
		}
		go r.server.ServeTLS(listener, "", "")
	} else {
		go r.server.Serve(listener)
	}
	return r, nil
}

// Close stops serving at once and cuts open connections.
func (r *Registry) Close() { r.server.Close() }

// Host returns the registry's name in image references: "127.0.0.1:port".
func (r *Registry) Host() string { return r.host }

// URL returns the registry's address with its scheme, without a trailing slash.
func (r *Registry) URL() string { return r.scheme + "://" + r.host }

// CAPEM returns the certificate that clients must trust, in PEM; nil without TLS.
func (r *Registry) CAPEM() []byte { return r.ca }

// Requests returns the number of HTTP requests so far, including refused and aborted ones and those for tokens.
func (r *Registry) Requests() int64 { return r.front.requests.Load() }

// Uploads returns the number of blob uploads that were begun, and neither finished nor cancelled.
func (r *Registry) Uploads() int { return r.store.uploads.open() }

// Log returns the newest requests, oldest first, as "METHOD path status"; the status of a request whose answer was
// cut off is "aborted". Only the last few thousand are kept.
func (r *Registry) Log() []string { return r.front.log.lines() }

// SetHook puts h in front of every request that arrives from now on; nil removes it.
func (r *Registry) SetHook(h Hook) { r.front.hook.Store(&h) }
