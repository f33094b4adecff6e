//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

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

// install installs a plugin as a user does.
func (h *home) install(ctx context.Context, plugin string) error {
	c := exec.CommandContext(ctx, h.program("notation"), "plugin", "install", "--file", h.program(plugin))
	c.Env, c.Dir = h.env(), h.dir
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("installing %s: %w\n%s", plugin, err, tail(string(said)))
	}
	return nil
}

// env is the environment of both tools. It has nothing from the real user's.
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

// loop signs with what people use today: the notation command, once for each image, so
// many at a time. force-referrers-tag is off, as in dct2notation: both sides store their
// signatures in the same way.
func (h *home) loop(ctx context.Context, workers int, key, references []string) (usage, error) {
	return h.each(ctx, workers, append([]string{"sign", "--force-referrers-tag=false"}, key...), references)
}

// each calls the notation command once for each reference, so many at a time.
func (h *home) each(ctx context.Context, workers int, args, references []string) (usage, error) {
	c := exec.Command("xargs", append([]string{"-P", fmt.Sprint(workers), "-n", "1", h.program("notation")}, args...)...)
	c.Env, c.Dir = h.env(), h.dir
	c.Stdin = strings.NewReader(strings.Join(references, "\n") + "\n")
	return metered(ctx, c)
}

// exitSome is the exit code of xargs when some of the commands failed.
const exitSome = 123

// failedSome forgives the loop that some of its commands failed: how many is a result.
func failedSome(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitSome {
		return nil
	}
	return err
}

// migration is one call of dct2notation run.
type migration struct {
	name      string // its ledger has that name
	shard     string // empty: all
	workers   int
	atMost    time.Duration // begin nothing new after that; 0: no limit
	key       []string      // what names it
	mayFail   bool          // items that fail are a result, and no error
	published Published
	notary    string // URL
}

// result is what the run said of itself.
type result struct {
	Results map[string]int `json:"results"`
}

// Exit codes of a run that did not sign all.
const (
	exitFailures = 3 // items failed
	exitEarly    = 5 // it ended by its time limit
)

// migrate runs dct2notation to its end. Running it again with the same name is a second
// run on the same ledger.
func (h *home) migrate(ctx context.Context, m migration) (result, usage, error) {
	var r result
	c, err := h.migration(m)
	if err != nil {
		return r, usage{}, err
	}
	var out bytes.Buffer
	c.Stdout = &out
	u, err := metered(ctx, c)
	var exit *exec.ExitError
	if errors.As(err, &exit) && (exit.ExitCode() == exitEarly || m.mayFail && exit.ExitCode() == exitFailures) {
		err = nil
	}
	if err == nil {
		err = json.Unmarshal(out.Bytes(), &r)
	}
	if err != nil {
		return r, u, fmt.Errorf("migrating: %w", err)
	}
	return r, u, nil
}

// migration is the command, ready to be started.
func (h *home) migration(m migration) (*exec.Cmd, error) {
	args := []string{"--state", m.name + ".db", "--workers", fmt.Sprint(m.workers), "--max-duration", m.atMost.String()}
	if m.shard != "" {
		args = append(args, "--shard", m.shard)
	}
	return h.command("run", m.notary, m.published, append(append(args, m.key...), m.published.GUNs...)...)
}

// command is dct2notation with a verb, ready to be started, that trusts the roots which were published.
func (h *home) command(verb, notary string, p Published, args ...string) (*exec.Cmd, error) {
	err := h.writeJSON("pins.json", map[string]any{"trust_pinning": map[string]any{"certs": p.Pins, "disable_tofu": true}})
	if err != nil {
		return nil, err
	}
	c := exec.Command(h.program("dct2notation"), append([]string{
		verb, "-o", "json", "--notary-server", notary, "--trust-pinning", "pins.json", "--docker-trust", "none", "--ca-file", "ca.pem",
	}, args...)...)
	c.Env, c.Dir = h.env(), h.dir
	return c, nil
}

// reading is one call of dct2notation snapshot: the verb that reads and verifies trust
// data without a registry and without a key. It also writes what it read.
type reading struct {
	published Published
	guns      []string // of them
	inFlight  int      // requests at a time; 0: as the program has it
	want      string   // the outcome that all of them must have
}

// snapshotFolder is where a home's snapshot is.
const snapshotFolder = "snapshot"

// read runs dct2notation to its end. In one home the second call finds what the first has
// left, in the snapshot and in the user's cache, which is below HOME; another home has none
// of it.
func (h *home) read(ctx context.Context, notary string, r reading) (usage, error) {
	args := []string{"-O", snapshotFolder}
	if r.inFlight > 0 {
		args = append(args, "--notary-concurrency", fmt.Sprint(r.inFlight))
	}
	c, err := h.command("snapshot", notary, r.published, append(args, r.guns...)...)
	if err != nil {
		return usage{}, err
	}
	var out bytes.Buffer
	c.Stdout = &out
	u, err := metered(ctx, c)
	if err != nil {
		return u, fmt.Errorf("reading trust data: %w", err)
	}
	return u, readAll(out.Bytes(), r.want, len(r.guns))
}

// readAll returns an error unless the outcome of all repositories is the wanted one.
func readAll(said []byte, want string, repositories int) error {
	var outcomes map[string]any
	if err := json.Unmarshal(said, &outcomes); err != nil {
		return fmt.Errorf("reading trust data: %w", err)
	}
	if n, ok := outcomes[want].(float64); !ok || int(n) != repositories {
		return fmt.Errorf("reading trust data: %d repositories should be %s, and it says %s", repositories, want, said)
	}
	return nil
}

// list runs notary list for one repository after the other, as a user's script would, and
// adds up what they took. What they leave in a home's trust folder the next call finds.
// There must be a line for each tag, or nothing was read.
func (h *home) list(ctx context.Context, notary string, guns []string, tags int) (usage, error) {
	var total usage
	for _, gun := range guns {
		c := exec.Command(h.program("notary"), "-s", notary, "-d", "trust", "--tlscacert", "ca.pem", "list", gun)
		c.Env, c.Dir = h.env(), h.dir
		var out bytes.Buffer
		c.Stdout = &out
		u, err := metered(ctx, c)
		if err != nil {
			return total, err
		}
		if n := listed(out.String()); n != tags {
			return total, fmt.Errorf("notary list %s: %d tags, want %d, in:\n%s", gun, n, tags, tail(out.String()))
		}
		total.busy = (total.busy*total.wall.Seconds() + u.busy*u.wall.Seconds()) / (total.wall + u.wall).Seconds()
		total.wall += u.wall
		total.own += u.own
		total.tree += u.tree
		total.peak = max(total.peak, u.peak)
	}
	return total, nil
}

// listed counts the lines of notary list that are a tag: name, digest, size, role.
func listed(said string) int {
	n := 0
	for line := range strings.Lines(said) {
		if fields := strings.Fields(line); len(fields) == 4 && len(fields[1]) == 64 {
			n++
		}
	}
	return n
}

// size is what a folder takes: the bytes in its files, and those of the disk.
type size struct {
	files       int
	bytes, disk int64
}

func sizeOf(folder string) (size, error) {
	var s size
	err := filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			s.disk += stat.Blocks * 512
		}
		if info.Mode().IsRegular() {
			s.files++
			s.bytes += info.Size()
		}
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("measuring a folder: %w", err)
	}
	return s, nil
}

// typical is the reading whose time is in the middle, with the largest memory of all: one
// call of a fraction of a second is easily disturbed, and memory has to suffice each time.
func typical(all []measured) measured {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b measured) int { return cmp.Compare(a.wall, b.wall) })
	m := all[len(all)/2]
	for _, other := range all {
		m.peak = max(m.peak, other.peak)
	}
	return m
}

// trustOwnKey writes notation's trust store and policy, by which both contestants verify.
func (h *home) trustOwnKey() error {
	id, err := h.key.Load()
	if err != nil {
		return err
	}
	if err := h.write(filepath.Join("notation", "truststore", "x509", "ca", "bench", "root.pem"), pki.PEM(id.Chain[len(id.Chain)-1])); err != nil {
		return err
	}
	return h.writeJSON(filepath.Join("notation", "trustpolicy.json"), map[string]any{"version": "1.0", "trustPolicies": []any{map[string]any{
		"name": "bench", "registryScopes": []string{"*"}, "signatureVerification": map[string]string{"level": "strict"},
		"trustStores": []string{"ca:bench"}, "trustedIdentities": []string{"*"},
	}}})
}

// verifying is one call of dct2notation verify.
type verifying struct {
	published Published
	guns      []string // of them
	tags      int      // that they have, on all of which the sides have to agree
	workers   int
	readers   int // repositories whose trust data is read at a time; 0: as the program has it
	inFlight  int // requests to the registry; 0: as the program has it
}

// verify runs dct2notation to its end. What it says goes to a file: of many tags it is
// much, and would count as our memory.
func (h *home) verify(ctx context.Context, notary string, v verifying) (u usage, err error) {
	args := []string{"--concurrency", fmt.Sprint(v.workers)}
	if v.readers > 0 {
		args = append(args, "--notary-concurrency", fmt.Sprint(v.readers))
	}
	if v.inFlight > 0 {
		args = append(args, "--registry-concurrency", fmt.Sprint(v.inFlight))
	}
	c, err := h.command("verify", notary, v.published, append(args, v.guns...)...)
	if err != nil {
		return u, err
	}
	out, err := os.Create(h.path("verified.json"))
	if err != nil {
		return u, fmt.Errorf("verifying: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	c.Stdout = out
	if u, err = metered(ctx, c); err != nil {
		return u, fmt.Errorf("verifying: %w", err)
	}
	if _, err := out.Seek(0, 0); err != nil {
		return u, fmt.Errorf("verifying: %w", err)
	}
	var said struct {
		Totals map[string]int `json:"totals"`
		Agree  bool           `json:"agree"`
	}
	if err := json.NewDecoder(out).Decode(&said); err != nil {
		return u, fmt.Errorf("verifying: %w", err)
	}
	if !said.Agree || said.Totals["agree"] != v.tags {
		return u, fmt.Errorf("verifying: the sides should agree on %d tags, and it says %v", v.tags, said.Totals)
	}
	return u, nil
}

// verifyEach verifies with the notation command, once for each image. That one fails is an
// error.
func (h *home) verifyEach(ctx context.Context, workers int, references []string) (usage, error) {
	return h.each(ctx, workers, []string{"verify"}, references)
}
