// Package pkitest issues the certificates that this plugin's tests need. Its
// keys live in memory and for one test.
package pkitest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA is a certificate authority that Notation's rules accept.
type CA struct {
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Root makes a self-signed CA.
func Root(t testing.TB, name string) *CA {
	t.Helper()
	key := NewKey(t)
	return &CA{sign(t, authority(name), nil, key.Public(), key), key}
}

// Intermediate makes a CA below ca.
func (ca *CA) Intermediate(t testing.TB, name string) *CA {
	t.Helper()
	key := NewKey(t)
	return &CA{sign(t, authority(name), ca.Cert, key.Public(), ca.key), key}
}

// Cross certifies other, its name and key, by ca.
func (ca *CA) Cross(t testing.TB, other *CA) *x509.Certificate {
	t.Helper()
	return sign(t, authority(other.Cert.Subject.CommonName), ca.Cert, other.key.Public(), ca.key)
}

// Leaf issues a code signing certificate for pub; change may spoil it first.
func (ca *CA) Leaf(t testing.TB, pub crypto.PublicKey, change ...func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	leaf := template("leaf")
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	for _, c := range change {
		c(leaf)
	}
	return sign(t, leaf, ca.Cert, pub, ca.key)
}

// SelfSigned is a signing certificate that is its own root.
func SelfSigned(t testing.TB, key crypto.Signer) *x509.Certificate {
	t.Helper()
	leaf := template("alone")
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	return sign(t, leaf, nil, key.Public(), key)
}

// NewKey makes a key outside of any token.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// WritePEM writes the certificates, in that order, to a new file.
func WritePEM(t testing.TB, certs ...*x509.Certificate) string {
	t.Helper()
	var text bytes.Buffer
	for _, c := range certs {
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "certs.pem")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"dct2notation test"}, CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
}

func authority(name string) *x509.Certificate {
	c := template(name)
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	c.BasicConstraintsValid, c.IsCA = true, true
	return c
}

// sign issues c; without a parent it is self-signed.
func sign(t testing.TB, c, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
