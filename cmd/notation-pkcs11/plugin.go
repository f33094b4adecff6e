//go:build cgo && unix

package main

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/config"
	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/token"
	"github.com/dct2notation/dct2notation/internal/rawplugin"
	"github.com/dct2notation/dct2notation/internal/rawplugin/algorithm"
	"github.com/dct2notation/dct2notation/internal/rawplugin/chain"
	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

// version is set by the release build (-ldflags "-X main.version=1.2.3").
var version = "0.1.0"

// pkcs11 returns the plugin for this environment.
func pkcs11(getenv func(string) string) rawplugin.Plugin {
	return rawplugin.Plugin{
		Name:        "pkcs11",
		Description: "Sign with a key on a PKCS#11 token (HSM, smart card, SoftHSM)",
		Version:     version,
		Open: func(_ context.Context, keyID string, options map[string]string) (*rawplugin.Key, error) {
			return open(keyID, options, getenv)
		},
	}
}

// open logs in and finds the key. It first checks what can be checked without the token, so that a mistyped path
// costs no login.
func open(keyID string, options map[string]string, getenv func(string) string) (*rawplugin.Key, error) {
	c, err := config.Read(keyID, options, getenv)
	if err != nil {
		return nil, err
	}
	pin, hasPIN, err := c.PIN.Read(getenv)
	if err != nil {
		return nil, err
	}
	file, err := chain.ReadFile(c.CACerts)
	if err != nil {
		return nil, err
	}
	session, err := token.Open(c.Module, c.Key, pin, hasPIN)
	if err != nil {
		return nil, err
	}
	key, err := find(session, c, file)
	if err != nil {
		session.Close()
		return nil, err
	}
	return key, nil
}

func find(session *token.Session, c config.Config, file []*x509.Certificate) (*rawplugin.Key, error) {
	key, err := session.Key(c.Key)
	if err != nil {
		return nil, err
	}
	beside, err := key.Certificates()
	if err != nil {
		return nil, err
	}
	// If only the curve can be compared, do not mistake a CA certificate for the leaf.
	owns := func(cert *x509.Certificate) bool {
		return key.Belongs(cert.PublicKey) && (key.KnowsPublic() || !cert.IsCA)
	}
	leaf, err := chain.Leaf(beside, file, owns)
	if err != nil {
		return nil, err
	}
	a, err := algorithm.Of(leaf.PublicKey)
	if err != nil {
		return nil, fault.Invalid("use another key", "reading the certificate %q: %w", leaf.Subject, err)
	}
	certs, err := build(session, leaf, file)
	if err != nil {
		return nil, err
	}
	return &rawplugin.Key{
		Algorithm: a, Chain: certs, Close: session.Close,
		Sign: func(_ context.Context, digest []byte) ([]byte, error) { return key.Sign(a, digest) },
	}, nil
}

// build completes the chain from ca_certs and, only if that is not enough, from
// all certificates on the token: reading those can take long.
func build(session *token.Session, leaf *x509.Certificate, file []*x509.Certificate) ([]*x509.Certificate, error) {
	now := time.Now()
	certs, err := chain.Build(leaf, file, now)
	if !errors.Is(err, chain.ErrIncomplete) {
		return certs, err
	}
	onToken, tokenErr := session.AllCertificates()
	if tokenErr != nil {
		return nil, tokenErr
	}
	return chain.Build(leaf, append(onToken, file...), now)
}
