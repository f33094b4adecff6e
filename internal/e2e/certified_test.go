package e2e

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// rootAuthority certifies root keys, for readers who pin it instead of each root.
type rootAuthority struct {
	*pki.Identity
	file string
}

func (a *author) authority(name string) *rootAuthority {
	a.t.Helper()
	r := &rootAuthority{newAuthority(a.t, name), a.home.path(name + ".pem")}
	servertest.WriteFile(a.t, r.file, r.CertificatePEM())
	return r
}

// pin tells readers to trust the roots that the authority has certified.
func (r *rootAuthority) pin(a *author) {
	a.pins = map[string]any{"ca": map[string]string{a.gun: r.file}}
}

// initCertified makes the repository with a root certified by the authority.
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
	cert, err := by.Issue(a.gun, pki.Public(public), pki.Valid(time.Now().Add(-time.Hour), time.Now().AddDate(9, 0, 0)), pki.Bare,
		func(c *x509.Certificate) { c.ExtKeyUsage = nil }) // notary refuses one that has only code signing
	if err != nil {
		a.t.Fatal(err)
	}
	servertest.WriteFile(a.t, certFile, cert.CertificatePEM())
	a.notary("init", "-p", a.gun, "--rootkey", keyFile, "--rootcert", certFile)
}
