//go:build linux

package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// keyID is the key's name, in the plugin and among notation's local keys.
const keyID = "release"

// home is one user's machine, as notation, docker and dct2notation find it.
type home struct {
	dir    string
	bin    string // where the programs are
	plugin *kmstest.Plugin
	key    pki.Files // in files, of the plugin and of notation itself
	extra  []string  // of the environment
}

// What names a key to both contestants.
var (
	fileKey   = []string{"--key", keyID}
	pluginKey = []string{"--plugin", kmstest.Name, "--id", keyID}
)

// newHome makes a home in dir for a user of the servers. The key is EC P-256: it costs
// the machine little, as a key in a key service does. delay is what plugin commands take
// on top, in milliseconds.
func newHome(dir, bin string, servers Address, delay map[string]int) (*home, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, fmt.Errorf("finding the programs: %w", err)
	}
	h := &home{dir: dir, bin: bin}
	if err := os.MkdirAll(h.path("keys"), 0o700); err != nil {
		return nil, fmt.Errorf("making a user's folder: %w", err)
	}
	if h.key, err = newKey(h.path("keys")); err != nil {
		return nil, err
	}
	if err := h.writeFiles(servers, h.key); err != nil {
		return nil, err
	}
	// Install would build the plugin, which is built already.
	if err := os.Setenv("KMSTEST_BINARY", h.program("notation-"+kmstest.Name)); err != nil {
		return nil, err
	}
	h.plugin, err = kmstest.Install(h.path("libexec"), h.behaviour(delay))
	return h, err
}

// behaviour is that of an honest plugin with the home's key.
func (h *home) behaviour(delay map[string]int) kmstest.Behaviour {
	return kmstest.Behaviour{Keys: map[string]pki.Files{keyID: h.key}, Delay: delay}
}

func newKey(dir string) (pki.Files, error) {
	authority, err := pki.NewAuthority("bench root")
	if err != nil {
		return pki.Files{}, err
	}
	id, err := authority.Issue("bench release key", nil)
	if err != nil {
		return pki.Files{}, err
	}
	return id.Save(dir, keyID)
}

// writeFiles writes certificates, logins, and notation's list of local keys.
func (h *home) writeFiles(servers Address, key pki.Files) error {
	if err := h.write("ca.pem", servers.CA); err != nil {
		return err
	}
	logins := map[string]any{}
	if !servers.Open {
		login := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
		logins[servers.Host] = map[string]string{"auth": login}
	}
	err := h.writeJSON(filepath.Join("docker", "config.json"), map[string]any{"auths": logins})
	if err != nil {
		return err
	}
	return h.writeJSON(filepath.Join("notation", "signingkeys.json"), map[string]any{
		"default": keyID,
		"keys":    []any{map[string]string{"name": keyID, "keyPath": key.KeyFile, "certPath": key.ChainFile}},
	})
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

func (h *home) program(name string) string { return filepath.Join(h.bin, name) }

// env is the environment of both contestants. Nothing of the real user's gets in.
func (h *home) env() []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, "TMPDIR=" + os.TempDir(),
		"DOCKER_CONFIG=" + h.path("docker"), "SSL_CERT_FILE=" + h.path("ca.pem"),
		"NOTATION_CONFIG=" + h.path("notation"), "NOTATION_LIBEXEC=" + h.path("libexec"), "NOTATION_CACHE=" + h.path("cache"),
	}, h.extra...)
}

func (h *home) write(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o700); err != nil {
		return fmt.Errorf("writing a user's files: %w", err)
	}
	if err := os.WriteFile(h.path(name), content, 0o600); err != nil {
		return fmt.Errorf("writing a user's files: %w", err)
	}
	return nil
}

func (h *home) writeJSON(name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return h.write(name, raw)
}
