package kmstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// An Authority is a root certificate and its key.
type Authority struct {
	Certificate *x509.Certificate
	key         crypto.Signer
}

// NewAuthority makes a self-signed root (EC P-256), valid from ten years ago so that it can issue
// certificates that have expired.
func NewAuthority(cn string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of authority %q: %w", cn, err)
	}
	template, err := template(cn, time.Now().AddDate(-10, 0, 0), time.Now().AddDate(10, 0, 0))
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	certificate, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Authority{certificate, key}, nil
}

// RootPEM is the root certificate, for a trust store.
func (a *Authority) RootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw})
}

// IssueOptions say what is special about a certificate. The zero value is an ordinary one.
type IssueOptions struct {
	NotBefore time.Time     // default: an hour ago
	NotAfter  time.Time     // default: in a year
	Key       crypto.Signer // default: a new key; the same name and RSA size give the same key again
	OCSP, CRL string        // addresses of who says whether it was revoked; default: none
	Bare      bool          // the subject has only a CN, so that no trust policy can name it
	Self      bool          // signed with its own key
}

// Issue makes a signing certificate that follows Notation's rules: key usage critical and
// digitalSignature only, extended key usage codeSigning, no CA.
func (a *Authority) Issue(cn string, algorithm Algorithm, o IssueOptions) (*Identity, error) {
	if o.NotBefore.IsZero() {
		o.NotBefore = time.Now().Add(-time.Hour)
	}
	if o.NotAfter.IsZero() {
		o.NotAfter = time.Now().AddDate(1, 0, 0)
	}
	if o.Key == nil {
		var err error
		if o.Key, err = newKey(cn, algorithm); err != nil {
			return nil, fmt.Errorf("making the key of %q: %w", cn, err)
		}
	}
	template, err := template(cn, o.NotBefore, o.NotAfter)
	if err != nil {
		return nil, err
	}
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	if o.Bare {
		template.Subject = pkix.Name{CommonName: cn}
	}
	if o.OCSP != "" {
		template.OCSPServer = []string{o.OCSP}
	}
	if o.CRL != "" {
		template.CRLDistributionPoints = []string{o.CRL}
	}
	if o.Self {
		leaf, err := sign(template, template, o.Key.Public(), o.Key)
		return &Identity{Key: o.Key, Chain: []*x509.Certificate{leaf}}, err
	}
	leaf, err := sign(template, a.Certificate, o.Key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &Identity{Key: o.Key, Chain: []*x509.Certificate{leaf, a.Certificate}}, nil
}

// template is what roots and leaves share. Notation wants C, ST and O in subjects.
func template(cn string, notBefore, notAfter time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject: pkix.Name{
			Country: []string{"US"}, Province: []string{"WA"},
			Organization: []string{"dct2notation test"}, CommonName: cn,
		},
		NotBefore: notBefore,
		NotAfter:  notAfter,
	}, nil
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("making the certificate of %q: %w", template.Subject.CommonName, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of %q: %w", template.Subject.CommonName, err)
	}
	return certificate, nil
}
