package transport

import (
	"crypto/x509"
	"net/http"
	"sync"
	"time"
)

// Limit bounds what is sent to one host. Zero fields mean no limit.
type Limit struct {
	InFlight  int     // requests whose response body is not closed yet, at most: there are fewer while more would only wait
	PerSecond float64 // requests started per second, evenly spread
}

// Options configure a Transport. The zero value is usable: system roots, no limits.
type Options struct {
	// CAFile names a PEM file whose certificates are trusted besides the system's roots,
	// for every host.
	CAFile string

	// TLSDir names a directory like docker's ~/.docker/tls: in a folder per host[:port],
	// *.crt are roots for that host, *.cert with the *.key of the same name a client
	// certificate. A directory or folder that does not exist means nothing is configured.
	TLSDir string

	// Limits tells the limit of a host, written as in the URL but in lower case and
	// without the scheme's default port. It is asked once per host. Nil: no limits.
	Limits func(host string) Limit

	// UserAgent is sent with requests that do not bring their own.
	UserAgent string

	// OnWait is told of every wait that a server imposed or a failure caused, before the
	// wait begins: the host, why, and for how long. A pause shared by many requests is
	// told once. It is called from several goroutines at once and must not block.
	OnWait func(host, reason string, wait time.Duration)

	// OnAnswer is told of the header of every answer, as soon as it is there: the host as
	// Limits has it. It is called from several goroutines at once and must not block. Nil:
	// nobody is.
	OnAnswer func(host string, h http.Header)

	// OnTry is told of every request when it was answered, or failed: each repetition of its
	// own. status is 0 where there was no answer. It may only look at the request's address
	// and header, is called from several goroutines at once and must not block. Nil: nobody
	// is.
	OnTry func(r *http.Request, status int)

	ConnectTimeout        time.Duration // dialling, and again the TLS handshake; 15 s
	ResponseHeaderTimeout time.Duration // from the request sent to the first header; 60 s
	IdleBodyTimeout       time.Duration // a body may be silent for this long; 30 s
	BodyTimeout           time.Duration // reading one body in all; 10 min

	Retries      int           // repetitions of one request, after the first try; 6, negative: none
	MaxRetryWait time.Duration // from the first try of a request to the start of the last; 5 min

	// Base replaces the network in tests. CAFile, TLSDir and the two timeouts before the
	// body have no effect then.
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

// A Transport is an http.RoundTripper with a limiter per host. It is safe for concurrent use;
// one is meant to serve the whole process.
type Transport struct {
	o     Options
	roots *x509.CertPool // system roots and CAFile

	mu       sync.Mutex
	limiters map[string]*hostLimiter // by scheme and host; guarded by mu
}

// New reads the CA file and returns a Transport. It touches no network; the folders of
// TLSDir are read when their host is first asked for.
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
