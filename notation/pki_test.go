package notation

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

// An issuer is a certificate and its key.
type issuer struct {
	*x509.Certificate
	key crypto.Signer
}

// certificate makes one that follows Notation's rules, by another or by itself; change may change
// what it says before it is signed.
func certificate(t *testing.T, cn string, by *issuer, authority bool, change func(*x509.Certificate)) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return certify(t, cn, key, by, authority, change)
}

func certify(t *testing.T, cn string, key crypto.Signer, by *issuer, authority bool, change func(*x509.Certificate)) *issuer {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(1, 0, 0), BasicConstraintsValid: true,
		Subject:  pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"dct2notation test"}, CommonName: cn},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	if authority {
		template.IsCA, template.KeyUsage, template.ExtKeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	must(t, err)
	c, err := x509.ParseCertificate(der)
	must(t, err)
	return &issuer{c, key}
}

// signs is the identity of a leaf with its chain.
func signs(leaf *issuer, above ...*issuer) *kmstest.Identity {
	id := &kmstest.Identity{Key: leaf.key, Chain: []*x509.Certificate{leaf.Certificate}}
	for _, a := range above {
		id.Chain = append(id.Chain, a.Certificate)
	}
	return id
}
