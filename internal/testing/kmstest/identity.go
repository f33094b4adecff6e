package kmstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
)

// An Identity is a signing key and its certificates, from the leaf to the root.
type Identity struct {
	Key   crypto.Signer
	Chain []*x509.Certificate
}

// Algorithm tells what kind of key it is. An error means that Notation would not allow it.
func (i *Identity) Algorithm() (Algorithm, error) { return algorithmOf(i.Key.Public()) }

// KeyPEM is the private key in PKCS #8.
func (i *Identity) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(i.Key)
	if err != nil {
		return nil, fmt.Errorf("encoding a test key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ChainPEM is the certificates, leaf first.
func (i *Identity) ChainPEM() []byte {
	var out []byte
	for _, c := range i.Chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// Save writes <name>.key and <name>.crt to dir and returns their paths, as a Behaviour wants them.
func (i *Identity) Save(dir, name string) (Key, error) {
	key, err := i.KeyPEM()
	if err != nil {
		return Key{}, err
	}
	at := Key{KeyFile: filepath.Join(dir, name+".key"), ChainFile: filepath.Join(dir, name+".crt")}
	if err := os.WriteFile(at.KeyFile, key, 0o600); err != nil {
		return Key{}, fmt.Errorf("saving test key %s: %w", name, err)
	}
	if err := os.WriteFile(at.ChainFile, i.ChainPEM(), 0o644); err != nil {
		return Key{}, fmt.Errorf("saving the certificates of test key %s: %w", name, err)
	}
	return at, nil
}

// Load reads what Save wrote.
func (k Key) Load() (*Identity, error) {
	content, err := os.ReadFile(k.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("loading a test key: %w", err)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("loading test key %s: no PEM block", k.KeyFile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("loading test key %s: %w", k.KeyFile, err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("loading test key %s: a %T cannot sign", k.KeyFile, parsed)
	}
	chain, err := loadChain(k.ChainFile)
	if err != nil {
		return nil, err
	}
	return &Identity{Key: key, Chain: chain}, nil
}

func loadChain(path string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("loading test certificates: %w", err)
	}
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("loading test certificates %s: %w", path, err)
		}
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("loading test certificates %s: none in the file", path)
	}
	return chain, nil
}

// Sign signs payload as a Notation plugin must: RSASSA-PSS with a salt as long as the hash, or ECDSA
// as r and s side by side.
func (i *Identity) Sign(payload []byte) ([]byte, error) {
	algorithm, err := i.Algorithm()
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	h := hashes[algorithm].New()
	h.Write(payload)
	digest := h.Sum(nil)
	if key, ok := i.Key.(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
		size := (key.Curve.Params().BitSize + 7) / 8
		signature := make([]byte, 2*size)
		r.FillBytes(signature[:size])
		s.FillBytes(signature[size:])
		return signature, nil
	}
	signature, err := i.Key.Sign(rand.Reader, digest,
		&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hashes[algorithm]})
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return signature, nil
}
