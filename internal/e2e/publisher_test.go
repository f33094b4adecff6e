package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// publisher signs the tags of one repository with the real notary command, and has its own trust
// directory.
type publisher struct {
	t      testing.TB
	server *notaryServer
	gun    string
	home   *home
}

// passphrases allow the notary command to run without a terminal.
var passphrases = []string{
	"NOTARY_ROOT_PASSPHRASE=e2e-passphrase", "NOTARY_TARGETS_PASSPHRASE=e2e-passphrase",
	"NOTARY_SNAPSHOT_PASSPHRASE=e2e-passphrase", "NOTARY_DELEGATION_PASSPHRASE=e2e-passphrase",
}

// init publishes an empty repository whose snapshot key is managed by the server, as by docker's
// default.
func (s *notaryServer) init(t testing.TB, gun string) *publisher {
	t.Helper()
	p := &publisher{t, s, gun, newHome(t)}
	p.home.extra = passphrases
	p.notary("init", "-p", gun)
	p.notary("key", "rotate", gun, "snapshot", "-r")
	return p
}

// notary runs the command, which must succeed, and returns its output.
func (p *publisher) notary(args ...string) string {
	p.t.Helper()
	global := []string{"-s", p.server.url, "-d", p.trustDir()}
	if p.server.tls != nil {
		global = append(global, "--tlscacert", p.server.tls.CAFile)
	}
	return p.home.must(p.t, "notary", append(global, args...)...).stdout
}

// trustDir is docker's, so that the docker command can publish what notary cannot.
func (p *publisher) trustDir() string { return p.home.path("docker", "trust") }

// sign publishes a tag for an image, in targets or in the given roles.
func (p *publisher) sign(tag string, image ocispec.Descriptor, roles ...string) {
	p.t.Helper()
	args := []string{"addhash", "-p", p.gun, tag, strconv.FormatInt(image.Size, 10), "--sha256", image.Digest.Encoded()}
	p.notary(append(args, roleFlags(roles)...)...)
}

// remove removes a tag from targets or from the given roles.
func (p *publisher) remove(tag string, roles ...string) {
	p.t.Helper()
	p.notary(append([]string{"remove", "-p", p.gun, tag}, roleFlags(roles)...)...)
}

// addSigner does what docker trust signer add does: one key for targets/<name> and
// targets/releases.
func (p *publisher) addSigner(name string) {
	p.t.Helper()
	p.delegate("targets/"+name, name)
	p.delegate("targets/releases", name)
}

// delegate adds a person's key to a role, for tags with these prefixes or for all tags.
func (p *publisher) delegate(role, name string, paths ...string) {
	p.t.Helper()
	certFile := p.certificate(name, role, time.Now().AddDate(3, 0, 0))
	args := []string{"delegation", "add", "-p", p.gun, role, certFile}
	if len(paths) == 0 {
		args = append(args, "--all-paths")
	}
	for _, path := range paths {
		args = append(args, "--paths", path)
	}
	p.notary(args...)
}

// certificate returns the file of a person's certificate. The first time, it makes the key and has
// notary store it for that role.
func (p *publisher) certificate(name, role string, until time.Time) string {
	p.t.Helper()
	certFile := p.home.path(name + ".pem")
	if !exists(certFile) {
		p.stranger(name, until)
		p.notary("key", "import", p.home.path(name+".key"), "--role", role, "--gun", p.gun)
	}
	return certFile
}

// stranger makes a key and its certificate. Notary does not get the key, so it cannot sign with it.
func (p *publisher) stranger(name string, until time.Time) {
	p.t.Helper()
	id, err := pki.SelfSigned(name, nil, pki.Valid(time.Now().Add(-time.Hour), until), pki.Bare)
	if err != nil {
		p.t.Fatal(err)
	}
	key, err := id.KeyPEM()
	if err != nil {
		p.t.Fatal(err)
	}
	servertest.WriteFile(p.t, p.home.path(name+".key"), key)
	servertest.WriteFile(p.t, p.home.path(name+".pem"), id.CertificatePEM())
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
	return writePinning(t, map[string]any{"certs": certs})
}

// writePinning writes the given pins in notary's form, and allows nothing else.
func writePinning(t testing.TB, pins map[string]any) string {
	t.Helper()
	pins["disable_tofu"] = true
	raw, err := json.Marshal(map[string]any{"trust_pinning": pins})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pins.json")
	servertest.WriteFile(t, path, raw)
	return path
}

// rootKeyIDs returns the ids in the publisher's own copy of root.json.
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
