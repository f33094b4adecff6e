package e2e

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A publisher signs the tags of one repository with the real notary command, and has a
// trust directory of its own.
type publisher struct {
	t      testing.TB
	server *notaryServer
	gun    string
	home   *home
}

// passphrases let the notary command run without a terminal.
var passphrases = []string{
	"NOTARY_ROOT_PASSPHRASE=e2e-passphrase", "NOTARY_TARGETS_PASSPHRASE=e2e-passphrase",
	"NOTARY_SNAPSHOT_PASSPHRASE=e2e-passphrase", "NOTARY_DELEGATION_PASSPHRASE=e2e-passphrase",
}

// init publishes an empty repository whose snapshot key is the server's, docker's default.
func (s *notaryServer) init(t testing.TB, gun string) *publisher {
	t.Helper()
	p := &publisher{t, s, gun, newHome(t)}
	p.home.extra = passphrases
	p.notary("init", "-p", gun)
	p.notary("key", "rotate", gun, "snapshot", "-r")
	return p
}

// notary runs the command, which must succeed, and returns what it printed.
func (p *publisher) notary(args ...string) string {
	p.t.Helper()
	global := []string{"-s", p.server.url, "-d", p.trustDir()}
	if p.server.tls != nil {
		global = append(global, "--tlscacert", p.server.tls.caFile)
	}
	return p.home.must(p.t, "notary", append(global, args...)...).stdout
}

func (p *publisher) trustDir() string { return filepath.Join(p.home.dir, "trust") }

// sign publishes a tag for an image, in targets or in the roles given.
func (p *publisher) sign(tag string, image ocispec.Descriptor, roles ...string) {
	p.t.Helper()
	args := []string{"addhash", "-p", p.gun, tag, strconv.FormatInt(image.Size, 10), "--sha256", image.Digest.Encoded()}
	p.notary(append(args, roleFlags(roles)...)...)
}

// remove takes a tag out of targets or out of the roles given.
func (p *publisher) remove(tag string, roles ...string) {
	p.t.Helper()
	p.notary(append([]string{"remove", "-p", p.gun, tag}, roleFlags(roles)...)...)
}

// addSigner does what docker trust signer add does: one key for targets/<name> and
// targets/releases.
func (p *publisher) addSigner(name string) {
	p.t.Helper()
	key, role := newECKey(p.t), "targets/"+name
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(3, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	keyFile, certFile := filepath.Join(p.home.dir, name+".key"), filepath.Join(p.home.dir, name+".pem")
	writeKey(p.t, keyFile, key)
	writePEM(p.t, certFile, "CERTIFICATE", certify(p.t, cert, cert, key, key))
	p.notary("key", "import", keyFile, "--role", role, "--gun", p.gun)
	p.notary("delegation", "add", p.gun, role, certFile, "--all-paths")
	p.notary("delegation", "add", "-p", p.gun, "targets/releases", certFile, "--all-paths")
}

func roleFlags(roles []string) []string {
	var flags []string
	for _, r := range roles {
		flags = append(flags, "-r", r)
	}
	return flags
}

// pinFile writes notary's trust_pinning with the root keys of the publishers' repositories.
func pinFile(t testing.TB, publishers ...*publisher) string {
	t.Helper()
	certs := map[string][]string{}
	for _, p := range publishers {
		certs[p.gun] = p.rootKeyIDs()
	}
	return writePins(t, certs)
}

// writePins writes a file that pins the root keys of repositories, and allows no others.
func writePins(t testing.TB, certs map[string][]string) string {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"trust_pinning": map[string]any{"certs": certs, "disable_tofu": true}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pins.json")
	writeFile(t, path, raw)
	return path
}

// rootKeyIDs are read from the publisher's own copy of root.json.
func (p *publisher) rootKeyIDs() []string {
	p.t.Helper()
	raw, err := os.ReadFile(filepath.Join(p.trustDir(), "tuf", filepath.FromSlash(p.gun), "metadata", "root.json"))
	if err != nil {
		p.t.Fatal(err)
	}
	var root struct {
		Signed struct {
			Roles map[string]struct {
				KeyIDs []string `json:"keyids"`
			} `json:"roles"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(raw, &root); err != nil {
		p.t.Fatalf("reading the root of %s: %v", p.gun, err)
	}
	return root.Signed.Roles["root"].KeyIDs
}

// A listed target is a row of notary list.
type listed struct{ digest, role string }

// list is what the notary command lists with docker's order of roles: targets/releases,
// then targets. Rows of other roles are not what docker would use.
func (p *publisher) list() map[string]listed {
	p.t.Helper()
	rows := map[string]listed{}
	for line := range strings.Lines(p.notary("list", p.gun, "-r", "targets/releases", "-r", "targets")) {
		f := strings.Fields(line)
		if len(f) != 4 || len(f[1]) != 64 {
			continue // the heading, or that there is nothing
		}
		if slices.Contains([]string{"targets/releases", "targets"}, f[3]) {
			rows[f[0]] = listed{"sha256:" + f[1], f[3]}
		}
	}
	return rows
}

// lookup is the digest that notary lookup prints, which asks targets alone.
func (p *publisher) lookup(tag string) (string, error) {
	f := strings.Fields(p.notary("lookup", p.gun, tag))
	if len(f) != 3 || f[0] != tag {
		return "", fmt.Errorf("notary lookup of %s printed %q", tag, f)
	}
	return f[1], nil
}
