// Package pkitest issues the certificates that this plugin's tests need. A key may be in a token, with only its
// public part known here.
package pkitest

import (
	"crypto"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// CA is a certificate authority that Notation's rules accept.
type CA struct {
	Cert *x509.Certificate
	id   *pki.Identity
}

func authority(t testing.TB, id *pki.Identity, err error) *CA {
	t.Helper()
	return &CA{certificate(t, id, err), id}
}

func certificate(t testing.TB, id *pki.Identity, err error) *x509.Certificate {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return id.Certificate()
}

// Root makes a self-signed CA.
func Root(t testing.TB, name string) *CA {
	t.Helper()
	id, err := pki.NewAuthority(name)
	return authority(t, id, err)
}

// Intermediate makes a CA below ca.
func (ca *CA) Intermediate(t testing.TB, name string) *CA {
	t.Helper()
	id, err := ca.id.Issue(name, nil, pki.CA)
	return authority(t, id, err)
}

// Cross makes a certificate by ca for other's name and key.
func (ca *CA) Cross(t testing.TB, other *CA) *x509.Certificate {
	t.Helper()
	id, err := ca.id.Issue(other.Cert.Subject.CommonName, other.id.Key, pki.CA)
	return certificate(t, id, err)
}

// Leaf issues a code signing certificate for pub; change may first break it.
func (ca *CA) Leaf(t testing.TB, pub crypto.PublicKey, change ...func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	id, err := ca.id.Issue("leaf", pki.Public(pub), change...)
	return certificate(t, id, err)
}

// SelfSigned returns a signing certificate that is its own root.
func SelfSigned(t testing.TB, key crypto.Signer) *x509.Certificate {
	t.Helper()
	id, err := pki.SelfSigned("alone", key)
	return certificate(t, id, err)
}

// NewKey makes a key outside of any token.
func NewKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := pki.NewKey("", pki.EC256)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// WritePEM writes the certificates, in that order, to a new file.
func WritePEM(t testing.TB, certs ...*x509.Certificate) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "certs.pem")
	if err := os.WriteFile(path, pki.PEM(certs...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
