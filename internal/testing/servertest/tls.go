package servertest

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// A TLS vouches for the servers of one test, and no system trusts it.
type TLS struct {
	CAFile            string       // what clients are told to trust
	CertFile, KeyFile string       // of any server on 127.0.0.1
	Client            *http.Client // trusts those servers
}

// NewTLS makes an authority and one certificate under it, and writes both to files that are
// gone after the test.
func NewTLS(t testing.TB) *TLS {
	t.Helper()
	dir := t.TempDir()
	ca, err := pki.NewAuthority("e2e servers")
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.Issue("127.0.0.1", nil, pki.Server())
	if err != nil {
		t.Fatal(err)
	}
	files, err := server.Save(dir, "server")
	if err != nil {
		t.Fatal(err)
	}
	a := &TLS{CAFile: filepath.Join(dir, "ca.pem"), CertFile: files.ChainFile, KeyFile: files.KeyFile}
	WriteFile(t, a.CAFile, ca.CertificatePEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}
	t.Cleanup(transport.CloseIdleConnections)
	a.Client = &http.Client{Transport: transport}
	return a
}

// WriteFile makes the file's folder too. Only the owner may read it: it may hold a key.
func WriteFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
