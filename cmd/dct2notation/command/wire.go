package command

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/notaryproject/notation-go/dir"

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
	signer *notation.Signer
	engine *migrate.Engine
}

// fingerprint fields that hold the configuration a ledger belongs to.
const (
	fieldKey   = "key"
	fieldLeaf  = "leaf"
	fieldChain = "chain"
)

// buildEngine opens the key and puts the real parts behind the engine. known is the
// configuration that the ledger was made with, or nil.
func buildEngine(ctx context.Context, f *field, o engineOptions, known state.Fingerprint, log *slog.Logger) (*engineParts, error) {
	s, err := f.openKey(ctx, o.keyOptions, known, log)
	if err != nil {
		return nil, err
	}
	return &engineParts{field: f, signer: s, engine: &migrate.Engine{
		Trust: f.reader(), Registry: &shelf{client: f.registry, signer: s}, Signer: signer{s}, Scope: f.scope,
		Workers: o.workers, Tool: "dct2notation/" + Version(), Metadata: o.metadata, Log: log,
	}}, nil
}

// openKey proves the key that the options name, and before that the authority that is to
// countersign: a key operation is not to be spent for a signature that cannot be finished.
func (r *remote) openKey(ctx context.Context, o keyOptions, known state.Fingerprint, log *slog.Logger) (*notation.Signer, error) {
	key, err := o.notationKey()
	if err != nil {
		return nil, err
	}
	chain, err := knownChain(known, key)
	if err != nil {
		return nil, err
	}
	var tsa *notation.TSA
	if o.tsaURL != "" {
		if tsa, err = notation.OpenTSA(ctx, notation.TSAOptions{URL: o.tsaURL, RootCert: o.tsaRoot, Client: transport.Client(r.rt, nil).Client}); err != nil {
			return nil, err
		}
	}
	s, err := notation.Open(ctx, key, notation.Options{
		Format: o.format, Chain: chain, TSA: tsa,
		OnWait: func(d time.Duration) {
			log.Warn("waiting", "key", key.Name, "reason", "its service throttles", "for", d)
		},
	})
	if err != nil {
		return nil, err
	}
	log.Info("key", "name", safetext.Safe(s.Name(), 128), "leaf", s.Leaf(), "valid_until", s.NotAfter().UTC().Format(time.RFC3339))
	return s, nil
}

// knownChain is the key's certificate chain from an earlier run: with it the key need not
// be asked for a signature that is thrown away.
func knownChain(known state.Fingerprint, key notation.Key) ([][]byte, error) {
	if key.Plugin == "" || known[fieldChain] == "" || known[fieldKey] != describe(key) {
		return nil, nil
	}
	var chain [][]byte
	if err := json.Unmarshal([]byte(known[fieldChain]), &chain); err != nil {
		return nil, fmt.Errorf("reading the key's chain from the ledger: %w", err)
	}
	return chain, nil
}

// describe names a key and where it is, without its secrets.
func describe(k notation.Key) string {
	if k.Plugin == "" {
		return k.Name + " " + k.KeyFile
	}
	return k.Name + " " + k.Plugin + " " + k.ID
}

// fingerprint says what configuration a run has, to be kept in the ledger.
func (p *engineParts) fingerprint(o keyOptions) (state.Fingerprint, error) {
	key, err := o.notationKey()
	if err != nil {
		return nil, err
	}
	chain, err := json.Marshal(p.signer.Chain())
	if err != nil {
		return nil, err
	}
	f := state.Fingerprint{
		fieldKey: describe(key), fieldLeaf: p.signer.Leaf(), fieldChain: string(chain),
	}
	if o.tsaURL != "" {
		f["time-stamping authority"] = transport.RedactText(o.tsaURL)
	}
	// One field for each pin: a further repository is no other configuration.
	for gun, ids := range p.pins.Certs {
		f["pin of "+gun] = strings.Join(ids, ",")
	}
	for prefix, file := range p.pins.CA {
		f["pinned authority of "+prefix] = file
	}
	for _, host := range registryHosts(p.guns) {
		f["notary server of "+host] = p.notaryURL(host)
	}
	return f, nil
}
