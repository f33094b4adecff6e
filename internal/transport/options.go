package transport

import (
	"crypto/x509"
	"net/http"
	"sync"
	"time"
)

// Limit bounds what is sent to one host. Zero fields mean no limit.
type Limit struct {
	InFlight  int     // maximum of requests whose response body is not closed yet; fewer are sent while more would only wait
	PerSecond float64 // requests started per second, evenly spread
}

// Options configure a Transport. The zero value is usable: system roots, no limits.
type Options struct {
	// CAFile names a PEM file whose certificates are trusted for every host, besides the system's roots.
	CAFile string

	// TLSDir names a directory like docker's ~/.docker/tls: in a folder per host[:port], *.crt are roots for that
	// host, and *.cert with the *.key of the same name is a client certificate. The directory and folders need not
	// exist.
	TLSDir string

	// Limits returns the limit of a host, named as in the URL but in lower case and without the scheme's default
	// port. It is called once per host. Nil: no limits.
	Limits func(host string) Limit

	// UserAgent is sent with requests that have none.
	UserAgent string

	// OnWait is called before every wait that a server imposed or a failure caused, with the host, the reason and the
	// duration. It is called once for a pause that many requests share. It must be safe for concurrent use and not
	// block.
	OnWait func(host, reason string, wait time.Duration)

	// OnAnswer is called with the header of every answer as soon as it arrives; the host is named as for Limits. It
	// must be safe for concurrent use and not block. May be nil.
	OnAnswer func(host string, h http.Header)

	// OnTry is called for every request that was answered or failed, each repetition included. status is 0 if there
	// was no answer. It may read only the request's address and header. It must be safe for concurrent use and not
	// block. May be nil.
	OnTry func(r *http.Request, status int)

	ConnectTimeout        time.Duration // dialling, and again the TLS handshake; 15 s
	ResponseHeaderTimeout time.Duration // from the request sent to the first header; 60 s
	IdleBodyTimeout       time.Duration // longest silence of a body; 30 s
	BodyTimeout           time.Duration // reading one whole body; 10 min

	Retries      int           // repetitions of one request, after the first try; 6, negative: none
	MaxRetryWait time.Duration // from the first try of a request to the start of the last; 5 min

	// Base replaces the network in tests. CAFile, TLSDir and ConnectTimeout and ResponseHeaderTimeout then have no
	// effect.
	Base http.RoundTripper
}

// withDefaults fills in the defaults of unset fields.
func (o Options) withDefaults() Options {
	setDefault(&o.ConnectTimeout, 15*time.Second)
	setDefault(&o.ResponseHeaderTimeout, 60*time.Second)
	setDefault(&o.IdleBodyTimeout, 30*time.Second)
	setDefault(&o.BodyTimeout, 10*time.Minute)
	setDefault(&o.MaxRetryWait, 5*time.Minute)
	setDefault(&o.Retries, 6)
	if o.Limits == nil {
		o.Limits = func(string) Limit { return Limit{} }
	}
	if o.OnWait == nil {
		o.OnWait = func(string, string, time.Duration) {}
	}
	if o.OnAnswer == nil {
		o.OnAnswer = func(string, http.Header) {}
	}
	if o.OnTry == nil {
		o.OnTry = func(*http.Request, int) {}
	}
	return o
}

func setDefault[T int | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// A Transport is an http.RoundTripper with a limiter per host. It is safe for concurrent use; use one for the whole
// process.
type Transport struct {
	o     Options
	roots *x509.CertPool // system roots and CAFile

	mu       sync.Mutex
	limiters map[string]*hostLimiter // by scheme and host; guarded by mu
}

// New reads the CA file and returns a Transport. It uses no network. The folders of TLSDir are read when their host
// is first used.
func New(o Options) (*Transport, error) {
	if err := checkProxy(); err != nil {
		return nil, err
	}
	roots, err := readRoots(o.CAFile)
	if err != nil {
		return nil, err
	}
	return &Transport{o: o.withDefaults(), roots: roots, limiters: make(map[string]*hostLimiter)}, nil
}

// CloseIdleConnections closes connections that no request uses.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.limiters {
		if c, ok := l.base.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}
