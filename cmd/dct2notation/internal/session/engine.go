package session

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/notaryproject/notation-go/dir"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/certfile"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/state"
)

// UseNotationFolders makes notation-go use the folders named in the environment, as the notation command does.
func UseNotationFolders() {
	for name, where := range map[string]*string{
		"NOTATION_CONFIG": &dir.UserConfigDir, "NOTATION_LIBEXEC": &dir.UserLibexecDir, "NOTATION_CACHE": &dir.UserCacheDir,
	} {
		if v := os.Getenv(name); v != "" {
			*where = v
		}
	}
}

// NotationKey returns the key that the options name.
func (o *KeyOptions) NotationKey() (notation.Key, error) {
	k := notation.Key{Name: o.Plugin + "/" + o.ID, Plugin: o.Plugin, ID: o.ID, Config: o.pluginConfig}
	if o.Plugin == "" {
		var err error
		if k, err = notation.NotationKey(o.Key); err != nil {
			return k, cli.Usage(err)
		}
	}
	k.PluginPath, k.PluginSHA256, k.PluginEnv, k.Timeout = o.pluginPath, o.pluginSHA256, o.pluginEnv, o.timeout
	return k, nil
}

// EngineParts is what plan and run share.
type EngineParts struct {
	*Session
	Keys   []OpenedKey
	Engine *migrate.Engine
}

// OpenedKey is a key that was proven, with its configuration.
type OpenedKey struct {
	KeyRule
	*notation.Signer
}

// BuildEngine opens the keys and builds the engine with the real parts. known is the configuration that the ledger
// was made with, or nil.
func BuildEngine(ctx context.Context, f *Session, o EngineOptions, cfg Config, known *state.Fingerprint, log *slog.Logger) (*EngineParts, error) {
	keys, err := f.OpenKeys(ctx, o.KeyOptions, cfg, known, log)
	if err != nil {
		return nil, err
	}
	if err := o.CheckKeys(f, keys, time.Now(), log); err != nil {
		return nil, err
	}
	return NewEngine(f, o, keys, known, log), nil
}

// OpenKeys opens the keys of the configuration, or the one that the flags name.
func (r *Servers) OpenKeys(ctx context.Context, o KeyOptions, cfg Config, known *state.Fingerprint, log *slog.Logger) ([]OpenedKey, error) {
	rules, err := o.Rules(cfg)
	if err != nil {
		return nil, err
	}
	var keys []OpenedKey
	for _, rule := range rules {
		s, err := r.OpenKey(ctx, rule.KeyOptions, known, log)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(keys, func(k OpenedKey) bool { return k.Name() == s.Name() }) {
			return nil, Twice(s.Name())
		}
		keys = append(keys, OpenedKey{rule, s})
	}
	return keys, nil
}

// NewEngine builds an engine with the real parts. known is what the ledger has of identities that were accepted
// before.
func NewEngine(f *Session, o EngineOptions, opened []OpenedKey, known *state.Fingerprint, log *slog.Logger) *EngineParts {
	signers := map[string]*notation.Signer{}
	var keys []migrate.Key
	for _, k := range opened {
		signers[k.Name()] = k.Signer
		s := Signer{Signer: k.Signer, monitor: f.monitor}
		key := k.EngineKey(s)
		key.Prove = s.Prove
		key.Proofs = func() (int, bool) { return k.Calls().Proofs, k.Proven() }
		key.Rate = k.keyRate
		k.identify(&key, known)
		keys = append(keys, key)
	}
	return &EngineParts{Session: f, Keys: opened, Engine: &migrate.Engine{
		Trust:    newOnePerLocation(f.Reader(), f.GUNs, f.canonical),
		Registry: &SignatureRegistry{ImageRegistry: ImageRegistry{Client: f.Registry}, Signers: signers}, Keys: keys, Scope: f.Scope,
		Workers: o.workers, Readers: f.Opts.NotaryLimit, Tool: cli.Tool(), Log: log, Pause: ItemPause,
		AllPlatforms: o.platforms == "all", Recheck: o.Recheck, Rebind: o.Rebind, Resign: o.Resign, Shared: o.shared,
	}}
}

// Twice refuses a key that the configuration names in two entries.
func Twice(key string) error {
	return cli.Usage(fmt.Errorf("keys: %s is listed twice; put all its roles and repositories in one entry", safetext.Safe(key, 128)))
}

// OpenKey proves the key that the options name. It checks the time-stamping authority first, so that
// no key operation is spent on a signature that cannot be finished.
func (r *Servers) OpenKey(ctx context.Context, o KeyOptions, known *state.Fingerprint, log *slog.Logger) (*notation.Signer, error) {
	key, options, err := r.keyOf(ctx, o, known, log)
	if err != nil {
		return nil, err
	}
	return openKey(ctx, key, options, log)
}

// keyOf returns the key that the options name, and the options to open it with.
func (r *Servers) keyOf(ctx context.Context, o KeyOptions, known *state.Fingerprint, log *slog.Logger) (notation.Key, notation.Options, error) {
	key, err := o.NotationKey()
	if err != nil {
		return key, notation.Options{}, err
	}
	options, err := o.Signing(key, known, log)
	if err != nil {
		return key, options, err
	}
	if o.TSAURL != "" {
		if options.TSA, err = r.OpenTSA(ctx, o, log); err != nil {
			return key, options, err
		}
	}
	options.Client, options.Budget = r.client(), r.budget
	return key, options, nil
}

func openKey(ctx context.Context, key notation.Key, options notation.Options, log *slog.Logger) (*notation.Signer, error) {
	s, err := notation.Open(ctx, key, options)
	if err != nil {
		return nil, err
	}
	log.Info(cli.KeyOpened, "name", safetext.Safe(s.Name(), 128), "leaf", s.Leaf(), "valid_until", s.NotAfter().UTC().Format(time.RFC3339))
	return s, nil
}

// OpenTSA requests a first timestamp from the time-stamping authority, and returns the authority ready to use. Keys
// that name the same one share its rate limit.
func (r *Servers) OpenTSA(ctx context.Context, o KeyOptions, log *slog.Logger) (*notation.TSA, error) {
	name := fmt.Sprintf("%s %s %g", o.TSAURL, o.TSARoot, o.tsaRate)
	if t, ok := r.authorities[name]; ok {
		return t, nil
	}
	t, err := notation.OpenTSA(ctx, notation.TSAOptions{
		URL: o.TSAURL, RootCert: o.TSARoot, Client: r.client(), Rate: o.tsaRate,
		OnThrottled: throttled(log.With("authority", transport.RedactText(o.TSAURL)), "it throttles, or does not answer"),
	})
	if err == nil {
		r.authorities[name] = t
	}
	return t, err
}

// throttled logs a wait because of throttling.
func throttled(log *slog.Logger, reason string) func(notation.Throttling) {
	return func(t notation.Throttling) {
		if t.Wait > 0 {
			log.Warn(cli.Waiting, "reason", reason, "for", t.Wait)
			return
		}
		log.Warn("slower", "reason", reason, "now", fmt.Sprintf("%.1f/s", t.Rate))
	}
}

// client returns an HTTP client on the shared transport, for servers that are neither registry nor Notary server.
func (r *Servers) client() *http.Client { return transport.Client(r.Transport, nil).Client }

// Examine calls [notation.Examine] for the key that the options name.
func (r *Servers) Examine(ctx context.Context, o KeyOptions, key notation.Key, tsa *notation.TSA, known *state.Fingerprint, sign bool, log *slog.Logger, tell func(notation.Finding)) (*notation.Signer, error) {
	options, err := o.Signing(key, known, log)
	if err != nil {
		return nil, err
	}
	options.TSA, options.Client = tsa, r.client()
	return notation.Examine(ctx, key, options, sign, tell)
}

// Signing returns how the key is to sign, except for the time-stamping authority.
func (o *KeyOptions) Signing(key notation.Key, known *state.Fingerprint, log *slog.Logger) (notation.Options, error) {
	accepted, err := identitiesOf(o.Accepted)
	if err != nil {
		return notation.Options{}, cli.Usage(fmt.Errorf("--accept-certificate: %w", err))
	}
	identity, root, err := o.Identity()
	if err != nil {
		return notation.Options{}, err
	}
	return notation.Options{
		Identity: identity, Root: root, Format: o.format, Chain: knownChain(known, key, time.Now()), Accepted: accepted,
		Rate: o.keyRate, Expiry: o.expiry,
		OnThrottled: throttled(log.With("key", key.Name), "its service throttles"),
	}, nil
}

// knownChain returns the key's certificate chain from an earlier run. With it, the key need not make a throw-away
// signature, unless something depends on whose it is. An expired or invalid chain counts as none: the key is asked
// for its present one.
func knownChain(known *state.Fingerprint, key notation.Key, now time.Time) [][]byte {
	if key.Plugin == "" || known == nil {
		return nil
	}
	chain := known.Signers[KeyID(key)].Chain
	for _, der := range chain {
		if c, err := x509.ParseCertificate(der); err != nil || now.After(c.NotAfter) {
			return nil
		}
	}
	return chain
}

// KeyID names a key in the ledger, without its secrets.
func KeyID(k notation.Key) string {
	if k.Plugin == "" {
		return state.KeyID(k.Name, k.KeyFile)
	}
	return state.KeyID(k.Name, k.Plugin, k.ID)
}

// Fingerprint returns the configuration of a run, to be kept in the ledger.
func (p *EngineParts) Fingerprint() (*state.Fingerprint, error) {
	f := &state.Fingerprint{
		Signers: map[string]state.Signer{}, Pins: p.pins.Certs, RootKeys: p.pins.RootKeys,
		Authorities: map[string]string{}, NotaryServers: map[string]string{}, Shard: p.Shard.String(),
	}
	var keys []string
	for _, k := range p.Keys {
		key, err := k.NotationKey()
		if err != nil {
			return nil, err
		}
		id := KeyID(key)
		f.Signers[id] = state.Signer{Identity: k.Signer.Identity().String(), Renews: k.Signer.Identity().Renews(), Chain: k.Chain(), TSA: transport.RedactText(k.TSAURL)}
		keys = append(keys, strings.Join(append([]string{id}, slices.Concat(k.Roles, k.repositories)...), " "))
	}
	f.Keys = strings.Join(keys, ", ")
	for prefix, file := range p.pins.CA {
		var err error
		if f.Authorities[prefix], err = thumbprints(file); err != nil {
			return nil, err
		}
	}
	for _, host := range RegistryHosts(p.GUNs) {
		if p.Opts.FromServer() { // otherwise no Notary server is asked
			f.NotaryServers[host] = p.NotaryURL(host)
		}
	}
	return f, nil
}

// thumbprints returns those of a file's certificates, sorted: a file that was moved pins the same, and one that was
// replaced does not.
func thumbprints(path string) (string, error) {
	certs, err := certfile.Read(path)
	if err != nil {
		return "", fmt.Errorf("reading pinned authorities: %w", err)
	}
	var all []string
	for _, c := range certs {
		all = append(all, fmt.Sprintf("sha256:%x", sha256.Sum256(c.Raw)))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ","), nil
}
