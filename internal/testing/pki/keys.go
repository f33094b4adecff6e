package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// An Algorithm is a kind of signing key, named like the plugin protocol's key specs.
type Algorithm string

// The kinds of key that Notation allows.
const (
	RSA2048 Algorithm = "RSA-2048"
	RSA3072 Algorithm = "RSA-3072"
	RSA4096 Algorithm = "RSA-4096"
	EC256   Algorithm = "EC-256"
	EC384   Algorithm = "EC-384"
	EC521   Algorithm = "EC-521"
)

// Algorithms are all algorithms.
var Algorithms = []Algorithm{RSA2048, RSA3072, RSA4096, EC256, EC384, EC521}

var (
	rsaBits = map[Algorithm]int{RSA2048: 2048, RSA3072: 3072, RSA4096: 4096}
	curves  = map[Algorithm]elliptic.Curve{EC256: elliptic.P256(), EC384: elliptic.P384(), EC521: elliptic.P521()}
)

// Algorithm returns the kind of the key. An error means that Notation would not allow it.
func (i *Identity) Algorithm() (Algorithm, error) {
	switch key := i.Key.Public().(type) {
	case *rsa.PublicKey:
		for a, bits := range rsaBits {
			if key.N.BitLen() == bits {
				return a, nil
			}
		}
	case *ecdsa.PublicKey:
		for a, curve := range curves {
			if key.Curve == curve {
				return a, nil
			}
		}
	}
	return "", fmt.Errorf("key of type %T is none that Notation allows", i.Key.Public())
}

// rsaKeys caches RSA keys by algorithm and name for the life of the process, since making one takes up to seconds.
// The name is part of the key so that two names never share an RSA key.
var rsaKeys sync.Map // rsaName -> func() (*rsa.PrivateKey, error)

type rsaName struct {
	algorithm Algorithm
	name      string
}

// NewKey makes a key; for RSA, the same name gives the same key.
func NewKey(name string, a Algorithm) (crypto.Signer, error) {
	if curve, ok := curves[a]; ok {
		return ecdsa.GenerateKey(curve, rand.Reader)
	}
	bits, ok := rsaBits[a]
	if !ok {
		return nil, fmt.Errorf("unknown algorithm %q", a)
	}
	once, _ := rsaKeys.LoadOrStore(rsaName{a, name}, sync.OnceValues(func() (*rsa.PrivateKey, error) {
		return rsa.GenerateKey(rand.Reader, bits)
	}))
	return once.(func() (*rsa.PrivateKey, error))()
}

// Public returns a key of which only the public part is known, as on a token: it can be certified.
func Public(key crypto.PublicKey) crypto.Signer { return public{key} }

type public struct{ key crypto.PublicKey }

func (p public) Public() crypto.PublicKey { return p.key }

func (public) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the private part of the key is not here")
}

// Files are the paths of a private key (PKCS #8) and its certificates (leaf to root), both in PEM.
type Files struct {
	KeyFile   string `json:"keyFile"`
	ChainFile string `json:"chainFile"`
}

// Save writes <name>.key and <name>.crt to a folder.
func (i *Identity) Save(dir, name string) (Files, error) {
	at := Files{filepath.Join(dir, name+".key"), filepath.Join(dir, name+".crt")}
	key, err := i.KeyPEM()
	if err == nil {
		err = os.WriteFile(at.KeyFile, key, 0o600)
	}
	if err == nil {
		err = os.WriteFile(at.ChainFile, i.ChainPEM(), 0o644)
	}
	if err != nil {
		return Files{}, fmt.Errorf("saving test key %s: %w", name, err)
	}
	return at, nil
}

// Load reads what Save wrote.
func (f Files) Load() (*Identity, error) {
	i, err := f.load()
	if err != nil {
		return nil, fmt.Errorf("loading test key %s: %w", f.KeyFile, err)
	}
	return i, nil
}

func (f Files) load() (*Identity, error) {
	content, err := os.ReadFile(f.KeyFile)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", parsed)
	}
	rest, err := os.ReadFile(f.ChainFile)
	if err != nil {
		return nil, err
	}
	i := &Identity{Key: key}
	for block, rest = pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		i.Chain = append(i.Chain, c)
	}
	if len(i.Chain) == 0 {
		return nil, fmt.Errorf("no certificate in %s", f.ChainFile)
	}
	return i, nil
}
