package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
)

// RemoteOptions say how registries and Notary servers are reached.
type RemoteOptions struct {
	NotaryServer   string
	trustPinning   string
	TOFU           bool
	DockerTrust    string
	AllowExpired   []string
	AllowDegraded  bool
	Source         string
	CacheDir       string
	SnapshotPolicy string
	rescue         bool
	verifierOptions
	RegistryOptions
	NotaryLimit int
	maxRecords  int
	MaxTrust    int // MiB
	maxRead     time.Duration
}

// RegistryOptions say how registries are reached.
type RegistryOptions struct {
	username       string
	passwordStdin  bool
	registryConfig string
	tokenHosts     []string
	caFile         string
	PlainHTTP      bool
	RegistryLimit  int
	registryRate   float64
	maxPages       int
	listTimeout    time.Duration
	bodyTimeout    time.Duration

	password string // read by credentials
	known    bool   // credentials has read what there is
}

// Bind adds the flags.
func (o *RemoteOptions) Bind(f *pflag.FlagSet) {
	cli.Grouped(f, cli.GroupTrust, func(f *pflag.FlagSet) {
		f.StringVar(&o.NotaryServer, "notary-server", "", "URL of the Notary v1 server of all repositories (default: notary in the configuration, else DOCKER_CONTENT_TRUST_SERVER, else the server docker would use)")
		f.StringVar(&o.trustPinning, "trust-pinning", "", "file with notary's trust_pinning (JSON)")
		f.BoolVar(&o.TOFU, "tofu", false, "trust on first use: accept and record the first root of a repository that has no pin")
		f.StringVar(&o.DockerTrust, "docker-trust", "", "docker's trust directory, whose roots are used as pins, or none (default ~/.docker/trust)")
		f.StringVar(&o.Source, "source", SourceServer, "where to read trust data from: "+sourceUsage())
		f.StringVar(&o.SnapshotPolicy, "snapshot-trust-policy", "", "trust policy for the signatures of a snapshot: trust data that one covers is checked for expiry at the time of signing")
		f.StringSliceVar(&o.AllowExpired, "allow-expired", nil, "accept expired trust data of these roles: root-cert, root, timestamp, snapshot, targets, delegations or a role's name; recorded in signatures and reports")
		f.BoolVar(&o.AllowDegraded, "allow-degraded", false, "accept repositories that declare targets/releases but do not publish it, and have tags in targets")
		f.BoolVar(&o.rescue, "rescue", false, "fetch timestamp metadata by its hash in the changefeed, for a Notary server that answers 500 for it")
		f.StringVar(&o.CacheDir, "cache-dir", "", "directory in which to cache metadata of the Notary server, so that an unchanged repository takes one request, or none (default: dct2notation in the XDG cache directory)")
	})
	cli.Grouped(f, cli.GroupTrust, o.verifierOptions.bind)
	o.RegistryOptions.Bind(f)
	cli.Grouped(f, cli.GroupLimits, func(f *pflag.FlagSet) {
		f.IntVar(&o.MaxTrust, "max-trust-data", dct.DefaultMaxBytes>>20, "maximum size of one repository's trust data, in MiB")
		f.DurationVar(&o.maxRead, "notary-timeout", 30*time.Minute, "time limit for reading the trust data of one repository, or a changefeed")
		f.IntVar(&o.maxRecords, "max-changefeed-records", 10_000_000, "maximum number of changefeed records to read")
		f.IntVar(&o.NotaryLimit, "notary-concurrency", 1, "concurrent requests per Notary host; Notary servers are known to crash under parallel reads")
	})
}

// Bind adds the flags.
func (o *RegistryOptions) Bind(f *pflag.FlagSet) {
	cli.Grouped(f, cli.GroupServers, func(f *pflag.FlagSet) {
		f.StringVarP(&o.username, "username", "u", "", "user of the registry (default: from docker login)")
		f.BoolVar(&o.passwordStdin, "password-stdin", false, "read the password from stdin")
		f.StringVar(&o.registryConfig, "registry-config", "", "credentials file (default: docker's config.json)")
		f.StringSliceVar(&o.tokenHosts, "token-host", nil, "host of a token server that may receive the credentials of registries and Notary servers, besides themselves")
		f.StringVar(&o.caFile, "ca-file", "", "PEM file with additional CAs to trust for TLS")
		f.BoolVar(&o.PlainHTTP, "plain-http", false, "connect to registries over plain HTTP")
		f.BoolVar(&o.PlainHTTP, "insecure-registry", false, "the same as --plain-http")
	})
	cli.Grouped(f, cli.GroupLimits, func(f *pflag.FlagSet) {
		f.IntVar(&o.RegistryLimit, "registry-concurrency", 64, "concurrent requests per registry host, at most: fewer are sent while its answers slow down or it throttles")
		f.Float64Var(&o.registryRate, "registry-rate", 0, "requests per second per registry host (0: no limit)")
		f.IntVar(&o.maxPages, "max-pages", 10_000, "maximum number of pages to read of one list of tags or repositories, of 32 KiB each on average")
		f.DurationVar(&o.listTimeout, "list-timeout", time.Hour, "time limit for reading one list of tags or repositories")
		f.DurationVar(&o.bodyTimeout, "body-timeout", 10*time.Minute, "time limit for reading one response body of a registry or Notary server")
	})
}

// Check returns a usage error for invalid values.
func (o *RegistryOptions) Check() error {
	switch {
	case o.passwordStdin && o.username == "":
		return cli.Usage(errors.New("--password-stdin needs --username"))
	case o.username != "" && !o.passwordStdin:
		return cli.Usage(errors.New("--username needs a password\nhint: give --password-stdin and the password on stdin; or set NOTATION_USERNAME and NOTATION_PASSWORD, or use docker login, without --username"))
	case o.RegistryLimit < 1:
		return cli.Usage(errors.New("--registry-concurrency must be at least 1"))
	case o.registryRate < 0:
		return cli.Usage(errors.New("--registry-rate must not be negative"))
	case o.maxPages < 1:
		return cli.Usage(errors.New("--max-pages must be at least 1"))
	case o.listTimeout <= 0 || o.bodyTimeout <= 0:
		return cli.Usage(errors.New("--list-timeout and --body-timeout must be longer than 0"))
	}
	return checkThere(o.NamedFiles())
}

// Check returns a usage error for invalid values.
func (o *RemoteOptions) Check() error {
	if err := o.RegistryOptions.Check(); err != nil {
		return err
	}
	if o.maxRead <= 0 {
		return cli.Usage(errors.New("--notary-timeout must be longer than 0"))
	}
	if o.maxRecords < 1 || o.MaxTrust < 1 {
		return cli.Usage(errors.New("--max-changefeed-records and --max-trust-data must be at least 1"))
	}
	if o.NotaryLimit < 1 {
		return cli.Usage(errors.New("--notary-concurrency must be at least 1"))
	}
	if o.NotaryServer != "" {
		if err := checkNotaryURL(o.NotaryServer); err != nil {
			return cli.Usage(fmt.Errorf("--notary-server %w", err))
		}
	}
	if _, err := o.Plugins(); err != nil {
		return cli.Usage(err)
	}
	if err := dct.CheckAllowExpired(o.AllowExpired); err != nil {
		return cli.Usage(err)
	}
	return checkThere(o.NamedFiles())
}

// Credentials reads user and password from stdin or the environment. It removes the variables from the environment,
// so that no plugin inherits them.
func (o *RegistryOptions) Credentials(stdin io.Reader) error {
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
		return cli.Usage(errors.New("--password-stdin: stdin is empty"))
	}
	return nil
}

// cache returns a cache that keeps files of the Notary server between calls; nil if it has no place.
func (o *RemoteOptions) cache(log *slog.Logger) dct.Cache {
	dir := o.CacheDir
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			log.Debug("trust data is not cached", "reason", err)
			return nil
		}
		dir = filepath.Join(user, "dct2notation", "trust")
	}
	if dir == "none" || !o.FromServer() {
		return nil
	}
	var once sync.Once
	return dct.FileCache{Dir: dir, Trouble: func(err error) {
		once.Do(func() {
			log.Warn("cannot use the cache of trust data", "error", err, "hint", "this costs only time; name another directory, or none, with --cache-dir")
		})
	}}
}

// KeyOptions say which key signs and what its signatures are like.
type KeyOptions struct {
	Key          string
	Plugin       string
	ID           string
	pluginConfig map[string]string
	pluginPath   string
	pluginSHA256 string
	pluginEnv    []string
	timeout      time.Duration
	keyRate      float64
	expiry       time.Duration
	format       string
	Metadata     map[string]string
	TSAURL       string
	TSARoot      string
	tsaRate      float64
	Accepted     []string
	identity     string
	root         string
	subject      string
	ekus         []string
}

// Bind adds the flags.
func (o *KeyOptions) Bind(f *pflag.FlagSet) {
	cli.Grouped(f, cli.GroupKey, func(f *pflag.FlagSet) {
		f.StringVarP(&o.Key, "key", "k", "", "name of a key in notation's signingkeys.json (without --key and --plugin: notation's default key, marked * in notation key list)")
		f.StringVar(&o.Plugin, "plugin", "", "notation plugin that holds the key; needs --id")
		f.StringVar(&o.ID, "id", "", "key id to pass to the plugin")
		f.Var((*cli.Pairs)(&o.pluginConfig), "plugin-config", "configuration of the plugin, k=v; repeatable")
		f.StringSliceVar(&o.pluginEnv, "plugin-env", nil, "additional environment variables to pass to the plugin")
		f.StringVar(&o.pluginPath, "plugin-path", "", "path of the plugin (default: installed as for notation)")
		f.StringVar(&o.pluginSHA256, "plugin-sha256", "", "expected SHA-256 of the plugin's file")
		f.StringArrayVar(&o.Accepted, "accept-certificate", nil, "another certificate whose signatures count as the key's, such as the one before a renewal: PEM file (leaf first), or SHA-256 thumbprint; repeatable")
		f.StringVar(&o.identity, "identity", "certificate", "which signatures count as the key's: certificate (made with its current certificate); subject (timestamped, by any certificate for --key-subject under --key-root); profile (by the signing profile whose ARN is --id, under --key-root)")
		f.StringVar(&o.root, "key-root", "", "file with the root certificate of the key's certificates, for --identity")
		f.StringVar(&o.subject, "key-subject", "", "complete subject of the key's certificates, such as C=US,ST=WA,O=Example,CN=release, for --identity subject")
		f.StringSliceVar(&o.ekus, "key-eku", nil, "extended key usage (OID) of the key's certificates, needed where others have certificates from the same root")
		f.DurationVar(&o.timeout, "plugin-timeout", time.Minute, "time limit for one call of the plugin")
	})
	cli.Grouped(f, cli.GroupSigning, func(f *pflag.FlagSet) {
		f.StringVar(&o.format, "signature-format", "jws", "signature envelope format: jws or cose")
		f.DurationVarP(&o.expiry, "expiry", "e", 0, "how long signatures are valid, in whole seconds (0: as long as the certificate)")
		f.VarP((*cli.Pairs)(&o.Metadata), "user-metadata", "m", "metadata to add to each signature, k=v; repeatable")
		f.StringVar(&o.TSAURL, "timestamp-url", "", "time-stamping authority (RFC 3161) that countersigns each signature; needs --timestamp-root-cert")
		f.StringVar(&o.TSARoot, "timestamp-root-cert", "", "file with the root certificate of the time-stamping authority")
	})
	cli.Grouped(f, cli.GroupLimits, func(f *pflag.FlagSet) {
		f.Float64Var(&o.keyRate, "key-rate", 0, "key operations per second (0: adapt to what the key service allows)")
		f.Float64Var(&o.tsaRate, "timestamp-rate", 0, "timestamps per second to request from the authority (0: adapt to what it allows)")
	})
}

// Check returns a usage error for invalid values.
func (o *KeyOptions) Check() error {
	switch {
	case o.Key != "" && o.Plugin != "":
		return cli.Usage(errors.New("--key and --plugin cannot be used together"))
	case (o.Plugin == "") != (o.ID == ""):
		return cli.Usage(errors.New("--plugin and --id must be used together"))
	case o.Plugin == "" && len(o.pluginConfig) > 0:
		return cli.Usage(errors.New("--plugin-config needs --plugin and --id"))
	case o.expiry < 0 || o.expiry%time.Second != 0:
		return cli.Usage(errors.New("--expiry must be in whole seconds and not negative"))
	case o.keyRate < 0 || o.tsaRate < 0:
		return cli.Usage(errors.New("--key-rate and --timestamp-rate are not negative"))
	case (o.TSAURL == "") != (o.TSARoot == ""):
		return cli.Usage(errors.New("--timestamp-url and --timestamp-root-cert must be used together"))
	}
	if err := o.checkIdentity(); err != nil {
		return cli.Usage(err)
	}
	return cli.Usage(migrate.CheckMetadata(o.Metadata))
}

// EngineOptions say how images are signed, and where progress is kept.
type EngineOptions struct {
	KeyOptions
	ForceTag  bool
	workers   int
	State     string
	platforms string
	Recheck   bool
	Rebind    bool
	Resign    bool
	shared    bool

	dedicated   []string
	MinValidity time.Duration
}

// Bind adds the flags.
func (o *EngineOptions) Bind(f *pflag.FlagSet) {
	o.KeyOptions.Bind(f)
	cli.Grouped(f, cli.GroupSigning, func(f *pflag.FlagSet) {
		f.StringVar(&o.platforms, "platforms", "index", "what to sign of a multi-platform image: index (the digest that DCT signed) or all (also the images that the index lists, except attestations)")
		f.BoolVar(&o.ForceTag, "force-referrers-tag", false, "store signatures with the referrers tag schema, without trying the referrers API")
		f.BoolVar(&o.Rebind, "rebind", false, "sign digests again that were tagged after they were signed, so that one signature binds all their tags")
	})
	cli.Grouped(f, cli.GroupSigning, func(f *pflag.FlagSet) {
		f.StringArrayVar(&o.dedicated, "dedicated-ca", nil, "KEY whose CA issues certificates to this key only: sign even if no trust policy can name the certificate's subject; repeatable, as for policy")
		f.DurationVar(&o.MinValidity, "min-validity", 24*time.Hour, "sign only if the key's certificate is valid for at least this long; does not apply to timestamped signatures")
		f.BoolVar(&o.Resign, "resign", false, "sign again images whose signature is by an accepted earlier certificate, or lacks the expiry or timestamp now requested")
		f.BoolVar(&o.shared, "shared", false, "other machines sign these images with the same key: check the registry again before each push, which makes duplicate signatures rarer, but not impossible")
	})
	cli.Grouped(f, cli.GroupProgress, func(f *pflag.FlagSet) {
		f.StringVar(&o.State, "state", "", "ledger (default: dct2notation/ledger.db in the XDG state directory)")
		f.BoolVar(&o.Recheck, "recheck", false, "also check the registry for signatures that the ledger has as done, and sign again where they were deleted")
	})
	cli.Grouped(f, cli.GroupLimits, func(f *pflag.FlagSet) {
		f.IntVar(&o.workers, "workers", 8, "concurrent key operations")
	})
}

// Check returns a usage error for invalid values.
func (o *EngineOptions) Check() error {
	if o.MinValidity < 0 {
		return cli.Usage(fmt.Errorf("--min-validity %s: must not be negative", o.MinValidity))
	}
	if o.workers < 1 {
		return cli.Usage(fmt.Errorf("--workers %d: must be at least 1", o.workers))
	}
	if o.platforms != "index" && o.platforms != "all" {
		return cli.Usage(fmt.Errorf("--platforms %s: must be index or all", o.platforms))
	}
	return o.KeyOptions.Check()
}

// StatePath returns the ledger's path. The folder of a named ledger must exist: a mistyped path
// would start a new ledger elsewhere instead of resuming the old one.
func (o *EngineOptions) StatePath() (string, error) {
	if folder := filepath.Dir(o.State); o.State != "" && !Exists(folder) {
		return "", cli.Usage(fmt.Errorf("--state %s: folder %s does not exist\nhint: create it, if this is where the ledger belongs", safetext.Safe(o.State, 300), safetext.Safe(folder, 300)))
	}
	return LedgerPath(o.State)
}

// LedgerPath returns the path of the ledger that --state names, or the default one.
func LedgerPath(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	dir, err := cli.StateDir()
	if err != nil {
		return "", cli.Usage(fmt.Errorf("%w\nhint: give --state", err))
	}
	return filepath.Join(dir, "ledger.db"), nil
}

// ReadOptions are the options of verbs that read the trust data of repositories.
type ReadOptions struct {
	cli.Common
	RemoteOptions
	SelectOptions
}

// Bind adds the flags.
func (o *ReadOptions) Bind(f *pflag.FlagSet) {
	o.Common.Bind(f)
	o.RemoteOptions.Bind(f)
	o.SelectOptions.Bind(f)
}

// Check returns a usage error for invalid values.
func (o *ReadOptions) Check() error { return cli.FirstError(o.Common.Check, o.CheckReading) }

// CheckReading is Check for verbs with output formats of their own.
func (o *ReadOptions) CheckReading() error {
	return cli.FirstError(o.CheckLog, o.RemoteOptions.Check, o.SelectOptions.Check)
}

// Connect connects to the servers and finds the repositories; see [Connect].
func (o *ReadOptions) Connect(ctx context.Context, cfg Config, args []string, a Access, s cli.Streams, log *slog.Logger) (*Session, error) {
	return Connect(ctx, o.RemoteOptions, o.SelectOptions, cfg, args, a, s, log)
}

// Options are the flags that plan, run and doctor share.
type Options struct {
	ReadOptions
	EngineOptions
	AcceptRoot AcceptedRoots
}

// Bind adds the flags.
func (o *Options) Bind(c *cobra.Command) {
	o.ReadOptions.Bind(c.Flags())
	o.Shard.Bind(c.Flags())
	o.EngineOptions.Bind(c.Flags())
	cli.Grouped(c.Flags(), cli.GroupTrust, func(f *pflag.FlagSet) { f.Var(&o.AcceptRoot, "accept-root", acceptRootHelp) })
}

// Check returns a usage error for invalid values.
func (o *Options) Check() error { return cli.FirstError(o.ReadOptions.Check, o.EngineOptions.Check) }
