package notation

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/notaryproject/notation-go/config"

	"github.com/dct2notation/dct2notation/internal/failure"
)

// Key says which key signs, and how to reach it: through a plugin, or in files like notation's local keys.
type Key struct {
	Name string // its name in plan, ledger and reports

	Plugin       string
	ID           string            // in the plugin's form
	Config       map[string]string // the plugin's configuration
	PluginPath   string            // path of the plugin's file; empty: notation's place
	PluginSHA256 string            // SHA-256 of the plugin's file, in hex; empty: any
	PluginEnv    []string          // more environment variables that the plugin may see
	Timeout      time.Duration     // of one plugin call; 0: a minute

	KeyFile, CertFile string // PEM: private key; chain, leaf first
}

// defaultTimeout is far more than a healthy key service needs.
const defaultTimeout = time.Minute

// NotationKey finds a key in notation's signingkeys.json by its name, or the default key if the name is empty.
func NotationKey(name string) (Key, error) {
	keys, err := config.LoadSigningKeys()
	if err != nil {
		return Key{}, fmt.Errorf("loading notation's signing keys: %w", err)
	}
	find := keys.GetDefault
	if name != "" {
		find = func() (config.KeySuite, error) { return keys.Get(name) }
	}
	suite, err := find()
	if err != nil {
		return Key{}, failure.WithHint(failure.Permanent, missingKey(name, err), "notation key list shows what there is; or give --plugin and --id")
	}
	k := Key{Name: suite.Name}
	switch {
	case suite.ExternalKey != nil:
		k.Plugin, k.ID, k.Config = suite.PluginName, suite.ID, suite.PluginConfig
	case suite.X509KeyPair != nil:
		k.KeyFile, k.CertFile = suite.KeyPath, suite.CertificatePath
	default:
		return Key{}, fmt.Errorf("key %s of notation's signing keys names neither files nor a plugin", shown(name))
	}
	return k, nil
}

// KeyNames returns the names in notation's signingkeys.json, or none if it cannot be read.
func KeyNames() (names []string) {
	keys, err := config.LoadSigningKeys()
	if err != nil {
		return nil
	}
	for _, k := range keys.Keys {
		names = append(names, k.Name)
	}
	return names
}

// missingKey returns the error for a key that notation does not have; an empty name means the default key.
func missingKey(name string, err error) error {
	if name == "" {
		return errors.New("notation has no default key, and no other is named")
	}
	return fmt.Errorf("finding key %s in notation's signing keys: %w", shown(name), err)
}

// check returns an error unless the key can be used as described.
func (k Key) check() error {
	switch {
	case k.Name == "":
		return errors.New("the key has no name")
	case k.Plugin != "" && k.ID == "":
		return failure.WithHint(failure.Permanent, fmt.Errorf("plugin %s: no key id", shown(k.Plugin)), "give --id")
	case k.Plugin == "" && (k.KeyFile == "" || k.CertFile == ""):
		return errors.New("the key names neither a plugin nor a key and certificate file")
	}
	return nil
}

// parseChain parses certificates in DER, leaf first.
func parseChain(der [][]byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for _, d := range der {
		c, err := x509.ParseCertificate(d)
		if err != nil {
			return nil, fmt.Errorf("parsing the key's certificate chain: %w", err)
		}
		chain = append(chain, c)
	}
	return chain, nil
}
