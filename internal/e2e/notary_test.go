package e2e

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// A notaryServer is a running notary-server of Debian. Its storage and its keys are in
// memory.
type notaryServer struct {
	url string
	tls *servertest.TLS
}

// startNotary runs notary-server; with an authority it serves HTTPS.
func startNotary(t testing.TB, tls *servertest.TLS) *notaryServer {
	t.Helper()
	dir, scheme, client := t.TempDir(), "http", http.DefaultClient
	if tls != nil {
		scheme, client = "https", tls.Client
	}
	host := servertest.Serve(t, client, func(host string) string { return scheme + "://" + host + "/v2/" }, func(port int) *exec.Cmd {
		path := filepath.Join(dir, "server.json")
		servertest.WriteFile(t, path, notaryConfig(t, port, tls))
		return exec.Command("notary-server", "-config", path)
	})
	return &notaryServer{url: scheme + "://" + host, tls: tls}
}

func notaryConfig(t testing.TB, port int, tls *servertest.TLS) []byte {
	t.Helper()
	server := map[string]string{"http_addr": servertest.HostPort(port)}
	if tls != nil {
		server["tls_cert_file"], server["tls_key_file"] = tls.CertFile, tls.KeyFile
	}
	raw, err := json.Marshal(map[string]any{
		"server":        server,
		"trust_service": map[string]string{"type": "local"},
		"logging":       map[string]string{"level": "error"},
		"storage":       map[string]string{"backend": "memory"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
