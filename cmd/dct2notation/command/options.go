package command

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/migrate"
)

// commonOptions are those of every verb that reads something.
type commonOptions struct {
	config    string
	output    string
	logFormat string
	debug     bool
	noTTY     bool
}

func (o *commonOptions) bind(f *pflag.FlagSet) {
	grouped(f, groupOutput, func(f *pflag.FlagSet) {
		f.StringVar(&o.config, "config", "", "configuration file (YAML)")
		f.StringVarP(&o.output, "output", "o", "text", "format of the result on stdout: text or json")
		f.StringVar(&o.logFormat, "log-format", "text", "format of messages on stderr: text or json")
		f.BoolVarP(&o.debug, "debug", "d", false, "more messages on stderr")
		f.BoolVar(&o.noTTY, "no-tty", false, "plain lines in place of a progress bar")
	})
}

func (o *commonOptions) check() error {
	if o.output != "text" && o.output != "json" {
		return usage(fmt.Errorf("--output %s: it is text or json", o.output))
	}
	return o.checkLog()
}

// checkResult is check for verbs whose result is shown in any format of a report.
func (o *commonOptions) checkResult() error {
	if err := checkFormat("--output", o.output); err != nil {
		return err
	}
	return o.checkLog()
}

func (o *commonOptions) checkLog() error {
	if o.logFormat != "text" && o.logFormat != "json" {
		return usage(fmt.Errorf("--log-format %s: it is text or json", o.logFormat))
	}
	return nil
}

// logger writes to stderr. In text it leaves out the time: a person watches.
func (o *commonOptions) logger(w io.Writer) *slog.Logger {
	level := slog.LevelInfo
	if o.debug {
		level = slog.LevelDebug
	}
	if o.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return a
	}}))
}

// terminal reports whether stderr can show a progress bar.
func (o *commonOptions) terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && !o.noTTY && o.logFormat == "text" && term.IsTerminal(int(f.Fd()))
}

// remoteOptions say how registries and Notary servers are reached.
type remoteOptions struct {
	notaryServer   string
	trustPinning   string
	tofu           bool
	dockerTrust    string
	allowExpired   []string
	allowDegraded  bool
	source         string
	cacheDir       string
	snapshotPolicy string
	rescue         bool
	verifierOptions
	registryOptions
	notaryLimit int
	maxRecords  int
	maxTrust    int // MiB
	maxRead     time.Duration
}

// registryOptions say how registries are reached.
type registryOptions struct {
	username       string
	passwordStdin  bool
	registryConfig string
	tokenHosts     []string
	caFile         string
	plainHTTP      bool
	registryLimit  int
	registryRate   float64
	maxPages       int
	listTimeout    time.Duration
	bodyTimeout    time.Duration

	password string // read by credentials
	known    bool   // credentials has read what there is
}

func (o *remoteOptions) bind(f *pflag.FlagSet) {
	grouped(f, groupTrust, func(f *pflag.FlagSet) {
		f.StringVar(&o.notaryServer, "notary-server", "", "URL of the Notary v1 server of all repositories (default: notary in the configuration, then DOCKER_CONTENT_TRUST_SERVER, then as docker has it)")
		f.StringVar(&o.trustPinning, "trust-pinning", "", "file with notary's trust_pinning (JSON)")
		f.BoolVar(&o.tofu, "tofu", false, "trust the first root seen of a repository without a pin, and record it")
		f.StringVar(&o.dockerTrust, "docker-trust", "", "docker's trust directory, whose roots are pins; none for none (default ~/.docker/trust)")
		f.StringVar(&o.source, "source", "server", sourceHelp)
		f.StringVar(&o.snapshotPolicy, "snapshot-trust-policy", "", "trust policy for the signatures of a snapshot: what a trusted one covers is judged for expiry at the time it was signed")
		f.StringSliceVar(&o.allowExpired, "allow-expired", nil, "accept trust data past its date: root-cert, root, timestamp, snapshot, targets, delegations or a role's name; recorded in signatures and reports")
		f.BoolVar(&o.allowDegraded, "allow-degraded", false, "accept repositories that declare targets/releases, do not publish it, and have tags in targets")
		f.BoolVar(&o.rescue, "rescue", false, "ask for timestamps through the changefeed, by hash: for a Notary server that answers 500 for them")
		f.StringVar(&o.cacheDir, "cache-dir", "", "where files of the Notary server are kept, so that unchanged repositories cost one request; none for nowhere (default: dct2notation in the XDG cache directory)")
	})
	grouped(f, groupTrust, o.verifierOptions.bind)
	o.registryOptions.bind(f)
	grouped(f, groupLimits, func(f *pflag.FlagSet) {
		f.IntVar(&o.maxTrust, "max-trust-data", dct.DefaultMaxBytes>>20, "MiB of trust data that one repository may have")
		f.DurationVar(&o.maxRead, "notary-timeout", 30*time.Minute, "how long reading the trust data of one repository, or a changefeed, may take")
		f.IntVar(&o.maxRecords, "max-changefeed-records", 10_000_000, "records of a changefeed that are read at most")
		f.IntVar(&o.notaryLimit, "notary-concurrency", 1, "requests in flight for each Notary host; real servers crash under parallel reads")
	})
}

func (o *registryOptions) bind(f *pflag.FlagSet) {
	grouped(f, groupServers, func(f *pflag.FlagSet) {
		f.StringVarP(&o.username, "username", "u", "", "user of the registry (default: as docker login left it)")
		f.BoolVar(&o.passwordStdin, "password-stdin", false, "read the password from stdin")
		f.StringVar(&o.registryConfig, "registry-config", "", "credentials file (default: docker's config.json)")
		f.StringSliceVar(&o.tokenHosts, "token-host", nil, "host that registries and Notary servers may have credentials sent to, beside themselves: a token server of your own")
		f.StringVar(&o.caFile, "ca-file", "", "PEM file of more certificate authorities to trust for TLS")
		f.BoolVar(&o.plainHTTP, "plain-http", false, "reach registries without TLS")
		f.BoolVar(&o.plainHTTP, "insecure-registry", false, "the same as --plain-http")
	})
	grouped(f, groupLimits, func(f *pflag.FlagSet) {
		f.IntVar(&o.registryLimit, "registry-concurrency", 64, "requests in flight for each registry host")
		f.Float64Var(&o.registryRate, "registry-rate", 0, "requests per second for each registry host (0: no limit)")
		f.IntVar(&o.maxPages, "max-pages", 10_000, "pages of one list of tags or repositories that are read, of 32 KiB each on average")
		f.DurationVar(&o.listTimeout, "list-timeout", time.Hour, "how long reading one list of tags or repositories may take")
		f.DurationVar(&o.bodyTimeout, "body-timeout", 10*time.Minute, "how long reading one answer of a registry or Notary server may take")
	})
}

func (o *registryOptions) check() error {
	switch {
	case o.passwordStdin && o.username == "":
		return usage(errors.New("--password-stdin needs --username"))
	case o.registryLimit < 1:
		return usage(errors.New("--registry-concurrency is at least 1"))
	case o.registryRate < 0:
		return usage(errors.New("--registry-rate is not negative"))
	case o.maxPages < 1:
		return usage(errors.New("--max-pages is at least 1"))
	case o.listTimeout <= 0 || o.bodyTimeout <= 0:
		return usage(errors.New("--list-timeout and --body-timeout are longer than 0"))
	}
	return nil
}

func (o *remoteOptions) check() error {
	if err := o.registryOptions.check(); err != nil {
		return err
	}
	if o.maxRead <= 0 {
		return usage(errors.New("--notary-timeout is more than 0"))
	}
	if o.maxRecords < 1 || o.maxTrust < 1 {
		return usage(errors.New("--max-changefeed-records and --max-trust-data are at least 1"))
	}
	if o.notaryLimit < 1 {
		return usage(errors.New("--notary-concurrency is at least 1"))
	}
	if o.notaryServer != "" {
		if err := checkNotaryURL(o.notaryServer); err != nil {
			return usage(fmt.Errorf("--notary-server %w", err))
		}
	}
	if _, err := o.plugins(); err != nil {
		return usage(err)
	}
	return usage(dct.CheckAllowExpired(o.allowExpired))
}

// credentials reads user and password from stdin or the environment. The variables are
// taken out of the environment, so that no plugin inherits them.
func (o *registryOptions) credentials(stdin io.Reader) error {
	if o.known {
		return nil
	}
	o.known = true
	if user, ok := os.LookupEnv("NOTATION_USERNAME"); ok && o.username == "" {
		o.username, o.password = user, os.Getenv("NOTATION_PASSWORD")
	}
	for _, name := range []string{"NOTATION_USERNAME", "NOTATION_PASSWORD"} {
		if err := os.Unsetenv(name); err != nil {
			return err
		}
	}
	if !o.passwordStdin {
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(stdin, 64<<10))
	if err != nil {
		return fmt.Errorf("reading the password: %w", err)
	}
	o.password = strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	if o.password == "" {
		return usage(errors.New("--password-stdin: stdin is empty"))
	}
	return nil
}

// cache keeps files of the Notary server between calls; nil where there is no place.
func (o *remoteOptions) cache(log *slog.Logger) dct.Cache {
	dir := o.cacheDir
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			log.Debug("nothing is kept between calls", "reason", err)
			return nil
		}
		dir = filepath.Join(user, "dct2notation", "trust")
	}
	if dir == "none" || o.source != "server" {
		return nil
	}
	var once sync.Once
	return dct.FileCache{Dir: dir, Trouble: func(err error) {
		once.Do(func() {
			log.Warn("the cache of trust data", "trouble", err, "hint", "nothing is lost but time; --cache-dir names another place, or none")
		})
	}}
}

// dockerDir is where docker keeps its configuration.
func dockerDir() string {
	if d := os.Getenv("DOCKER_CONFIG"); d != "" {
		return d
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".docker")
}

// keyOptions say which key signs and what its signatures are like.
type keyOptions struct {
	key          string
	plugin       string
	id           string
	pluginConfig map[string]string
	pluginPath   string
	pluginSHA256 string
	pluginEnv    []string
	timeout      time.Duration
	keyRate      float64
	expiry       time.Duration
	format       string
	metadata     map[string]string
	tsaURL       string
	tsaRoot      string
	accepted     []string
}

func (o *keyOptions) bind(f *pflag.FlagSet) {
	grouped(f, groupKey, func(f *pflag.FlagSet) {
		f.StringVarP(&o.key, "key", "k", "", "key of notation's signingkeys.json (without --key and --plugin: notation's default key, which has a * in notation key list)")
		f.StringVar(&o.plugin, "plugin", "", "notation plugin that holds the key; needs --id")
		f.StringVar(&o.id, "id", "", "the key's id, as the plugin takes it")
		f.Var((*pairs)(&o.pluginConfig), "plugin-config", "configuration of the plugin, k=v; once for each")
		f.StringSliceVar(&o.pluginEnv, "plugin-env", nil, "further environment variables that the plugin may see")
		f.StringVar(&o.pluginPath, "plugin-path", "", "the plugin's file (default: where notation keeps it)")
		f.StringVar(&o.pluginSHA256, "plugin-sha256", "", "SHA-256 that the plugin's file must have")
		f.StringArrayVar(&o.accepted, "accept-certificate", nil, "certificate whose signatures count as the key's, such as the one before it was renewed: PEM file (leaf first), or SHA-256 thumbprint; once for each")
		f.DurationVar(&o.timeout, "plugin-timeout", time.Minute, "how long one call of the plugin may take")
	})
	grouped(f, groupSigning, func(f *pflag.FlagSet) {
		f.StringVar(&o.format, "signature-format", "jws", "envelope: jws or cose")
		f.DurationVarP(&o.expiry, "expiry", "e", 0, "how long a signature is valid, in whole seconds (0: as long as its certificate)")
		f.VarP((*pairs)(&o.metadata), "user-metadata", "m", "more signed metadata, k=v; once for each")
		f.StringVar(&o.tsaURL, "timestamp-url", "", "time-stamping authority (RFC 3161) that countersigns each signature; needs --timestamp-root-cert")
		f.StringVar(&o.tsaRoot, "timestamp-root-cert", "", "file with the root certificate of the time-stamping authority")
	})
	grouped(f, groupLimits, func(f *pflag.FlagSet) {
		f.Float64Var(&o.keyRate, "key-rate", 0, "operations per second that the key may be asked for (0: as many as its service takes, which is found out)")
	})
}

func (o *keyOptions) check() error {
	switch {
	case o.key != "" && o.plugin != "":
		return usage(errors.New("--key and --plugin exclude each other"))
	case (o.plugin == "") != (o.id == ""):
		return usage(errors.New("--plugin and --id belong together"))
	case o.plugin == "" && len(o.pluginConfig) > 0:
		return usage(errors.New("--plugin-config needs --plugin and --id"))
	case o.expiry < 0 || o.expiry%time.Second != 0:
		return usage(errors.New("--expiry is in whole seconds and not negative"))
	case o.keyRate < 0:
		return usage(errors.New("--key-rate is not negative"))
	case (o.tsaURL == "") != (o.tsaRoot == ""):
		return usage(errors.New("--timestamp-url and --timestamp-root-cert belong together"))
	}
	return usage(migrate.CheckMetadata(o.metadata))
}

// engineOptions say how images are signed, and where progress is kept.
type engineOptions struct {
	keyOptions
	forceTag  bool
	workers   int
	state     string
	platforms string
	recheck   bool
	rebind    bool
	resign    bool
	shared    bool

	dedicated   []string
	minValidity time.Duration
}

func (o *engineOptions) bind(f *pflag.FlagSet) {
	o.keyOptions.bind(f)
	grouped(f, groupSigning, func(f *pflag.FlagSet) {
		f.StringVar(&o.platforms, "platforms", "index", "what of a multi-platform image is signed: index, the digest that DCT names; all, also the images that it lists (attestations are left out)")
		f.BoolVar(&o.forceTag, "force-referrers-tag", false, "store signatures by the tag schema without asking for the referrers API")
		f.BoolVar(&o.rebind, "rebind", false, "sign again digests that got a tag after they were signed, so that a signature binds all their tags")
	})
	grouped(f, groupSigning, func(f *pflag.FlagSet) {
		f.StringArrayVar(&o.dedicated, "dedicated-ca", nil, "KEY whose authority issues certificates to it alone: sign though no trust policy could name the certificate's subject; once for each, as for policy")
		f.DurationVar(&o.minValidity, "min-validity", 24*time.Hour, "sign only while the key's certificate is valid for so long; not asked of a key whose signatures get a timestamp")
		f.BoolVar(&o.resign, "resign", false, "sign again what is signed by an accepted earlier certificate, or without the expiry or timestamp that is asked for")
		f.BoolVar(&o.shared, "shared", false, "other machines sign these images with the same key meanwhile: look again before each push")
	})
	grouped(f, groupProgress, func(f *pflag.FlagSet) {
		f.StringVar(&o.state, "state", "", "ledger (default: dct2notation/ledger.db in the XDG state directory)")
		f.BoolVar(&o.recheck, "recheck", false, "look up in the registry also what the ledger has as done, and sign again what was deleted there")
	})
	grouped(f, groupLimits, func(f *pflag.FlagSet) {
		f.IntVar(&o.workers, "workers", 8, "key operations in flight")
	})
}

func (o *engineOptions) check() error {
	if o.minValidity < 0 {
		return usage(fmt.Errorf("--min-validity %s: it is not negative", o.minValidity))
	}
	if o.workers < 1 {
		return usage(fmt.Errorf("--workers %d: at least 1", o.workers))
	}
	if o.platforms != "index" && o.platforms != "all" {
		return usage(fmt.Errorf("--platforms %s: it is index or all", o.platforms))
	}
	return o.keyOptions.check()
}

// statePath is the ledger's path.
func (o *engineOptions) statePath() (string, error) { return ledgerPath(o.state) }

// ledgerPath is the path of the ledger that --state names, or the usual one.
func ledgerPath(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	dir, err := stateDir()
	if err != nil {
		return "", usage(fmt.Errorf("%w\nhint: give --state", err))
	}
	return filepath.Join(dir, "ledger.db"), nil
}

// stateDir is ours in the XDG state directory.
func stateDir() (string, error) {
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding the state directory: %w", err)
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "dct2notation"), nil
}
