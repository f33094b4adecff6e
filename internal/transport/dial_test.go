package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

func TestLostConnectionIsRepeated(t *testing.T) {
	t.Parallel()
	var seen atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
	}))
	defer srv.Close()
	tr := mustNew(t, Options{UserAgent: "dct2notation/test"})
	if code, err := send(t, tr, request(t, t.Context(), "PUT", srv.URL+"/v2/a/manifests/b", "x")); code != 200 || err != nil || seen.Load() != 2 {
		t.Errorf("got %d, %v after %d requests, want 200 after 2", code, err, seen.Load())
	}
}

func TestRequestsCarryTheUserAgent(t *testing.T) {
	t.Parallel()
	agents := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agents <- r.UserAgent()
	}))
	defer srv.Close()
	client := Client(mustNew(t, Options{UserAgent: "dct2notation/test"}), nil)
	resp, err := client.Do(request(t, t.Context(), "GET", srv.URL, ""))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := <-agents; got != "dct2notation/test" {
		t.Errorf("got user agent %q, want dct2notation/test", got)
	}
}

func TestSilentServerTimesOut(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer srv.Close()
	defer close(release)
	tr := mustNew(t, Options{ResponseHeaderTimeout: 50 * time.Millisecond, Retries: -1})
	if _, err := send(t, tr, request(t, t.Context(), "GET", srv.URL, "")); !Transient(err) {
		t.Errorf("got %v, want a transient error", err)
	}
}

func TestLinkLocalAddressesAreRefused(t *testing.T) {
	t.Parallel()
	tr := mustNew(t, Options{})
	for _, url := range []string{"http://169.254.169.254/latest/meta-data/", "http://[::ffff:169.254.169.254]/"} {
		if _, err := send(t, tr, request(t, t.Context(), "GET", url, "")); !errors.Is(err, errLinkLocal) || Transient(err) {
			t.Errorf("%s: got %v, want %v", url, err, errLinkLocal)
		}
	}
}

func TestOtherSchemesAreRefused(t *testing.T) {
	t.Parallel()
	tr := mustNew(t, Options{})
	for _, url := range []string{"ftp://r.example/", "file:///etc/passwd", "https:///v2/"} {
		if _, err := send(t, tr, request(t, t.Context(), "GET", url, "")); !errors.Is(err, errBadURL) {
			t.Errorf("%s: got %v, want %v", url, err, errBadURL)
		}
	}
}

// writeServerCA writes the test server's certificate as a root.
func writeServerCA(t *testing.T, srv *httptest.Server, path string) {
	t.Helper()
	if err := os.WriteFile(path, pki.PEM(srv.Certificate()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeClientPair writes a self-signed client certificate and its key.
func writeClientPair(t *testing.T, certPath, keyPath string) {
	t.Helper()
	id, err := pki.SelfSigned("client", nil, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	if err != nil {
		t.Fatal(err)
	}
	key, err := id.KeyPEM()
	if err == nil {
		err = os.WriteFile(keyPath, key, 0o600)
	}
	if err == nil {
		err = os.WriteFile(certPath, id.ChainPEM(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tlsServer answers with the common name of the client's certificate.
func tlsServer(t *testing.T, conf *tls.Config) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, c := range r.TLS.PeerCertificates {
			w.Header().Set("Client", c.Subject.CommonName)
		}
	}))
	srv.TLS = conf
	srv.Config.ErrorLog = quiet
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

func TestCAFileIsTrustedBesidesTheSystem(t *testing.T) {
	t.Parallel()
	srv := tlsServer(t, &tls.Config{MinVersion: tls.VersionTLS12})
	if _, err := send(t, mustNew(t, Options{}), request(t, t.Context(), "GET", srv.URL, "")); err == nil || Transient(err) {
		t.Errorf("unknown authority: got %v, want an error that is not transient", err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeServerCA(t, srv, ca)
	if code, err := send(t, mustNew(t, Options{CAFile: ca}), request(t, t.Context(), "GET", srv.URL, "")); code != 200 || err != nil {
		t.Errorf("got %d, %v, want 200", code, err)
	}
	if err := os.WriteFile(ca, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{CAFile: ca}); err == nil {
		t.Error("a CA file without certificates: got no error, want one")
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	srv := tlsServer(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeServerCA(t, srv, ca)
	if _, err := send(t, mustNew(t, Options{CAFile: ca}), request(t, t.Context(), "GET", srv.URL, "")); err == nil {
		t.Error("TLS 1.1: got no error, want one")
	}
}

func TestHostFolderIsUsedAsDockerDoes(t *testing.T) {
	t.Parallel()
	srv := tlsServer(t, &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert})
	dir := t.TempDir()
	folder := filepath.Join(dir, strings.TrimPrefix(srv.URL, "https://"))
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	writeServerCA(t, srv, filepath.Join(folder, "ca.crt"))
	writeClientPair(t, filepath.Join(folder, "me.cert"), filepath.Join(folder, "me.key"))
	resp, err := mustNew(t, Options{TLSDir: dir}).RoundTrip(request(t, t.Context(), "GET", srv.URL, ""))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.Header.Get("Client") != "client" {
		t.Errorf("got client certificate %q, want client", resp.Header.Get("Client"))
	}
	for _, lone := range []string{"me.cert", "me.key"} {
		other := t.TempDir()
		if err := os.Mkdir(filepath.Join(other, "r.example"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(folder, lone), filepath.Join(other, "r.example", lone)); err != nil {
			t.Fatal(err)
		}
		_, err := send(t, mustNew(t, Options{TLSDir: other}), request(t, t.Context(), "GET", "https://r.example", ""))
		if err == nil || !strings.Contains(err.Error(), "beside it") {
			t.Errorf("a lone %s: got %v, want an error that says beside it", lone, err)
		}
	}
}

func TestHostNamesCannotLeaveTheTLSDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeClientPair(t, filepath.Join(dir, "me.cert"), filepath.Join(dir, "other.key"))
	inner := filepath.Join(dir, "tls")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"..", ".", "../tls", ""} {
		if folder, _, err := hostFolder(inner, host); folder != "" || err != nil {
			t.Errorf("host %q: got %q, %v, want no folder", host, folder, err)
		}
	}
}
