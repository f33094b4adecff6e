package notation

import (
	"crypto"
	"crypto/x509"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// certificate makes a certificate issued by an authority, or self-signed if that is nil.
func certificate(t *testing.T, cn string, by *pki.Identity, change ...func(*x509.Certificate)) *pki.Identity {
	t.Helper()
	return certify(t, cn, nil, by, change...)
}

func certify(t *testing.T, cn string, key crypto.Signer, by *pki.Identity, change ...func(*x509.Certificate)) *pki.Identity {
	t.Helper()
	make := pki.SelfSigned
	if by != nil {
		make = by.Issue
	}
	id, err := make(cn, key, change...)
	must(t, err)
	return id
}
