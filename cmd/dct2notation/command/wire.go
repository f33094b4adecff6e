package command

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/notaryproject/notation-go/dir"

	"github.com/dct2notation/dct2notation/internal/certfile"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/state"
)

// useNotationFolders points notation-go to the folders that the environment names, as the
// notation command does.
func useNotationFolders() {
	for name, where := range map[string]*string{
		"NOTATION_CONFIG": &dir.UserConfigDir, "NOTATION_LIBEXEC": &dir.UserLibexecDir, "NOTATION_CACHE": &dir.UserCacheDir,
	} {
		if v := os.Getenv(name); v != "" {
			*where = v
		}
	}
}

// notationKey is the key that the options name.
func (o *keyOptions) notationKey() (notation.Key, error) {
	k := notation.Key{Name: o.plugin + "/" + o.id, Plugin: o.plugin, ID: o.id, Config: o.pluginConfig}
	if o.plugin == "" {
		var err error
		if k, err = notation.NotationKey(o.key); err != nil {
			return k, usage(err)
		}
	}
	k.PluginPath, k.PluginSHA256, k.PluginEnv, k.Timeout = o.pluginPath, o.pluginSHA256, o.pluginEnv, o.timeout
	return k, nil
}

// engineParts are what plan and run share.
type engineParts struct {
	*field
	keys   []openedKey
	engine *migrate.Engine
}

// openedKey is a key that was proven, and how it is configured.
type openedKey struct {
	keyRule
	*notation.Signer
}

// fingerprint fields that hold the configuration a ledger belongs to.
const (
	fieldKeys  = "keys"
	fieldChain = "chain of "
)

// buildEngine opens the keys and puts the real parts behind the engine. known is the
// configuration that the ledger was made with, or nil.
func buildEngine(ctx context.Context, f *field, o engineOptions, cfg config, known state.Fingerprint, log *slog.Logger) (*engineParts, error) {
	keys, err := f.openKeys(ctx, o.keyOptions, cfg, known, log)
	if err != nil {
		return nil, err
	}
	if err := o.checkKeys(f, keys, time.Now(), log); err != nil {
		return nil, err
	}
	return newEngine(f, o, keys, known, log), nil
}

// openKeys opens the keys of the configuration, or the one that the flags name.
func (r *remote) openKeys(ctx context.Context, o keyOptions, cfg config, known state.Fingerprint, log *slog.Logger) ([]openedKey, error) {
	rules, err := o.rules(cfg)
	if err != nil {
		return nil, err
	}
	var keys []openedKey
	for _, rule := range rules {
		s, err := r.openKey(ctx, rule.keyOptions, known, log)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(keys, func(k openedKey) bool { return k.Name() == s.Name() }) {
			return nil, twice(s.Name())
		}
		keys = append(keys, openedKey{rule, s})
	}
	return keys, nil
}

// newEngine puts the real parts behind an engine. known is what the ledger has of identities that
// were accepted before.
func newEngine(f *field, o engineOptions, opened []openedKey, known state.Fingerprint, log *slog.Logger) *engineParts {
	signers := map[string]*notation.Signer{}
	var keys []migrate.Key
	for _, k := range opened {
		signers[k.Name()] = k.Signer
		s := signer{Signer: k.Signer, monitor: f.monitor}
		key := k.engineKey(s)
		key.Prove = s.Prove
		k.identify(&key, known)
		keys = append(keys, key)
	}
	return &engineParts{field: f, keys: opened, engine: &migrate.Engine{
		Trust:    newOneForEachPlace(f.reader(), f.guns, f.scope.Place, f.plain),
		Registry: &signatureRegistry{imageRegistry: imageRegistry{client: f.registry}, signers: signers}, Keys: keys, Scope: f.scope,
		Workers: o.workers, Readers: f.opts.notaryLimit, Tool: tool(), Log: log, Pause: itemPause,
		AllPlatforms: o.platforms == "all", Recheck: o.recheck, Rebind: o.rebind, Resign: o.resign, Shared: o.shared,
	}}
}

// twice refuses a key that the configuration names in two entries.
func twice(key string) error {
	return usage(fmt.Errorf("keys: %s is there twice; give it all its roles and repositories in one entry", safetext.Safe(key, 128)))
}

// openKey proves the key that the options name, and before that the authority that is to
// countersign: a key operation is not to be spent for a signature that cannot be finished.
func (r *remote) openKey(ctx context.Context, o keyOptions, known state.Fingerprint, log *slog.Logger) (*notation.Signer, error) {
	key, err := o.notationKey()
	if err != nil {
		return nil, err
	}
	options, err := o.signing(key, known, log)
	if err != nil {
		return nil, err
	}
	var tsa *notation.TSA
	if o.tsaURL != "" {
		if tsa, err = r.openTSA(ctx, o); err != nil {
			return nil, err
		}
	}
	options.TSA = tsa
	s, err := notation.Open(ctx, key, options)
	if err != nil {
		return nil, err
	}
	log.Info("key", "name", safetext.Safe(s.Name(), 128), "leaf", s.Leaf(), "valid_until", s.NotAfter().UTC().Format(time.RFC3339))
	return s, nil
}

func (r *remote) openTSA(ctx context.Context, o keyOptions) (*notation.TSA, error) {
	return notation.OpenTSA(ctx, notation.TSAOptions{URL: o.tsaURL, RootCert: o.tsaRoot, Client: transport.Client(r.rt, nil).Client})
}

// signing says how the key is to sign, but for the time-stamping authority.
func (o *keyOptions) signing(key notation.Key, known state.Fingerprint, log *slog.Logger) (notation.Options, error) {
	accepted, err := identitiesOf(o.accepted)
	if err != nil {
		return notation.Options{}, usage(fmt.Errorf("--accept-certificate: %w", err))
	}
	return notation.Options{
		Format: o.format, Chain: knownChain(known, key, time.Now()), Accepted: accepted,
		Rate: o.keyRate, Expiry: o.expiry,
		OnThrottled: func(t notation.Throttling) {
			if t.Wait > 0 {
				log.Warn("waiting", "key", key.Name, "reason", "its service throttles", "for", t.Wait)
				return
			}
			log.Warn("slower", "key", key.Name, "reason", "its service throttles", "now", fmt.Sprintf("%.1f/s", t.Rate))
		},
	}, nil
}

// knownChain is the key's certificate chain from an earlier run: with it the key need not be asked
// for a signature that is thrown away, unless something depends on whose it is. One that is past its
// date, or that makes no sense, counts as none: the key is asked what it has now.
func knownChain(known state.Fingerprint, key notation.Key, now time.Time) [][]byte {
	text := known[fieldChain+describe(key)]
	if key.Plugin == "" || text == "" {
		return nil
	}
	var chain [][]byte
	if err := json.Unmarshal([]byte(text), &chain); err != nil {
		return nil
	}
	for _, der := range chain {
		if c, err := x509.ParseCertificate(der); err != nil || now.After(c.NotAfter) {
			return nil
		}
	}
	return chain
}

// describe names a key and where it is, without its secrets.
func describe(k notation.Key) string {
	if k.Plugin == "" {
		return k.Name + " " + k.KeyFile
	}
	return k.Name + " " + k.Plugin + " " + k.ID
}

// fingerprint says what configuration a run has, to be kept in the ledger.
func (p *engineParts) fingerprint() (state.Fingerprint, error) {
	f := state.Fingerprint{}
	var keys []string
	for _, k := range p.keys {
		if err := k.fingerprint(f); err != nil {
			return nil, err
		}
		key, err := k.notationKey()
		if err != nil {
			return nil, err
		}
		keys = append(keys, strings.Join(append([]string{describe(key)}, slices.Concat(k.roles, k.repositories)...), " "))
	}
	// In one field: another key in place of this one is another configuration.
	f[fieldKeys] = strings.Join(keys, ", ")
	// One field for each pin: a further repository is no other configuration.
	for gun, ids := range p.pins.Certs {
		f[fieldPin+gun] = strings.Join(ids, ",")
	}
	for gun, ids := range p.pins.RootKeys {
		f[fieldRootKey+gun] = strings.Join(ids, ",")
	}
	for prefix, file := range p.pins.CA {
		var err error
		if f["authorities pinned for "+prefix], err = thumbprints(file); err != nil {
			return nil, err
		}
	}
	for _, host := range registryHosts(p.guns) {
		if p.opts.source == "server" { // else nobody is asked there
			f["notary server of "+host] = p.notaryURL(host)
		}
	}
	return f, nil
}

// thumbprints are those of a file's certificates, sorted: a file that was moved pins the same, and
// one that was replaced does not.
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

func (k openedKey) fingerprint(f state.Fingerprint) error {
	key, err := k.notationKey()
	if err != nil {
		return err
	}
	chain, err := json.Marshal(k.Chain())
	if err != nil {
		return err
	}
	f[state.FieldIdentity+describe(key)], f[fieldChain+describe(key)] = k.Identity().String(), string(chain)
	if k.tsaURL != "" {
		f["time-stamping authority of "+describe(key)] = transport.RedactText(k.tsaURL)
	}
	return nil
}
