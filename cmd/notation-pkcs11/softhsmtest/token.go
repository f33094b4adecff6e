//go:build cgo && unix

package softhsmtest

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrNotInstalled is returned by New if SoftHSM2 is missing.
var ErrNotInstalled = errors.New("SoftHSM2 is not installed: install the Debian package softhsm2, or set SOFTHSM2_MODULE to the path of libsofthsm2.so")

// modules are the paths at which systems install the library.
var modules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",                      // Debian, Ubuntu
	"/usr/lib64/softhsm/libsofthsm.so",                     // older Fedora
	"/usr/lib64/pkcs11/libsofthsm2.so",                     // Fedora
	"/usr/lib/pkcs11/libsofthsm2.so",                       // Arch
	"/usr/local/lib/softhsm/libsofthsm2.so",                // from source, BSD
	"/opt/homebrew/opt/softhsm/lib/softhsm/libsofthsm2.so", // macOS
}

// Token is an initialised token with a user PIN.
type Token struct {
	Module string // absolute path of the library
	Label  string
	PIN    string
	conf   string
}

// New initialises a token under dir, which must exist and be the caller's own. It returns ErrNotInstalled if SoftHSM2
// is missing.
func New(dir string) (*Token, error) {
	module, err := find()
	if err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("making a SoftHSM token: %w", err)
	}
	tokens := filepath.Join(dir, "tokens")
	if err := os.MkdirAll(tokens, 0o700); err != nil {
		return nil, fmt.Errorf("making a SoftHSM token: %w", err)
	}
	t := &Token{Module: module, Label: "notation", PIN: "98761234", conf: filepath.Join(dir, "softhsm2.conf")}
	text := "directories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	if err := os.WriteFile(t.conf, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("making a SoftHSM token: %w", err)
	}
	if _, err := t.do(order{Verb: "init"}); err != nil {
		return nil, fmt.Errorf("initialising a SoftHSM token: %w", err)
	}
	return t, nil
}

// Env returns the environment that a process needs to see the token.
func (t *Token) Env() []string { return []string{"SOFTHSM2_CONF=" + t.conf} }

// Option changes the key that is made.
type Option func(*order)

// AlwaysAuthenticate makes a key that asks for the PIN at each signature.
func AlwaysAuthenticate(o *order) { o.AlwaysAuthenticate = true }

// GenerateRSA makes a key pair under the label, with a new random id, and
// returns its public part. A label may be used more than once.
func (t *Token) GenerateRSA(label string, bits int, options ...Option) (crypto.PublicKey, error) {
	return t.generate(order{Verb: "rsa", Label: label, Bits: bits}, options)
}

// GenerateEC is GenerateRSA on one of the curves P-224 to P-521.
func (t *Token) GenerateEC(label string, curve elliptic.Curve, options ...Option) (crypto.PublicKey, error) {
	return t.generate(order{Verb: "ec", Label: label, Curve: curve.Params().Name}, options)
}

func (t *Token) generate(o order, options []Option) (crypto.PublicKey, error) {
	for _, option := range options {
		option(&o)
	}
	der, err := t.do(o)
	if err != nil {
		return nil, fmt.Errorf("making key %q: %w", o.Label, err)
	}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("making key %q: %w", o.Label, err)
	}
	return pub, nil
}

// ImportCertificate stores the certificate under the label and, if exactly one
// private key has that label, under that key's id.
func (t *Token) ImportCertificate(label string, cert *x509.Certificate) error {
	if _, err := t.do(order{Verb: "import", Label: label, Value: cert.Raw}); err != nil {
		return fmt.Errorf("storing certificate %q: %w", label, err)
	}
	return nil
}

// IDs returns the ids of the private keys of that label.
func (t *Token) IDs(label string) ([][]byte, error) {
	joined, err := t.do(order{Verb: "ids", Label: label})
	if err != nil {
		return nil, fmt.Errorf("reading the ids of %q: %w", label, err)
	}
	var ids [][]byte
	for ; len(joined) >= idSize; joined = joined[idSize:] {
		ids = append(ids, joined[:idSize])
	}
	return ids, nil
}

// DeletePublicKey removes the public key object and leaves the private key, as on tokens that keep no public keys.
func (t *Token) DeletePublicKey(label string) error {
	if _, err := t.do(order{Verb: "delete-public", Label: label}); err != nil {
		return fmt.Errorf("deleting public key %q: %w", label, err)
	}
	return nil
}

func find() (string, error) {
	places := modules
	if named := os.Getenv("SOFTHSM2_MODULE"); named != "" {
		places = []string{named}
	}
	for _, path := range places {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", ErrNotInstalled
}
