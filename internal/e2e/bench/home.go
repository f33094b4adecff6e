//go:build linux

package main

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// keyID is the key's name, in the plugin and among notation's local keys.
const keyID = "release"

// Flags that name a key for both sides.
var (
	fileKey   = []string{"--key", keyID}
	pluginKey = []string{"--plugin", kmstest.Name, "--id", keyID}
)

// home is one user's machine, as notation, docker and dct2notation find it. Each call finds what
// the previous one left.
type home struct {
	*world
	dir    string
	plugin *kmstest.Plugin
	keys   map[string]pki.Files
	extra  []string // of the environment
}

// newHome makes a home for a user of the servers. The key is EC P-256: it costs the machine little,
// like a key in a key service. delay is added to the plugin's commands, in milliseconds.
func (w *world) newHome(name string, delay map[string]int) *home {
	h := &home{world: w, dir: filepath.Join(w.dir, name)}
	if w.err == nil {
		w.err = h.fill(delay)
	}
	return h
}

func (h *home) fill(delay map[string]int) error {
	if err := os.MkdirAll(h.path("keys"), 0o700); err != nil {
		return fmt.Errorf("making a user's folder: %w", err)
	}
	authority, id, err := issue(nil)
	if err != nil {
		return err
	}
	key, err := id.Save(h.path("keys"), keyID)
	if err != nil {
		return err
	}
	auths := map[string]any{}
	if !h.open {
		auths[h.registry.Host()] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + user))}
	}
	for name, content := range map[string]any{
		"ca.pem": append(h.registry.CAPEM(), h.notary.CAPEM()...),
		"notation/truststore/x509/ca/bench/root.pem": authority.CertificatePEM(),
		"docker/config.json":                         map[string]any{"auths": auths},
		"notation/signingkeys.json": map[string]any{
			"default": keyID, "keys": []any{map[string]string{"name": keyID, "keyPath": key.KeyFile, "certPath": key.ChainFile}},
		},
		"notation/trustpolicy.json": map[string]any{"version": "1.0", "trustPolicies": []any{map[string]any{
			"name": "bench", "registryScopes": []string{"*"}, "signatureVerification": map[string]string{"level": "strict"},
			"trustStores": []string{"ca:bench"}, "trustedIdentities": []string{"*"},
		}}},
	} {
		if err := h.write(name, content); err != nil {
			return err
		}
	}
	h.keys = map[string]pki.Files{keyID: key}
	h.plugin, err = kmstest.Install(h.path("libexec"), kmstest.Behaviour{Keys: h.keys, Delay: delay})
	return err
}

// issue makes an authority and a certificate for a key, or for a new one.
func issue(key crypto.Signer) (authority, id *pki.Identity, err error) {
	if authority, err = pki.NewAuthority("bench root"); err == nil {
		id, err = authority.Issue("bench release key", key)
	}
	return authority, id, err
}

// install installs a plugin as a user does, and writes its key's certificates to the file that
// ca_certs in its configuration names.
func (h *home) install(ctx context.Context, plugin string, public crypto.PublicKey) {
	if h.err != nil {
		return
	}
	_, id, err := issue(pki.Public(public))
	if err == nil {
		err = h.write("chain.pem", id.ChainPEM())
	}
	if err == nil {
		_, err = metered(ctx, 0, h.command("notation", "plugin", "install", "--file", filepath.Join(h.bin, plugin)))
	}
	h.fail(err)
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

// write writes bytes unchanged, and anything else as JSON.
func (h *home) write(name string, content any) (err error) {
	raw, isRaw := content.([]byte)
	if !isRaw {
		raw, err = json.Marshal(content)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(h.path(name)), 0o700)
	}
	if err == nil {
		err = os.WriteFile(h.path(name), raw, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing a user's files: %w", err)
	}
	return nil
}

// operations returns how often the plugin was asked for a signature.
func (h *home) operations() (int, error) {
	calls, err := h.plugin.Calls(string(plugin.CommandGenerateSignature))
	return len(calls), err
}

// command returns a program ready to be started. Its environment has nothing from the real user's.
func (h *home) command(program string, args ...string) *exec.Cmd {
	if program != "xargs" && program != "sh" && program != "dd" {
		program = filepath.Join(h.bin, program)
	}
	c := exec.Command(program, args...)
	c.Dir, c.Env = h.dir, append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, "TMPDIR=" + os.TempDir(),
		"DOCKER_CONFIG=" + h.path("docker"), "SSL_CERT_FILE=" + h.path("ca.pem"),
		"NOTATION_CONFIG=" + h.path("notation"), "NOTATION_LIBEXEC=" + h.path("libexec"), "NOTATION_CACHE=" + h.path("cache"),
	}, h.extra...)
	return c
}

// loop is what people use today: one command for each of a list, with that many at a time.
func (h *home) loop(workers int, list []string, program string, args ...string) task {
	c := h.command("xargs", append([]string{"-P", fmt.Sprint(workers), "-n", "1", filepath.Join(h.bin, program)}, args...)...)
	c.Stdin = strings.NewReader(strings.Join(list, "\n") + "\n")
	return task{
		name: fmt.Sprintf("xargs -P %d %s %s", workers, program, args[0]), n: len(list), commands: []*exec.Cmd{c}, home: h,
	}
}

// signLoop signs with the notation command. force-referrers-tag is off, as in dct2notation, so both
// sides store their signatures in the same way.
func (h *home) signLoop(e estate, workers int, key []string) task {
	t := h.loop(workers, e.references, "notation", append([]string{"sign", "--force-referrers-tag=false"}, key...)...)
	t.signs = &e
	return t
}

// ours is dct2notation with a verb, for some of an estate's repositories, whose roots it is told to
// trust.
func (h *home) ours(verb string, e estate, guns []string, args ...string) task {
	pins := "pins-" + e.name + ".json"
	h.fail(h.write(pins, map[string]any{"trust_pinning": map[string]any{"certs": e.pins, "disable_tofu": true}}))
	c := h.command("dct2notation", append(append([]string{
		verb, "-o", "json", "--notary-server", h.notary.URL(), "--trust-pinning", pins, "--docker-trust", "none", "--ca-file", "ca.pem",
	}, args...), guns...)...)
	return task{name: "dct2notation " + verb, n: len(guns), commands: []*exec.Cmd{c}, home: h}
}

// run signs an estate. Every item must end with the result in says: signed, or already. The second
// run of an estate finds the ledger of the first.
func (h *home) run(e estate, says string, workers int, key []string, args ...string) task {
	t := h.ours("run", e, e.guns, slices.Concat([]string{"--state", e.name + ".db", "--workers", fmt.Sprint(workers)}, key, args)...)
	t.name = fmt.Sprintf("dct2notation run --workers %d", workers)
	t.n, t.signs, t.says = e.images, &e, "results."+says
	return t
}

// read reads trust data into a snapshot, with the verb that needs neither registry nor key. All of
// it must be added, or unchanged since the last call in this home.
func (h *home) read(e estate, guns []string, says string, args ...string) task {
	t := h.ours("snapshot", e, guns, append([]string{"-O", "snapshot"}, args...)...)
	t.name, t.says = "dct2notation snapshot, "+says, says
	return t
}

// verify compares both sides of the tags of repositories. They must agree on all of them.
func (h *home) verify(e estate, guns []string, tags, workers int, args ...string) task {
	t := h.ours("verify", e, guns, append([]string{"--concurrency", fmt.Sprint(workers)}, args...)...)
	t.name = strings.Join(append([]string{"dct2notation verify --concurrency", fmt.Sprint(workers)}, args...), " ")
	t.n, t.says = tags, "totals.agree"
	return t
}
