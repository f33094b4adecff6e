package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// registry is a running registry of another project.
type registry struct {
	host           string // host:port, as in image references
	tls            *servertest.TLS
	user, password string
}

func (r *registry) client() *http.Client {
	if r.tls == nil {
		return http.DefaultClient
	}
	return r.tls.Client
}

// flags returns dct2notation's flags for the registry.
func (r *registry) flags() []string {
	if r.tls == nil {
		return []string{"--plain-http"}
	}
	return []string{"--ca-file", r.tls.CAFile}
}

// notationFlags returns the same for the notation command. It takes an authority only from the
// environment.
func (r *registry) notationFlags() []string {
	if r.tls == nil {
		return []string{"--insecure-registry"}
	}
	return nil
}

// registryKinds are the two ways of finding signatures: by a tag made from the digest, and
// by the referrers API.
var registryKinds = map[string]func(testing.TB) *registry{
	"docker-registry": func(t testing.TB) *registry { return startDockerRegistry(t, nil, "", "") },
	"olareg":          startOlareg,
}

// startDockerRegistry runs Debian's docker-registry, which has no referrers API. With an authority
// it serves HTTPS; with a user it requires that user's password. Deletion is disabled, as in its
// own default configuration.
func startDockerRegistry(t testing.TB, tls *servertest.TLS, user, password string) *registry {
	t.Helper()
	return dockerRegistry(t, tls, user, password, false)
}

// deletingKinds are registryKinds with deletion of manifests enabled.
var deletingKinds = map[string]func(testing.TB) *registry{
	"docker-registry": func(t testing.TB) *registry { return dockerRegistry(t, nil, "", "", true) },
	"olareg":          func(t testing.TB) *registry { return olareg(t, "--api-delete") },
}

func dockerRegistry(t testing.TB, tls *servertest.TLS, user, password string, deletes bool) *registry {
	t.Helper()
	dir := t.TempDir()
	r := &registry{tls: tls, user: user, password: password}
	scheme, more := "http", ""
	if tls != nil {
		scheme = "https"
		more = fmt.Sprintf("  tls: {certificate: %q, key: %q}\n", tls.CertFile, tls.KeyFile)
	}
	if user != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		servertest.WriteFile(t, filepath.Join(dir, "htpasswd"), fmt.Appendf(nil, "%s:%s\n", user, hash))
		more += fmt.Sprintf("auth: {htpasswd: {realm: e2e, path: %q}}\n", filepath.Join(dir, "htpasswd"))
	}
	r.host = servertest.Serve(t, r.client(), func(host string) string { return scheme + "://" + host + "/v2/" }, func(port int) *exec.Cmd {
		path := filepath.Join(dir, "config.yml")
		servertest.WriteFile(t, path, fmt.Appendf(nil, "version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}, delete: {enabled: %t}}\nhttp:\n  addr: 127.0.0.1:%d\n%s",
			filepath.Join(dir, "store"), deletes, port, more))
		c := exec.Command("docker-registry", "serve", path)
		c.Env = []string{"OTEL_TRACES_EXPORTER=none"}
		return c
	})
	return r
}

// startOlareg runs olareg, which has the referrers API and stores its data on disk.
func startOlareg(t testing.TB) *registry {
	t.Helper()
	return olareg(t)
}

func olareg(t testing.TB, more ...string) *registry {
	t.Helper()
	dir := t.TempDir()
	host := servertest.Serve(t, http.DefaultClient, func(host string) string { return "http://" + host + "/v2/" }, func(port int) *exec.Cmd {
		return exec.Command(program("olareg"), append([]string{"serve", "--addr", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir}, more...)...)
	})
	return &registry{host: host}
}
