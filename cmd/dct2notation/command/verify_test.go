package command

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	notationgo "github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/plugin"
	notationregistry "github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/pflag"
	"github.com/theupdateframework/notary/client"
	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/tuf/data"
	orasremote "oras.land/oras-go/v2/registry/remote"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/schematest"
	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/notation"
)

// besideDoc holds the table that TestVerdictsBesideTheRealTools makes.
const besideDoc = "../../../docs/design/verdicts.md"

// consumer returns the verdicts of the two tools that users have about a tag.
type consumer interface {
	// notation returns nil if notation verify accepts a tag under the policy of a level.
	notation(p *place, tag, level string) error
	// docker returns the digest, in hex, that docker trusts under a tag.
	docker(p *place, tag string) (string, error)
}

// TestVerdictsBesideTheRealTools tests promise 6 against the tools themselves: wherever notation
// verify refuses a tag, or docker trusts none or another digest under it, verify does not say that
// both sides agree. Each kind of tamper is done once in each registry. If DCT2NOTATION_E2E_BIN
// names the folder with notation, and docker is installed (make e2e), the tools are the commands;
// otherwise they are the libraries that the commands are made of. The table is the same.
func TestVerdictsBesideTheRealTools(t *testing.T) {
	if !besideRealTools {
		t.Skip("compares the whole table, and has no short form")
	}
	g := newGroundOn(t, notarytest.Options{TLS: true})
	var tools consumer = &libraries{g}
	if bin := os.Getenv("DCT2NOTATION_E2E_BIN"); bin != "" {
		tools = newCommands(g, bin)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "| what was done | registry | policy | verify | notation verify | docker trust inspect |\n|---|---|---|---|---|---|\n")
	for i, k := range tampers {
		for _, p := range g.places {
			s := &scene{place: p, mark: p.marks[i%len(p.marks)], Rand: rand.New(rand.NewPCG(uint64(i), 0))}
			f := k.do(s)
			for _, row := range g.beside(tools, p, s, f) {
				if err := row.fooled(); err != nil {
					t.Errorf("%s, %s: got error %v, want none", k.name, p.name, err)
				}
				fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s |\n", k.name, p.name, cmp.Or(f.level, "strict"), row.ours, row.notation, row.docker)
			}
			g.restore()
		}
	}
	if err := g.agrees(); err != nil {
		t.Fatalf("when all was taken back: got error %v, want none", err)
	}
	schematest.Made(t, besideDoc, "table", table.String(), *update)
}

// besideRow holds the three verdicts about one tag.
type besideRow struct {
	tag                    string
	ours                   verify.Class
	notation, docker       string
	accepted, sameAsDocker bool
}

// fooled returns an error if verify accepts what another tool refuses.
func (r besideRow) fooled() error {
	switch {
	case r.ours == verify.Agree && !r.accepted:
		return fmt.Errorf("%s is agree, and notation verify says %s", r.tag, r.notation)
	case r.ours == verify.Agree && !r.sameAsDocker:
		return fmt.Errorf("%s is agree, and docker says %s", r.tag, r.docker)
	case r.ours == verify.NoneSigned && (r.accepted || r.sameAsDocker):
		return fmt.Errorf("%s is unsigned, and notation verify says %s, docker %s", r.tag, r.notation, r.docker)
	}
	return nil
}

// beside asks all three about one affected tag for each way in which verify reports the tamper.
func (g *ground) beside(tools consumer, p *place, s *scene, f finding) []besideRow {
	g.t.Helper()
	ledger := ""
	if f.ledger {
		ledger = p.ledger
	}
	level := cmp.Or(f.level, "strict")
	_, v := g.verify(level, ledger)
	tags := slices.Sorted(maps.Keys(f.tags))
	if len(tags) == 0 {
		tags = s.mark.tags[:1]
	}
	var rows []besideRow
	for _, tag := range tags {
		row := besideRow{tag: tag, ours: classOf(v, p, tag), notation: "accepts", docker: "nothing"}
		if slices.ContainsFunc(rows, func(r besideRow) bool { return r.ours == row.ours }) || tag == "" {
			continue // the tags of one image are equivalent
		}
		if err := tools.notation(p, tag, level); err != nil {
			row.notation = "refuses"
		} else {
			row.accepted = true
		}
		if trusted, err := tools.docker(p, tag); err == nil {
			row.docker = "another digest"
			if now, err := p.registry.Resolve(p.name, tag); err == nil && now.Digest.Encoded() == trusted {
				row.docker, row.sameAsDocker = "the tag's digest", true
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// classOf returns verify's class for a tag, or for its repository as a whole.
func classOf(v report.Verification, p *place, tag string) verify.Class {
	for _, r := range v.Repositories {
		if r.GUN != p.trust.GUN() {
			continue
		}
		for _, row := range r.Tags {
			if row.Tag == tag {
				return row.Class
			}
		}
		return cmp.Or(r.Class, verify.NoneSigned)
	}
	return verify.Unknown
}

// libraries are notation-go and notary's client, used as the commands use them.
type libraries struct{ *ground }

func (l *libraries) notation(p *place, tag, level string) error {
	raw, err := os.ReadFile(l.path(level + ".json"))
	must(l.t, err)
	var policy trustpolicy.Document
	must(l.t, json.Unmarshal(raw, &policy))
	v, err := verifier.New(&policy, truststore.NewX509TrustStore(dir.ConfigFS()), plugin.NewCLIManager(dir.PluginFS()))
	must(l.t, err)
	repository, err := orasremote.NewRepository(p.trust.GUN())
	must(l.t, err)
	repository.PlainHTTP, repository.Client = true, http.DefaultClient // without retries
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	desc, err := repository.Resolve(ctx, tag)
	if err != nil {
		return err
	}
	_, _, err = notationgo.Verify(ctx, v, notationregistry.NewRepository(repository), notationgo.VerifyOptions{
		ArtifactReference: p.trust.GUN() + "@" + desc.Digest.String(), MaxSignatureAttempts: 100,
	})
	return err
}

func (l *libraries) docker(p *place, tag string) (string, error) {
	if !dct.IsTag(tag) {
		return "", errors.New("docker takes no such reference")
	}
	gun := data.GUN(p.trust.GUN())
	server, err := storage.NewNotaryServerStore(l.ground.notary.URL(), gun, l.ground.notary.HTTPClient().Transport)
	if err != nil {
		return "", err
	}
	loaded, _, err := client.LoadTUFRepo(client.TUFLoadOptions{GUN: gun, Cache: storage.NewMemoryStore(nil), RemoteStore: server})
	if err != nil {
		return "", err
	}
	releases := data.RoleName("targets/releases")
	target, err := client.NewReadOnly(loaded).GetTargetByName(tag, releases, data.CanonicalTargetsRole)
	switch {
	case err != nil:
		return "", err
	case target.Role != releases && target.Role != data.CanonicalTargetsRole:
		return "", errors.New("no trust data for the tag in the roles that docker trusts")
	}
	return hex.EncodeToString(target.Hashes["sha256"]), nil
}

// commands are the real commands.
type commands struct {
	*ground
	bin string
}

func newCommands(g *ground, bin string) *commands {
	for _, level := range levels {
		policy, err := os.ReadFile(g.path(level + ".json"))
		must(g.t, err)
		g.write("notation-"+level+"/trustpolicy.json", policy)
		store, err := os.ReadFile(g.path("notation/truststore/x509/ca/ground/root.pem"))
		must(g.t, err)
		g.write("notation-"+level+"/truststore/x509/ca/ground/root.pem", store)
	}
	return &commands{g, bin}
}

func (c *commands) run(name string, environment []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	command.Env = append(os.Environ(), environment...)
	var said bytes.Buffer
	command.Stderr = &said
	out, err := command.Output()
	if missing := (*exec.Error)(nil); errors.As(err, &missing) {
		c.t.Fatal(err)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, said.String())
	}
	return string(out), nil
}

func (c *commands) notation(p *place, tag, level string) error {
	_, err := c.run(filepath.Join(c.bin, "notation"), []string{"NOTATION_CONFIG=" + c.path("notation-"+level), "XDG_CONFIG_HOME=" + c.path("xdg"), "DOCKER_CONFIG=" + c.t.TempDir()},
		"verify", "--insecure-registry", p.trust.GUN()+":"+tag)
	return err
}

// docker starts without any state, as on a new machine.
func (c *commands) docker(p *place, tag string) (string, error) {
	if os.Getenv("DCT2NOTATION_E2E_DOCKER") == "no" {
		return (&libraries{c.ground}).docker(p, tag) // run.sh reports that docker is left out
	}
	home := c.t.TempDir()
	server, err := url.Parse(c.ground.notary.URL())
	must(c.t, err)
	authority := filepath.Join(home, "tls", server.Host, "ca.crt")
	must(c.t, os.MkdirAll(filepath.Dir(authority), 0o700))
	must(c.t, os.WriteFile(authority, c.ground.notary.CAPEM(), 0o600))
	out, err := c.run("docker", []string{"DOCKER_CONFIG=" + home, "DOCKER_CONTENT_TRUST=1", "DOCKER_CONTENT_TRUST_SERVER=" + c.ground.notary.URL(), "DOCKER_HOST=unix://" + filepath.Join(home, "none.sock")},
		"trust", "inspect", p.trust.GUN()+":"+tag)
	if err != nil {
		return "", err
	}
	var shown []struct{ SignedTags []struct{ Digest string } }
	if err := json.Unmarshal([]byte(out), &shown); err != nil {
		return "", err
	}
	if len(shown) != 1 || len(shown[0].SignedTags) == 0 {
		return "", errors.New("no signed tag")
	}
	return shown[0].SignedTags[0].Digest, nil
}

// These variables set the number of tampers and the seed to repeat.
const (
	tampersVar    = "DCT2NOTATION_TAMPERS"
	tamperSeedVar = "DCT2NOTATION_TAMPER_SEED"
)

// Promise 6: whatever is changed on either side without the migration's knowledge, verify reports
// it for the affected tags, in a suitable class, and for no others. It raises no false alarm about
// harmless changes.
func TestEveryTamperIsFound(t *testing.T) {
	number := func(name string, usual uint64) uint64 {
		text := os.Getenv(name)
		if text == "" {
			return usual
		}
		n, err := strconv.ParseUint(text, 10, 64)
		must(t, err)
		return n
	}
	seed := number(tamperSeedVar, rand.Uint64())
	random := rand.New(rand.NewPCG(seed, 0))
	g := newGround(t)
	must(t, g.agrees())
	order := random.Perm(len(tampers))
	for i := range int(number(tampersVar, tampersUsually)) {
		k := tampers[order[i%len(order)]] // each kind equally often
		p := g.places[random.IntN(len(g.places))]
		s := &scene{place: p, mark: p.marks[random.IntN(len(p.marks))], Rand: random}
		f := k.do(s)
		level, ledger := "strict", ""
		if f.level != "" {
			level = f.level
		}
		if f.ledger {
			ledger = p.ledger
		}
		code, v := g.verify(level, ledger)
		if err := f.compare(g, p, code, v); err != nil {
			t.Fatalf("tamper %d, %s in %s, of %v: %v\n%s=%d%s", i, k.name, p.name, s.mark.tags, err, tamperSeedVar, seed, differences(v))
		}
		g.restore()
		if i%tampersBetween == tampersBetween-1 {
			if err := g.agrees(); err != nil {
				t.Fatalf("after tamper %d, %s in %s, was taken back: %v\n%s=%d", i, k.name, p.name, err, tamperSeedVar, seed)
			}
		}
	}
	if err := g.agrees(); err != nil {
		t.Errorf("when all was taken back: %v\n%s=%d", err, tamperSeedVar, seed)
	}
}

// differences returns the rows on which the sides do not agree.
func differences(v report.Verification) (text string) {
	for _, r := range v.Repositories {
		text += fmt.Sprintf("\n%s %s %s", r.GUN, r.Class, r.Reason)
		for _, row := range r.Tags {
			if row.Class != verify.Agree || len(row.Flags) > 0 {
				text += fmt.Sprintf("\n  %s %s %v %s", row.Tag, row.Class, row.Flags, row.Reason)
			}
		}
	}
	return text
}

// rows checks the verdict about one repository.
func (f finding) rows(p *place, r verify.Repository) error {
	if r.GUN != p.trust.GUN() || r.Class != f.whole {
		return fmt.Errorf("%s is %s %s, want %s", r.GUN, r.Class, r.Reason, f.whole)
	}
	if f.whole != "" {
		if len(r.Tags) > 0 {
			return fmt.Errorf("%s is %s, and has tags", p.name, r.Class)
		}
		return nil
	}
	left := map[string]bool{}
	for _, tag := range p.tags() {
		left[tag] = true
	}
	for tag := range f.tags {
		left[tag] = true
	}
	delete(left, f.gone)
	for _, row := range r.Tags {
		allowed, meant := f.tags[row.Tag]
		if !meant {
			allowed = []verify.Class{verify.Agree}
		}
		switch {
		case !left[row.Tag]:
			return fmt.Errorf("%s: a row too many, %+v", p.name, row)
		case !slices.Contains(allowed, row.Class):
			return fmt.Errorf("%s: want one of %s, got %+v", p.name, allowed, row)
		case !meant && (len(row.Flags) > 0 && !f.alien || row.Reason != "" || !row.Bound):
			return fmt.Errorf("%s: nothing was done to %+v", p.name, row)
		case meant && (row.Class == verify.Agree) != (row.Reason == ""):
			return fmt.Errorf("%s: no reason, or one for nothing: %+v", p.name, row)
		}
		if meant {
			if f.beside != "" && !slices.Contains(row.Classes, f.beside) {
				return fmt.Errorf("%s: want the class %s, too: %+v", p.name, f.beside, row)
			}
			for _, flag := range f.flags {
				if !slices.Contains(row.Flags, flag) {
					return fmt.Errorf("%s: want the flag %s: %+v", p.name, flag, row)
				}
			}
		}
		delete(left, row.Tag)
	}
	if len(left) > 0 {
		return fmt.Errorf("%s: nothing is said of %v", p.name, left)
	}
	return nil
}

// naming makes an envelope name a plugin for its verification.
func naming(plugin string) func(*signature.SignRequest) {
	return func(r *signature.SignRequest) {
		r.ExtendedSignedAttributes = append(r.ExtendedSignedAttributes,
			signature.Attribute{Key: "io.cncf.notary.verificationPlugin", Critical: true, Value: plugin})
	}
}

// snapshotWith makes a snapshot of a place's trust data and attaches signatures by hand, as anybody
// can who has the directory.
func (g *ground) snapshotWith(dirName string, p *place, by ...func(manifest ocispec.Descriptor) []byte) {
	g.t.Helper()
	code, _, said := g.main("snapshot", "-O", g.path(dirName), p.trust.GUN())
	if code != cli.ExitDone {
		g.t.Fatalf("snapshot: exit code %d: %s", code, said)
	}
	raw, err := os.ReadFile(g.path(dirName + "/index.json"))
	must(g.t, err)
	var index ocispec.Index
	must(g.t, json.Unmarshal(raw, &index))
	blob := func(raw []byte) {
		g.write(filepath.Join(dirName, "blobs", "sha256", digest.FromBytes(raw).Encoded()), raw)
	}
	saved := index.Manifests[0]
	for _, sign := range by {
		envelope := sign(saved)
		manifest, desc, err := registry.PackSignature(saved, p.mediaType, envelope, map[string]string{
			ocispec.AnnotationCreated: time.Now().Format(time.RFC3339), "io.cncf.notary.x509chain.thumbprint#S256": "[]"})
		must(g.t, err)
		blob(envelope)
		blob(manifest)
		blob([]byte("{}"))
		desc.Annotations = nil
		index.Manifests = append(index.Manifests, desc)
	}
	g.writeJSON(dirName+"/index.json", index)
}

// Whoever can attach a signature can name a program in it. Notation's own verifier would start it,
// from notation's folder of plugins or, as the name is joined to a path, from anywhere. No verb
// starts it, at any level of the trust policy, whether or not the signer's certificate is trusted.
func TestNothingThatASignatureNamesIsStarted(t *testing.T) {
	g := newGround(t)
	was := dir.UserLibexecDir
	dir.UserLibexecDir = g.path("libexec")
	t.Cleanup(func() { dir.UserLibexecDir = was })
	started := g.path("started")
	program := fmt.Appendf(nil, "#!/bin/sh\necho \"$0\" >> %q\n", started)
	for _, at := range []string{"libexec/plugins/x/notation-x", "evil/evil"} {
		must(t, os.MkdirAll(filepath.Dir(g.path(at)), 0o755))
		must(t, os.WriteFile(g.path(at), program, 0o755))
	}
	names := []string{"x", "../../evil"}
	p := g.places[0]
	var signatures []func(ocispec.Descriptor) []byte
	for _, name := range names {
		for _, by := range []*pki.Identity{g.stranger, g.twin, g.intruder, g.old} {
			signatures = append(signatures, func(d ocispec.Descriptor) []byte { return p.envelope(by, d, naming(name)) })
		}
	}
	for _, sign := range signatures {
		p.push(p.marks[0].Descriptor, sign(p.marks[0].Descriptor))
	}
	g.snapshotWith("archive", p, signatures...)
	for _, level := range levels {
		policy := g.path(level + ".json")
		for verb, args := range map[string][]string{
			"verify": {"--trust-policy", policy, p.trust.GUN()},
			"ready":  {"--trust-policy", policy, "--date", time.Now().Add(time.Hour * 48).Format(time.DateOnly), "--no-ledger", "--snapshot", g.path("archive"), p.trust.GUN()},
			"plan":   {"--source", "snapshot:" + g.path("archive"), "--snapshot-trust-policy", policy, "--allow-expired", "timestamp", p.trust.GUN()},
		} {
			if code, _, said := g.main(verb, args...); code == cli.ExitCannot || code == cli.ExitUsage {
				t.Errorf("%s at level %s: got exit code %d, want neither %d nor %d: %s", verb, level, code, cli.ExitCannot, cli.ExitUsage, said)
			}
		}
		code, out, said := g.mainOf([]string{"snapshot", "verify"}, "--snapshot-trust-policy", policy, g.path("archive"))
		if code == cli.ExitUsage || !strings.Contains(string(out), `"count": 8`) || strings.Contains(string(out), `"trusted": true`) {
			t.Errorf("snapshot verify at level %s: got exit code %d, want 8 signatures and none trusted: %s%s", level, code, out, said)
		}
		if ran, err := os.ReadFile(started); err == nil {
			t.Fatalf("at level %s: got started by a signature: %s, want nothing", level, ran)
		}
	}
}

// A stranger's certificate names the server to ask about its revocation. Asking it would tell the
// stranger who looks and when, and would let him send requests into our own network. A lenient
// level goes on to revocation even if the certificate is not trusted.
func TestNobodyIsAskedForAStranger(t *testing.T) {
	g := newGround(t)
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Error(w, "", http.StatusNotFound)
	}))
	t.Cleanup(server.Close)
	other, err := pki.NewAuthority("ground")
	must(t, err)
	p := g.places[0]
	var signatures []func(ocispec.Descriptor) []byte
	named := []string{server.URL}
	for _, c := range []x509.Certificate{{OCSPServer: named}, {CRLDistributionPoints: named}, {OCSPServer: named, CRLDistributionPoints: named}} {
		id, err := other.Issue(releaseName, nil, func(t *x509.Certificate) {
			t.OCSPServer, t.CRLDistributionPoints = c.OCSPServer, c.CRLDistributionPoints
		})
		must(t, err)
		signatures = append(signatures, func(d ocispec.Descriptor) []byte { return p.envelope(id, d) })
	}
	for _, sign := range signatures {
		p.push(p.marks[0].Descriptor, sign(p.marks[0].Descriptor))
	}
	g.snapshotWith("archive", p, signatures...)
	for _, level := range levels {
		policy := g.path(level + ".json")
		code, _, said := g.main("verify", "--trust-policy", policy, p.trust.GUN())
		if code != cli.ExitDone { // the release key's own signature is still there
			t.Errorf("verify at level %s: got exit code %d, want %d: %s", level, code, cli.ExitDone, said)
		}
		if code, _, said := g.mainOf([]string{"snapshot", "verify"}, "--snapshot-trust-policy", policy, g.path("archive")); code == cli.ExitUsage {
			t.Errorf("snapshot verify at level %s: got exit code %d, want any but it: %s", level, code, said)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the address in a stranger's certificate: got it asked %d times, want 0", n)
	}
}

func TestVerificationPluginsAreAsConfigured(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]struct {
		plugins []notation.VerificationPlugin
		says    string
	}{
		"":                          {},
		"--verification-plugin aws": {plugins: []notation.VerificationPlugin{{Name: "aws"}}},
		"--verification-plugin aws --verification-plugin own=verify_test.go --verification-plugin-sha256 own=ab --verification-plugin-env A --verification-plugin-config k=v": {
			plugins: []notation.VerificationPlugin{
				{Name: "aws", Config: map[string]string{"k": "v"}, Env: []string{"A"}},
				{Name: "own", Path: "verify_test.go", SHA256: "ab", Config: map[string]string{"k": "v"}, Env: []string{"A"}},
			}},
		"--verification-plugin aws=":                                {says: "NAME or NAME=FILE"},
		"--verification-plugin-sha256 aws=ab":                       {says: "does not name it"},
		"--verification-plugin-config k=v":                          {says: "need --verification-plugin"},
		"--verification-plugin-env A":                               {says: "need --verification-plugin"},
		"--verification-plugin ../aws":                              {plugins: []notation.VerificationPlugin{{Name: "../aws"}}}, // refused when the verifier is opened
		"--verification-plugin a --verification-plugin-sha256 b=ab": {says: "does not name it"},
	} {
		var o session.RemoteOptions
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.Bind(f)
		must(t, f.Parse(strings.Fields(args)))
		got, err := o.Plugins()
		for i := range want.plugins {
			want.plugins[i].Timeout = time.Minute
		}
		if (err == nil) != (want.says == "") || err != nil && !strings.Contains(err.Error(), want.says) || !reflect.DeepEqual(got, want.plugins) {
			t.Errorf("%s: got %+v, %v, want %+v, %q", args, got, err, want.plugins, want.says)
		}
		if checked := o.Check(); (checked == nil) != (err == nil) {
			t.Errorf("%s: got the options checked as %v, want as parsed: %v", args, checked, err)
		}
	}
}

// A signature that names a verification plugin is unknown until the user names the plugin. Then the
// plugin's verdict counts.
func TestSignaturesAreVerifiedByTheNamedPlugin(t *testing.T) {
	g := newGround(t)
	installed, err := kmstest.Install(g.path("libexec"), kmstest.Behaviour{Capability: kmstest.VERIFIER})
	must(t, err)
	p := g.places[0]
	s := &scene{place: p, mark: p.marks[0]}
	var attributes func(*signature.SignRequest) = func(r *signature.SignRequest) {
		naming(kmstest.Name)(r)
		r.ExtendedSignedAttributes = append(r.ExtendedSignedAttributes, signature.Attribute{Key: "com.example.profile", Critical: true, Value: "release"})
	}
	list := func(d ocispec.Descriptor) { s.replace(p.envelope(g.twin, d, attributes)) }
	list(s.Descriptor)
	named := []string{"--verification-plugin", kmstest.Name + "=" + installed.Path}
	for _, c := range []struct {
		name    string
		flags   []string
		rejects map[string]string
		code    int
		class   verify.Class
	}{
		{"not named", nil, nil, cli.ExitFailures, verify.Unknown},
		{"another is named", []string{"--verification-plugin", "other=" + installed.Path}, nil, cli.ExitFailures, verify.Unknown},
		{"named", named, nil, cli.ExitDone, verify.Agree},
		{"named, and rejects it", named, map[string]string{"SIGNATURE_VERIFIER.TRUSTED_IDENTITY": "no"}, cli.ExitDisagree, verify.Untrusted},
	} {
		must(t, installed.Set(kmstest.Behaviour{Capability: kmstest.VERIFIER, Rejects: c.rejects}))
		g.flags = c.flags
		code, v := g.verify("strict", "")
		if code != c.code {
			t.Errorf("%s: got exit code %d, want %d", c.name, code, c.code)
		}
		for _, row := range v.Repositories[0].Tags {
			if row.Tag == s.mark.tags[0] && row.Class != c.class {
				t.Errorf("%s: got class %s, want %s", c.name, row.Class, c.class)
			}
		}
	}
	g.flags = []string{"--verification-plugin", "../kmstest"}
	if code, _, said := g.main("verify", p.trust.GUN()); code != cli.ExitUsage || !strings.Contains(said, "no name of a plugin") {
		t.Errorf("a path for a name: got exit code %d, want %d: %s", code, cli.ExitUsage, said)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// If nothing in a tag's list is trusted, this is no verdict while the registry may have another
// list in the referrers API. This also holds if the tag has an old list.
func TestUntrustedListInATagIsNoVerdictWhereTheAPIComesBack(t *testing.T) {
	g := newGround(t)
	p := g.places[0]
	must(t, p.registry.Tag(p.name, "stray", p.trusted.Digest.String()))
	body, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{
		{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: registry.ArtifactType, Digest: p.signatures(p.stranger)[0].Digest, Size: p.signatures(p.stranger)[0].Size},
	}})
	must(t, err)
	_, err = p.registry.PutManifest(p.name, fallback(p.trusted), ocispec.MediaTypeImageIndex, body)
	must(t, err)
	var read atomic.Bool
	p.answer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if strings.HasSuffix(r.URL.Path, "/manifests/"+fallback(p.trusted)) {
			read.Store(true)
		}
		hidden := strings.Contains(r.URL.Path, "/referrers/") && !read.Load()
		if hidden {
			w.WriteHeader(http.StatusNotFound)
		}
		return hidden
	})
	_, v := g.verify("strict", "")
	told := func(tag verify.Row) bool { return tag.Tag == "stray" }
	if !slices.ContainsFunc(v.Repositories, func(r verify.Repository) bool { return slices.ContainsFunc(r.Tags, told) }) {
		t.Errorf("after its list in a tag was read (%t): got nothing of the image which only notation trusts, want it told", read.Load())
	}
}
