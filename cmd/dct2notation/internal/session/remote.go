package session

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
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/monitor"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/notation"
)

// Servers connects to the servers of one call: registries, and the Notary servers that belong to them.
type Servers struct {
	Opts       RemoteOptions
	notary     map[string]string // URL by registry host, from the configuration
	plainHosts []string          // registries without TLS, from the configuration
	variable   notaryVariable
	Transport  *transport.Transport
	base       auth.CredentialFunc
	Registry   *registry.Client
	Source     dct.Source
	cache      dct.Cache
	accepted   AcceptedRoots
	witness    dct.TimeAttestation // from a signed snapshot; nil for any other source
	pins       dct.Pins
	Listed     map[dct.GUN]dct.Listing // where the repositories that were found are listed
	monitor    *monitor.Monitor        // nil: nobody watches
	budget     notation.Budget         // of all keys' operations; nil: no limit

	authorities map[string]*notation.TSA // asked already

	mu      sync.Mutex
	clients map[string]*auth.Client // of Notary servers, by registry host
	users   map[string]bool         // registry hosts for which credentials were found and used at a Notary server
}

// RequestRetries is how often a request is repeated. ItemPause is how long an item, or the check for a referrers API,
// waits before its second attempt. 0: each package's default. Tests of what happens afterwards set them to avoid the
// wait.
var (
	RequestRetries = 0
	ItemPause      time.Duration
)

// Access says what a call does in registries.
type Access struct {
	ReadOnly bool // nothing is pushed, and no permission to push is requested
	Delete   bool // permission to delete is requested as well
	ForceTag bool // signatures by the tag schema, without asking for the referrers API

	OnAnswer func(host string, h http.Header) // called for every answer; may be nil
	Hasty    bool                             // do not wait for a server in trouble; let the user see it

	Record    *verify.Record // a ledger's items for the selected repositories, to compare with as well; may be nil
	AllRecord bool           // use all of the record, whatever is named

	Transport *transport.Transport // an earlier call's, whose pauses still apply; nil: a new one
	Monitor   *monitor.Monitor     // receives requests and waits; may be nil
	Budget    notation.Budget      // of all keys' operations; nil: no limit
	Told      Told                 // warnings of earlier passes; nil: there were none
}

// ConnectServers prepares the one HTTP stack for the given registries. It sends no request.
func ConnectServers(o RemoteOptions, cfg Config, hosts []string, a Access, s cli.Streams, log *slog.Logger) (*Servers, error) {
	if err := o.Credentials(s.In); err != nil {
		return nil, err
	}
	if o.username != "" && len(hosts) > 1 {
		return nil, cli.Usage(fmt.Errorf("--username is for one registry, and the repositories are on %s\nhint: use docker login for each", strings.Join(hosts, ", ")))
	}
	r := &Servers{Opts: o, notary: cfg.Notary, plainHosts: cfg.PlainHTTPHosts, cache: o.cache(log), monitor: a.Monitor, budget: a.Budget, authorities: map[string]*notation.TSA{}, clients: map[string]*auth.Client{}, users: map[string]bool{}}
	for host, u := range cfg.Notary {
		if err := checkNotaryURL(u); err != nil {
			return nil, cli.Usage(fmt.Errorf("notary of %s: %w", safetext.Safe(host, 256), err))
		}
	}
	var err error
	if r.pins, err = o.Pins(cfg); err != nil {
		return nil, err
	}
	t := transport.Options{
		CAFile: o.caFile, TLSDir: filepath.Join(cli.DockerDir(), "tls"), UserAgent: cli.Tool(),
		Limits: r.limit, OnAnswer: a.OnAnswer, Retries: RequestRetries, BodyTimeout: o.bodyTimeout,
		OnWait: func(host, reason string, d time.Duration) {
			log.Warn(cli.Waiting, "host", host, "reason", reason, "for", d.Round(time.Millisecond))
			a.Monitor.Waits(waitLabel(reason), d)
		},
	}
	if a.Monitor != nil {
		t.OnTry = func(r *http.Request, status int) { a.Monitor.Request(serverLabel(r), status) }
	}
	if a.Hasty {
		t.Retries, t.MaxRetryWait = 1, 10*time.Second
	}
	if r.Transport = a.Transport; r.Transport == nil {
		if r.Transport, err = transport.New(t); err != nil {
			return nil, cli.Usage(err)
		}
	}
	r.base, err = transport.Credentials(transport.CredentialOptions{
		ConfigPath: o.registryConfig, Username: o.username, Password: o.password, Hosts: credentialHosts(hosts),
	})
	if err != nil {
		return nil, cli.Usage(err)
	}
	if r.Source, err = r.openSource(); err != nil {
		return nil, err
	}
	r.Registry = registry.New(registry.Options{
		Client:            failingRegistry(transport.Client(r.Transport, r.base, o.tokenHosts...)),
		PlainHTTP:         r.plain,
		ForceReferrersTag: a.ForceTag,
		ReadOnly:          a.ReadOnly,
		Delete:            a.Delete,
		Lists:             registry.Budget{Pages: o.maxPages, Time: o.listTimeout},
		Pause:             ItemPause,
	})
	return r, nil
}

// RegistryHosts returns the registries of repositories, sorted.
func RegistryHosts(guns []dct.GUN) []string {
	hosts := map[string]bool{}
	for _, g := range guns {
		hosts[g.Registry()] = true
	}
	return slices.Sorted(maps.Keys(hosts))
}

// credentialHosts returns the hosts under which clients look up a registry's credentials.
func credentialHosts(registries []string) []string {
	var hosts []string
	for _, h := range registries {
		hosts = append(hosts, h, apiHost(h))
	}
	return hosts
}

// hostname returns a host without its port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// plain reports whether a registry is reached without TLS.
func (r *Servers) plain(registry string) bool {
	return r.Opts.PlainHTTP || slices.ContainsFunc(r.plainHosts, func(h string) bool { return strings.EqualFold(h, registry) })
}

// apiHost returns the host at which the registry of that name answers.
func apiHost(registry string) string {
	if registry == "docker.io" {
		return "registry-1.docker.io"
	}
	return registry
}

// Pins returns the pins: which roots are trusted.
func (o *RemoteOptions) Pins(cfg Config) (dct.Pins, error) {
	var pins dct.Pins
	if cfg.TrustPinning != nil {
		pins = *cfg.TrustPinning
	}
	if o.trustPinning != "" {
		var err error
		pins, err = dct.LoadPins(o.trustPinning)
		if ext := filepath.Ext(o.trustPinning); err != nil && (ext == ".yaml" || ext == ".yml") {
			err = fmt.Errorf("%w\nhint: a configuration is given with --config; --trust-pinning takes notary's JSON", err)
		}
		if err != nil {
			return pins, cli.Usage(err)
		}
	}
	if pins.NoTOFU && o.TOFU {
		return pins, cli.Usage(errors.New("--tofu contradicts disable_tofu in the trust pinning"))
	}
	pins.TOFU = o.TOFU
	if o.DockerTrust != "" && o.DockerTrust != "none" {
		if err := isDockerTrust(o.DockerTrust); err != nil {
			return pins, cli.Usage(fmt.Errorf("--docker-trust: %w", err))
		}
	}
	if o.DockerTrust != "none" {
		pins.DockerTrust = cmp.Or(o.DockerTrust, filepath.Join(cli.DockerDir(), "trust"))
	}
	return pins, nil
}

// dockerTrustDir returns docker's trust directory.
func (r *Servers) dockerTrustDir() string {
	return cmp.Or(r.pins.DockerTrust, filepath.Join(cli.DockerDir(), "trust"))
}

// checkNotaryURL returns an error unless the text is the address of a server and nothing else: it is kept in ledgers,
// plans and snapshots, which must not contain a password.
func checkNotaryURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%s: must be a URL, such as https://notary.example.com", transport.RedactText(s))
	case u.User != nil:
		return fmt.Errorf("%s: must not contain a user or password\nhint: the Notary server gets the registry's credentials: docker login, or -u and --password-stdin", transport.RedactText(s))
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%s: must be a URL without ? and #", transport.RedactText(s))
	}
	return nil
}

// NotaryURL returns the Notary server of a registry host.
func (r *Servers) NotaryURL(registry string) string {
	if r.Opts.NotaryServer != "" {
		return strings.TrimSuffix(r.Opts.NotaryServer, "/")
	}
	if u, ok := r.notary[registry]; ok {
		return strings.TrimSuffix(u, "/")
	}
	if r.variable.holds(registry) {
		return r.variable.url
	}
	return dct.DefaultServer(registry)
}

// Pending returns the servers for which the process has waited at least that long, and why.
func (r *Servers) Pending(atLeast time.Duration) (all []string) {
	for _, p := range r.Transport.Pending() {
		if p.Left == 0 && p.Silent < atLeast {
			continue
		}
		kind := "registry "
		if r.isNotary(p.Host) {
			kind = "Notary server "
		}
		why := fmt.Sprintf("%s without an answer for %s", safetext.Count(p.Requests, "request"), p.Silent.Round(time.Second))
		if p.Left > 0 {
			why = fmt.Sprintf("pause of another %s: %s", p.Left.Round(time.Second), safetext.Safe(p.Reason, 200))
		}
		all = append(all, kind+safetext.Safe(p.Host, 256)+" ("+why+")")
	}
	return all
}

// limit returns the request limit of a host: much lower for a Notary server than for a registry.
func (r *Servers) limit(host string) transport.Limit {
	if r.isNotary(host) {
		return transport.Limit{InFlight: r.Opts.NotaryLimit}
	}
	return transport.Limit{InFlight: r.Opts.RegistryLimit, PerSecond: r.Opts.registryRate}
}

func (r *Servers) isNotary(host string) bool {
	for _, u := range append(slices.Collect(maps.Values(r.notary)), r.Opts.NotaryServer, r.variable.url, dct.DefaultServer("docker.io")) {
		if parsed, err := url.Parse(u); err == nil && parsed.Host == host {
			return true
		}
	}
	return false
}

// notaryClient sends requests to the Notary server of a registry host, with the
// registry's credentials.
func (r *Servers) notaryClient(registry string) dct.Doer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.clients[registry]; ok {
		return c
	}
	server := ""
	if u, err := url.Parse(r.NotaryURL(registry)); err == nil {
		server = u.Host
	}
	c := transport.Client(r.Transport, func(ctx context.Context, host string) (auth.Credential, error) {
		if host != server {
			return auth.EmptyCredential, nil // unknown host: it does not get the credentials
		}
		found, err := r.base(ctx, apiHost(registry))
		if found != auth.EmptyCredential {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.users[registry] = true
		}
		return found, err
	}, append(slices.Clone(r.Opts.tokenHosts), hostname(apiHost(registry)))...)
	// A redirect is reported, not followed: whoever moved a Notary server has to configure it.
	c.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r.clients[registry] = c
	return c
}

// Expect announces the order in which the trust data of repositories will be read, so that one token of a Notary
// server can cover several.
func (r *Servers) Expect(guns []dct.GUN) {
	if _, ok := r.Source.(*dct.Server); !ok {
		return
	}
	scopes := map[string][]string{}
	for _, gun := range guns {
		scopes[gun.Registry()] = append(scopes[gun.Registry()], dct.PullScope(gun))
	}
	for registry, of := range scopes {
		u, err := url.Parse(r.NotaryURL(registry))
		if c, ok := r.notaryClient(registry).(*auth.Client); ok && err == nil {
			transport.Expect(c, u.Host, of)
		}
	}
}

// LoggedIn reports whether credentials were sent to the Notary server of a registry.
func (r *Servers) LoggedIn(registry string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.users[registry]
}

// Anchored reports whether a repository's root can be checked against something other than a ledger.
func (r *Servers) Anchored(gun dct.GUN) bool { return r.pins.Anchors(gun) }

// Pinned is Anchored without trust on first use.
func (r *Servers) Pinned(gun dct.GUN) bool {
	pins := r.pins
	pins.TOFU = false
	return pins.Anchors(gun)
}

// Reader reads trust data from where --source says.
func (r *Servers) Reader() *dct.Reader {
	return &dct.Reader{
		Source: r.Source, Cache: r.cache, Pins: r.pins, TimeAttestation: r.witness, AcceptRoot: r.accepted,
		Listing:      func(gun dct.GUN) dct.Listing { return r.Listed[gun] },
		AllowExpired: r.Opts.AllowExpired, AllowDegraded: r.Opts.AllowDegraded, MaxBytes: int64(r.Opts.MaxTrust) << 20, MaxTime: r.Opts.maxRead,
	}
}

// DockerTrust reads docker's trust directory, whose roots are pins; nil if it is not used.
func (r *Servers) DockerTrust() *dct.Reader {
	if r.pins.DockerTrust == "" {
		return nil
	}
	return &dct.Reader{Source: dct.DockerTrust{Dir: r.pins.DockerTrust}}
}

// Close releases what connecting opened.
func (r *Servers) Close() error {
	r.Transport.CloseIdleConnections()
	if c, ok := r.Source.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// waitLabel returns the metrics label for a reason to wait: one of a few.
func waitLabel(reason string) string {
	kind, _, _ := strings.Cut(reason, ",")
	return safetext.Safe(kind, 64)
}

// serverLabel returns the kind of server that a request goes to.
func serverLabel(r *http.Request) string {
	switch {
	case r.Header.Get("Content-Type") == "application/timestamp-query":
		return "tsa"
	case strings.Contains(r.URL.Path, "/_trust/"):
		return "notary"
	case strings.HasPrefix(r.URL.Path, "/v2/"):
		return "registry"
	}
	return "other" // token servers, and blob storage of registries
}
