// Package pki makes keys and certificates for tests and their servers. Every field of x509.Certificate can be changed
// before the certificate is signed. Keys are kept in memory, unless they are saved.
package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

// An Identity is a key and its certificates, its own first and the root last.
type Identity struct {
	Key   crypto.Signer
	Chain []*x509.Certificate
}

// NewAuthority makes a root, valid from ten years ago so that it can issue certificates that
// have expired.
func NewAuthority(cn string, change ...func(*x509.Certificate)) (*Identity, error) {
	return newIdentity(cn, nil, nil, append([]func(*x509.Certificate){CA}, change...))
}

// SelfSigned makes a certificate like [Identity.Issue], signed with its own key.
func SelfSigned(cn string, key crypto.Signer, change ...func(*x509.Certificate)) (*Identity, error) {
	return newIdentity(cn, key, nil, change)
}

// Issue makes a certificate for a key, or for a new one on P-256 if key is nil. Without changes, it follows
// Notation's rules for signing, and is valid from an hour ago for a year.
func (i *Identity) Issue(cn string, key crypto.Signer, change ...func(*x509.Certificate)) (*Identity, error) {
	return newIdentity(cn, key, i, change)
}

// CA makes the certificate that of an authority.
func CA(c *x509.Certificate) {
	c.IsCA, c.KeyUsage, c.ExtKeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	c.NotBefore, c.NotAfter = time.Now().AddDate(-10, 0, 0), time.Now().AddDate(10, 0, 0)
}

// Valid sets the certificate's dates.
func Valid(from, until time.Time) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, until }
}

// Bare leaves only a CN in the subject, so that no trust policy can name it.
func Bare(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: c.Subject.CommonName} }

// Server makes the certificate that of a TLS server on this host, with these names.
func Server(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		c.DNSNames = append(slices.Clone(names), "localhost")
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
}

func newIdentity(cn string, key crypto.Signer, by *Identity, change []func(*x509.Certificate)) (*Identity, error) {
	if key == nil {
		var err error
		if key, err = NewKey(cn, EC256); err != nil {
			return nil, err
		}
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	template := &x509.Certificate{
		// Notation requires C, ST and O in subjects.
		Subject:      pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"dct2notation test"}, CommonName: cn},
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	for _, c := range change {
		c(template)
	}
	parent, signer, above := template, key, []*x509.Certificate(nil)
	if by != nil {
		parent, signer, above = by.Certificate(), by.Key, by.Chain
	}
	// Without randomness: the same template and keys give the same certificate in every process.
	der, err := x509.CreateCertificate(nil, template, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("making the certificate of %q: %w", cn, err)
	}
	own, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of %q: %w", cn, err)
	}
	return &Identity{key, append([]*x509.Certificate{own}, above...)}, nil
}

// Certificate returns the identity's own certificate.
func (i *Identity) Certificate() *x509.Certificate { return i.Chain[0] }

// CertificatePEM returns its own certificate; for a trust store, if it is an authority.
func (i *Identity) CertificatePEM() []byte { return PEM(i.Chain[0]) }

// ChainPEM returns its certificates, its own first.
func (i *Identity) ChainPEM() []byte { return PEM(i.Chain...) }

// KeyPEM returns the private key in PKCS #8.
func (i *Identity) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(i.Key)
	if err != nil {
		return nil, fmt.Errorf("encoding a test key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// TLS returns the certificate that a server or a client presents.
func (i *Identity) TLS() tls.Certificate {
	c := tls.Certificate{PrivateKey: i.Key}
	for _, one := range i.Chain {
		c.Certificate = append(c.Certificate, one.Raw)
	}
	return c
}

// ServerTLS is how a server on this host serves, and the certificate, in PEM, of the new authority that vouches
// for it.
func ServerTLS(authority string) (config *tls.Config, ca []byte, err error) {
	by, err := NewAuthority(authority)
	if err != nil {
		return nil, nil, err
	}
	server, err := by.Issue("127.0.0.1", nil, Server())
	if err != nil {
		return nil, nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{server.TLS()}, MinVersion: tls.VersionTLS12}, by.CertificatePEM(), nil
}

// Pool returns a pool that trusts only its own certificate.
func (i *Identity) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(i.Chain[0])
	return pool
}

// PEM encodes certificates in the given order.
func PEM(certificates ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certificates {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}
