package command

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	notationgo "github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/plugin"
	notationregistry "github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/theupdateframework/notary/client"
	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/tuf/data"
	orasremote "oras.land/oras-go/v2/registry/remote"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// besideDoc holds the table that TestVerdictsBesideTheRealTools makes, between these lines.
const (
	besideDoc   = "../../../docs/design/verdicts.md"
	besideBegin = "<!-- table: made by TestVerdictsBesideTheRealTools -->\n"
	besideEnd   = "<!-- end of table -->\n"
)

// A consumer is what the two tools that users have say of a tag.
type consumer interface {
	// notation returns nil if notation verify accepts a tag by the policy of a level.
	notation(p *place, tag, level string) error
	// docker returns the digest, in hex, that docker trusts under a tag.
	docker(p *place, tag string) (string, error)
}

// TestVerdictsBesideTheRealTools holds promise 6 against the tools themselves: wherever
// notation verify refuses a tag, or docker trusts none or another digest under it, verify does not say that
// both sides agree. Each kind of tamper is done once in each registry. The tools are the commands where
// DCT2NOTATION_E2E_BIN names the folder with notation and docker is installed (make e2e), and else the
// libraries that they are made of; the table is the same.
func TestVerdictsBesideTheRealTools(t *testing.T) {
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
					t.Errorf("%s, %s: %v", k.name, p.name, err)
				}
				fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s |\n", k.name, p.name, cmp.Or(f.level, "strict"), row.ours, row.notation, row.docker)
			}
			g.restore()
		}
	}
	if err := g.agrees(); err != nil {
		t.Fatalf("when all was taken back: %v", err)
	}
	compareTable(t, table.String())
}

// compareTable compares the table with the one in the document, or writes it there.
func compareTable(t *testing.T, table string) {
	t.Helper()
	raw, err := os.ReadFile(besideDoc)
	must(t, err)
	before, rest, ok := strings.Cut(string(raw), besideBegin)
	old, after, ends := strings.Cut(rest, besideEnd)
	if !ok || !ends {
		t.Fatalf("%s: no table between %q and %q", besideDoc, besideBegin, besideEnd)
	}
	if *update {
		must(t, os.WriteFile(besideDoc, []byte(before+besideBegin+table+besideEnd+after), 0o644))
		return
	}
	if old == table {
		return
	}
	want := strings.Split(old, "\n")
	for i, line := range strings.Split(table, "\n") {
		if i >= len(want) || line != want[i] {
			t.Errorf("%s: line %d of the table is\ngot  %s\nwant %s\nrun go test ./cmd/dct2notation/command -run Beside -update and review the change",
				besideDoc, i+1, line, want[min(i, len(want)-1)])
			return
		}
	}
	t.Errorf("%s: got %d lines of the table, want %d", besideDoc, strings.Count(table, "\n"), len(want)-1)
}

// besideRow is what the three say of one tag.
type besideRow struct {
	tag                    string
	ours                   verify.Class
	notation, docker       string
	accepted, sameAsDocker bool
}

// fooled returns an error if verify calls well what another refuses.
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

// beside asks all three of one tag that the tamper concerns in each way that verify sees it.
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
			continue // the tags of one image are alike
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

// classOf is what verify said of a tag, or of its repository as a whole.
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
	repository.PlainHTTP, repository.Client = true, http.DefaultClient // without repetitions
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

// commands are the real ones.
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

// docker has seen nothing before, as on a new machine.
func (c *commands) docker(p *place, tag string) (string, error) {
	if os.Getenv("DCT2NOTATION_E2E_DOCKER") == "no" {
		return (&libraries{c.ground}).docker(p, tag) // run.sh says that docker is left out
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
