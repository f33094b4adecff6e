package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/monitor"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// remote reaches the servers of one call: registries, and the Notary servers that belong
// to them.
type remote struct {
	opts       remoteOptions
	notary     map[string]string // URL by registry host, from the configuration
	plainHosts []string          // registries without TLS, from the configuration
	variable   notaryVariable
	rt         *transport.Transport
	base       auth.CredentialFunc
	registry   *registry.Client
	source     dct.Source
	cache      dct.Cache
	accepted   acceptedRoots
	witness    dct.Witness // of a snapshot that was signed; nil for any other source
	pins       dct.Pins
	listed     map[dct.GUN]dct.Listing // what lists the repositories that were found
	monitor    *monitor.Monitor        // nil: nobody watches

	mu      sync.Mutex
	clients map[string]*auth.Client // of Notary servers, by registry host
	users   map[string]bool         // registry hosts for which credentials were found and used at a Notary server
}

// requestRetries is how often a request is repeated, and itemPause how long an item, or the
// question for a referrers API, waits for its second attempt; 0: as each package has it. Tests that are of what
// happens afterwards do not wait for that.
var (
	requestRetries = 0
	itemPause      time.Duration
)

// access says what is done in registries.
type access struct {
	readOnly bool // nothing is pushed, and no permission to push asked for
	delete   bool // permission to delete is asked for as well
	forceTag bool // signatures by the tag schema, without asking for the referrers API

	onAnswer func(host string, h http.Header) // of every answer; may be nil
	hasty    bool                             // a server that is in trouble is left for the user to see, not waited for

	record    *verify.Record // what a ledger has of the repositories that are meant is compared as well; nil: there is none
	allRecord bool           // whatever is named

	rt      *transport.Transport // an earlier call's, whose pauses still hold; nil: a new one
	monitor *monitor.Monitor     // told of requests and waits; may be nil
}

// connect prepares the one HTTP stack for the given registries. It sends no request.
func connect(o remoteOptions, cfg config, hosts []string, a access, s Streams, log *slog.Logger) (*remote, error) {
	if err := o.credentials(s.In); err != nil {
		return nil, err
	}
	if o.username != "" && len(hosts) > 1 {
		return nil, usage(fmt.Errorf("--username is for one registry, and the repositories are on %s\nhint: use docker login for each", strings.Join(hosts, ", ")))
	}
	r := &remote{opts: o, notary: cfg.Notary, plainHosts: cfg.PlainHTTPHosts, cache: o.cache(log), monitor: a.monitor, clients: map[string]*auth.Client{}, users: map[string]bool{}}
	for host, u := range cfg.Notary {
		if err := checkNotaryURL(u); err != nil {
			return nil, usage(fmt.Errorf("notary of %s: %w", safetext.Safe(host, 256), err))
		}
	}
	var err error
	if r.pins, err = o.pins(cfg); err != nil {
		return nil, err
	}
	t := transport.Options{
		CAFile: o.caFile, TLSDir: filepath.Join(dockerDir(), "tls"), UserAgent: tool(),
		Limits: r.limit, OnAnswer: a.onAnswer, Retries: requestRetries, BodyTimeout: o.bodyTimeout,
		OnWait: func(host, reason string, d time.Duration) {
			log.Warn("waiting", "host", host, "reason", reason, "for", d.Round(time.Millisecond))
			a.monitor.Waits(waitLabel(reason), d)
		},
	}
	if a.monitor != nil {
		t.OnTry = func(r *http.Request, status int) { a.monitor.Request(serverLabel(r), status) }
	}
	if a.hasty {
		t.Retries, t.MaxRetryWait = 1, 10*time.Second
	}
	if r.rt = a.rt; r.rt == nil {
		if r.rt, err = transport.New(t); err != nil {
			return nil, usage(err)
		}
	}
	r.base, err = transport.Credentials(transport.CredentialOptions{
		ConfigPath: o.registryConfig, Username: o.username, Password: o.password, Hosts: credentialHosts(hosts),
	})
	if err != nil {
		return nil, usage(err)
	}
	if r.source, err = r.openSource(); err != nil {
		return nil, err
	}
	r.registry = registry.New(registry.Options{
		Client:            failingRegistry(transport.Client(r.rt, r.base, o.tokenHosts...)),
		PlainHTTP:         r.plain,
		ForceReferrersTag: a.forceTag,
		ReadOnly:          a.readOnly,
		Delete:            a.delete,
		Lists:             registry.Budget{Pages: o.maxPages, Time: o.listTimeout},
		Pause:             itemPause,
	})
	return r, nil
}

func registryHosts(guns []dct.GUN) []string {
	hosts := map[string]bool{}
	for _, g := range guns {
		hosts[g.Registry()] = true
	}
	return slices.Sorted(maps.Keys(hosts))
}

// credentialHosts are the hosts under which clients ask for a registry's credentials.
func credentialHosts(registries []string) []string {
	var hosts []string
	for _, h := range registries {
		hosts = append(hosts, h, apiHost(h))
	}
	return hosts
}

// hostname is a host without its port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// plain reports whether a registry is reached without TLS.
func (r *remote) plain(registry string) bool {
	return r.opts.plainHTTP || slices.ContainsFunc(r.plainHosts, func(h string) bool { return strings.EqualFold(h, registry) })
}

// apiHost is where the registry of that name answers.
func apiHost(registry string) string {
	if registry == "docker.io" {
		return "registry-1.docker.io"
	}
	return registry
}

// pins gives what says which roots are trusted.
func (o *remoteOptions) pins(cfg config) (dct.Pins, error) {
	var pins dct.Pins
	if cfg.TrustPinning != nil {
		pins = *cfg.TrustPinning
	}
	if o.trustPinning != "" {
		var err error
		if pins, err = dct.LoadPins(o.trustPinning); err != nil {
			return pins, usage(err)
		}
	}
	if pins.NoTOFU && o.tofu {
		return pins, usage(errors.New("--tofu contradicts disable_tofu in the trust pinning"))
	}
	pins.TOFU = o.tofu
	if o.dockerTrust != "" && o.dockerTrust != "none" {
		if err := isDir("--docker-trust", o.dockerTrust); err != nil {
			return pins, err
		}
	}
	if o.dockerTrust != "none" {
		pins.DockerTrust = cmp.Or(o.dockerTrust, filepath.Join(dockerDir(), "trust"))
	}
	return pins, nil
}

// isDir returns an error unless the path, which is named by an option, is a directory.
func isDir(option, path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no directory", safetext.Safe(path, 300))
	}
	if err != nil {
		return usage(fmt.Errorf("%s: %w", option, err))
	}
	return nil
}

// dockerTrustDir is docker's trust directory.
func (r *remote) dockerTrustDir() string {
	return cmp.Or(r.pins.DockerTrust, filepath.Join(dockerDir(), "trust"))
}

// checkNotaryURL returns an error unless it is the address of a server and nothing else: it is
// kept in ledgers, plans and snapshots, where a password has no place.
func checkNotaryURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%s: it takes a URL, such as https://notary.example.com", transport.RedactText(s))
	case u.User != nil:
		return fmt.Errorf("%s: an address holds no user and password\nhint: the Notary server gets the registry's credentials: docker login, or -u and --password-stdin", transport.RedactText(s))
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%s: it takes a URL without ? and #", transport.RedactText(s))
	}
	return nil
}

// notaryURL is the Notary server of a registry host.
func (r *remote) notaryURL(registry string) string {
	if r.opts.notaryServer != "" {
		return strings.TrimSuffix(r.opts.notaryServer, "/")
	}
	if u, ok := r.notary[registry]; ok {
		return strings.TrimSuffix(u, "/")
	}
	if r.variable.holds(registry) {
		return r.variable.url
	}
	return dct.DefaultServer(registry)
}

// limit is what a host may be asked for: a Notary server much less than a registry.
func (r *remote) limit(host string) transport.Limit {
	if r.isNotary(host) {
		return transport.Limit{InFlight: r.opts.notaryLimit}
	}
	return transport.Limit{InFlight: r.opts.registryLimit, PerSecond: r.opts.registryRate}
}

func (r *remote) isNotary(host string) bool {
	for _, u := range append(slices.Collect(maps.Values(r.notary)), r.opts.notaryServer, r.variable.url, dct.DefaultServer("docker.io")) {
		if parsed, err := url.Parse(u); err == nil && parsed.Host == host {
			return true
		}
	}
	return false
}

// notaryClient sends requests to the Notary server of a registry host, with the
// registry's credentials.
func (r *remote) notaryClient(registry string) dct.Doer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.clients[registry]; ok {
		return c
	}
	server := ""
	if u, err := url.Parse(r.notaryURL(registry)); err == nil {
		server = u.Host
	}
	c := transport.Client(r.rt, func(ctx context.Context, host string) (auth.Credential, error) {
		if host != server {
			return auth.EmptyCredential, nil // whoever that is, it is not for them
		}
		found, err := r.base(ctx, apiHost(registry))
		if found != auth.EmptyCredential {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.users[registry] = true
		}
		return found, err
	}, append(slices.Clone(r.opts.tokenHosts), hostname(apiHost(registry)))...)
	// A redirect is reported: whoever moved a Notary server has to say so.
	c.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r.clients[registry] = c
	return c
}

// loggedIn reports whether credentials were sent to the Notary server of a registry.
func (r *remote) loggedIn(registry string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.users[registry]
}

// reader reads trust data from where --source says.
func (r *remote) reader() *dct.Reader {
	return &dct.Reader{
		Source: r.source, Cache: r.cache, Pins: r.pins, Witness: r.witness, AcceptRoot: r.accepted,
		Listing:      func(gun dct.GUN) dct.Listing { return r.listed[gun] },
		AllowExpired: r.opts.allowExpired, AllowDegraded: r.opts.allowDegraded, MaxBytes: int64(r.opts.maxTrust) << 20, MaxTime: r.opts.maxRead,
	}
}

// close gives back what connect opened.
func (r *remote) close() error {
	r.rt.CloseIdleConnections()
	if c, ok := r.source.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
