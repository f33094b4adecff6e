package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// home is one user's machine: the folders of notation, docker and dct2notation, and an environment
// that points programs only to them, and to nothing of the real machine.
type home struct {
	dir   string
	extra []string // more environment
	input string   // what programs read from their standard input
	keys  []signingKey
}

type signingKey struct {
	Name     string `json:"name"`
	KeyPath  string `json:"keyPath"`
	CertPath string `json:"certPath"`
}

func newHome(t testing.TB) *home { return &home{dir: t.TempDir()} }

func (h *home) path(names ...string) string {
	return filepath.Join(append([]string{h.dir}, names...)...)
}

func (h *home) env() []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, "TMPDIR=" + os.TempDir(),
		"XDG_CONFIG_HOME=" + h.path("config"), "XDG_STATE_HOME=" + h.path("state"), "XDG_CACHE_HOME=" + h.path("cache"),
		"NOTATION_CONFIG=" + h.path("notation"), "NOTATION_LIBEXEC=" + h.libexec(), "NOTATION_CACHE=" + h.path("cache"),
		"DOCKER_CONFIG=" + h.path("docker"),
	}, h.extra...)
}

func (h *home) libexec() string { return h.path("libexec") }

// trust makes notation trust the authority for every repository, strictly.
func (h *home) trust(t testing.TB, ca *pki.Identity) {
	t.Helper()
	servertest.WriteFile(t, h.path("notation", "truststore", "x509", "ca", "e2e", "root.crt"), ca.CertificatePEM())
	h.writeJSON(t, "trustpolicy.json", map[string]any{
		"version": "1.0",
		"trustPolicies": []any{map[string]any{
			"name": "e2e", "registryScopes": []string{"*"}, "trustStores": []string{"ca:e2e"}, "trustedIdentities": []string{"*"},
			"signatureVerification": map[string]string{"level": "strict"},
		}},
	})
}

// addKey gives notation a local key, which becomes the default if it is the first.
func (h *home) addKey(t testing.TB, name string, id *pki.Identity) pki.Files {
	t.Helper()
	key := saveKey(t, h.path("keys"), name, id)
	h.keys = append(h.keys, signingKey{name, key.KeyFile, key.ChainFile})
	h.writeJSON(t, "signingkeys.json", map[string]any{"default": h.keys[0].Name, "keys": h.keys})
	return key
}

func saveKey(t testing.TB, dir, name string, id *pki.Identity) pki.Files {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := id.Save(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (h *home) writeJSON(t testing.TB, name string, v any) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	servertest.WriteFile(t, h.path("notation", name), raw)
}

// result is the output and exit code of a program.
type result struct {
	command        string
	stdout, stderr string
	code           int // exit code; -1 if a signal ended it
}

func (r result) String() string {
	return r.command + "\n" + r.stdout + r.stderr
}

// run runs a program to its end.
func (h *home) run(t testing.TB, name string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := h.command(name, args...)
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("running %s: %v", name, err)
	}
	return result{strings.Join(append([]string{name}, args...), " "), stdout.String(), stderr.String(), c.ProcessState.ExitCode()}
}

// must calls run for a program that must succeed.
func (h *home) must(t testing.TB, name string, args ...string) result {
	t.Helper()
	r := h.run(t, name, args...)
	if r.code != 0 {
		t.Fatalf("got exit code %d, want 0: %s", r.code, r)
	}
	return r
}

func (h *home) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(program(name), args...)
	c.Env, c.Dir, c.Stdin = h.env(), h.dir, strings.NewReader(h.input)
	return c
}
