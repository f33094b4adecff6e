package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// authority issues the TLS certificates of everything here.
type authority struct {
	*pki.Identity
	folder string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	id, err := pki.NewAuthority("test TLS CA")
	must(t, err)
	a := &authority{id, t.TempDir()}
	must(t, os.WriteFile(a.file(), a.CertificatePEM(), 0o644))
	return a
}

func (a *authority) file() string { return filepath.Join(a.folder, "ca.crt") }

func (a *authority) leaf(t *testing.T, names []string) *pki.Identity {
	t.Helper()
	id, err := a.Issue(append(names, "127.0.0.1")[0], nil, pki.Server(names...), func(c *x509.Certificate) {
		c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	})
	must(t, err)
	return id
}

// issue writes tls.crt and tls.key, valid for 127.0.0.1 and the names, to a folder of their own.
func (a *authority) issue(t *testing.T, names ...string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	_, err := a.leaf(t, names).Save(folder, "tls")
	must(t, err)
	return folder
}

func (a *authority) server(t *testing.T, names ...string) *tls.Config {
	t.Helper()
	return &tls.Config{Certificates: []tls.Certificate{a.leaf(t, names).TLS()}}
}

func (a *authority) client() *tls.Config { return &tls.Config{RootCAs: a.Pool()} }
