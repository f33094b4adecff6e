package e2e

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// A rootAuthority certifies keys of roots, for those who pin it and not each root.
type rootAuthority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func (a *author) authority(name string) *rootAuthority {
	a.t.Helper()
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(9, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	r := &rootAuthority{a.t, cert, servertest.NewECKey(a.t), a.home.path(name + ".pem")}
	servertest.WritePEM(a.t, r.file, "CERTIFICATE", servertest.Certify(a.t, cert, cert, r.key, r.key))
	return r
}

// pin tells readers to trust the roots that the authority has certified.
func (r *rootAuthority) pin(a *author) {
	a.pins = map[string]any{"ca": map[string]string{a.gun: r.file}}
}

// initCertified makes the repository with a root that the authority has certified.
func (a *author) initCertified(by *rootAuthority) {
	a.t.Helper()
	keyFile, certFile := a.rootKey("root"), a.home.path("root-cert.pem")
	raw, err := os.ReadFile(a.home.path("root.pem"))
	if err != nil {
		a.t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		a.t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: a.gun},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(9, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, // with code signing alone, notary does not take it
	}
	key := &ecdsa.PrivateKey{PublicKey: *public.(*ecdsa.PublicKey)} // only notary has the rest
	servertest.WritePEM(a.t, certFile, "CERTIFICATE", servertest.Certify(a.t, cert, by.cert, key, by.key))
	a.notary("init", "-p", a.gun, "--rootkey", keyFile, "--rootcert", certFile)
}
