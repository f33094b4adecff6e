package command

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-go/dir"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// ground is a successful migration. It has a repository in each of two registries, one with the
// referrers API and one without, and both sides agree on every tag. It is for tests that are not
// parallel, because notation-go keeps its folders in variables.
type ground struct {
	t        *testing.T
	dir      string
	notary   *notarytest.Server
	places   []*place
	release  *pki.Identity // the key that has signed
	twin     *pki.Identity // another key with the same subject, also trusted by the policy
	stranger *pki.Identity // looks like release to a person, but its authority is not trusted
	intruder *pki.Identity // from the trusted authority, but with a subject that is not trusted
	old      *pki.Identity // with the trusted subject, expired last month
	undo     []func()      // reverts the tampers made since everything was well
	flags    []string      // of every call, besides those of main
}

// place is one of the repositories.
type place struct {
	ground    *ground
	registry  *registrytest.Registry
	name      string
	mediaType string // of its envelopes
	ledger    string
	trust     *notarytest.Repository
	marks     []*mark
	client    *registry.Repository // for tampering

	before                      map[string]notarytest.Version // trust data when it still named the tag old
	unsigned, stranger, trusted ocispec.Descriptor            // images that DCT does not name, and who signed them

	hooks []registrytest.Hook
}

// mark is one of its signed images.
type mark struct {
	ocispec.Descriptor
	tags      []string
	signature ocispec.Descriptor
}

// These names are used by both authorities.
const (
	releaseName = "release"
	policyOf    = `{"version":"1.0","trustPolicies":[{"name":"ground","registryScopes":["*"],"signatureVerification":{"level":%q},
		"trustStores":["ca:ground"],"trustedIdentities":["x509.subject: C=US, ST=WA, O=dct2notation test, CN=release"]}]}`
)

var levels = []string{"strict", "permissive", "audit"}

func newGround(t *testing.T) *ground { return newGroundOn(t, notarytest.Options{}) }

// newGroundOn makes a ground whose Notary server has these options.
func newGroundOn(t *testing.T, o notarytest.Options) *ground {
	t.Helper()
	g := &ground{t: t, dir: t.TempDir()}
	was := dir.UserConfigDir
	dir.UserConfigDir = g.path("notation")
	t.Cleanup(func() { dir.UserConfigDir = was })
	g.makeKeys()
	var err error
	g.notary, err = notarytest.Start(o)
	must(t, err)
	t.Cleanup(g.notary.Close)
	if o.TLS {
		g.write("notary-ca.pem", g.notary.CAPEM())
		g.flags = []string{"--ca-file", g.path("notary-ca.pem")}
	}
	g.places = []*place{
		g.newPlace("api", "application/jose+json", registrytest.Options{Referrers: true}),
		g.newPlace("tags", "application/cose", registrytest.Options{}),
	}
	must(t, g.places[1].trust.AddSigner("alice")) // so that one repository is signed as docker does with delegations
	pins := map[string][]string{}
	for _, p := range g.places {
		p.publish()
		pins[p.trust.GUN()] = p.trust.RootKeyIDs()
	}
	g.writeJSON("pins.json", map[string]any{"trust_pinning": map[string]any{"certs": pins}})
	for _, p := range g.places {
		p.sign()
	}
	return g
}

func (g *ground) path(name string) string { return filepath.Join(g.dir, name) }

func (g *ground) write(name string, content []byte) {
	g.t.Helper()
	must(g.t, os.MkdirAll(filepath.Dir(g.path(name)), 0o700))
	must(g.t, os.WriteFile(g.path(name), content, 0o600))
}

func (g *ground) writeJSON(name string, v any) {
	g.t.Helper()
	raw, err := json.Marshal(v)
	must(g.t, err)
	g.write(name, raw)
}

// makeKeys issues the certificates and writes the files of a user of the commands.
func (g *ground) makeKeys() {
	g.t.Helper()
	ca, err := pki.NewAuthority("ground")
	must(g.t, err)
	other, err := pki.NewAuthority("ground") // with the same name
	must(g.t, err)
	issue := func(a *pki.Identity, cn string, change ...func(*x509.Certificate)) *pki.Identity {
		id, err := a.Issue(cn, nil, change...)
		must(g.t, err)
		return id
	}
	g.release, g.twin = issue(ca, releaseName), issue(ca, releaseName)
	g.stranger, g.intruder = issue(other, releaseName), issue(ca, "intruder")
	g.old = issue(ca, releaseName, pki.Valid(time.Now().AddDate(0, -2, 0), time.Now().AddDate(0, -1, 0)))
	g.write("config.json", []byte("{}"))
	g.write("notation/truststore/x509/ca/ground/root.pem", ca.CertificatePEM())
	for _, level := range levels {
		g.write(level+".json", fmt.Appendf(nil, policyOf, level))
	}
	saved, err := g.release.Save(g.dir, releaseName)
	must(g.t, err)
	g.writeJSON("notation/signingkeys.json", map[string]any{"default": releaseName, "keys": []any{
		map[string]string{"name": releaseName, "keyPath": saved.KeyFile, "certPath": saved.ChainFile}}})
}

func (g *ground) newPlace(name, mediaType string, o registrytest.Options) *place {
	g.t.Helper()
	p := &place{ground: g, name: name, mediaType: mediaType, ledger: g.path(name + ".db")}
	var err error
	p.registry, err = registrytest.Start(o)
	must(g.t, err)
	g.t.Cleanup(p.registry.Close)
	rt, err := transport.New(transport.Options{Retries: -1})
	must(g.t, err)
	client := registry.New(registry.Options{Client: transport.Client(rt, nil), PlainHTTP: func(string) bool { return true }})
	p.client, err = client.Repository(p.registry.Host() + "/" + name)
	must(g.t, err)
	p.trust, err = g.notary.NewRepository(p.registry.Host() + "/" + name)
	must(g.t, err)
	return p
}

// publish stores images. Most have one tag, one has three; there are also an index and an image in
// Docker's format. The tag old was once in DCT, and nobody has signed it in Notation.
func (p *place) publish() {
	t := p.ground.t
	t.Helper()
	add := func(d ocispec.Descriptor, err error, tags ...string) {
		must(t, err)
		for _, tag := range tags {
			must(t, p.registry.Tag(p.name, tag, d.Digest.String()))
			must(t, p.trust.Sign(tag, d.Digest.Encoded(), d.Size))
		}
		p.marks = append(p.marks, &mark{Descriptor: d, tags: tags})
	}
	for i := range 6 {
		d, err := p.registry.PutImage(p.name, "", fmt.Sprint(p.name, i))
		add(d, err, fmt.Sprintf("v%d", i))
	}
	d, err := p.registry.PutImage(p.name, "", p.name+" many")
	add(d, err, "latest", "stable", "v9")
	d, err = p.registry.PutIndex(p.name, "", p.name+" index")
	add(d, err, "multi")
	d, err = p.registry.PutDockerImage(p.name, "", p.name+" docker")
	add(d, err, "docker")
	for name, to := range map[string]*ocispec.Descriptor{"old": &p.unsigned, "": &p.stranger, "-": &p.trusted} {
		*to, err = p.registry.PutImage(p.name, strings.Trim(name, "-"), p.name+" aside"+name)
		must(t, err)
	}
	must(t, p.trust.Sign("old", p.unsigned.Digest.Encoded(), p.unsigned.Size))
	must(t, p.trust.Publish())
	p.before = p.trustData()
	must(t, p.trust.Remove("old"))
	must(t, p.trust.Publish())
}

// sign runs the migration of the repository, and signs the other images.
func (p *place) sign() {
	g := p.ground
	g.t.Helper()
	format := map[bool]string{true: "jws", false: "cose"}[strings.Contains(p.mediaType, "jose")]
	code, _, said := g.main("run", "--state", p.ledger, "--signature-format", format, p.trust.GUN())
	if code != cli.ExitDone {
		g.t.Fatalf("run: exit code %d: %s", code, said)
	}
	for _, m := range p.marks {
		list := p.signatures(m.Descriptor)
		if len(list) != 1 {
			g.t.Fatalf("%s has %d signatures", m.tags[0], len(list))
		}
		m.signature = list[0]
	}
	p.push(p.stranger, p.envelope(g.stranger, p.stranger))
	p.push(p.trusted, p.envelope(g.twin, p.trusted))
	g.undo = nil // these are permanent
}

// main calls the program once.
func (g *ground) main(verb string, args ...string) (int, []byte, string) {
	return g.mainOf([]string{verb}, args...)
}

// mainOf is main for a verb of several words.
func (g *ground) mainOf(verb []string, args ...string) (int, []byte, string) {
	var out, err bytes.Buffer
	common := []string{"-o", "json", "--plain-http", "--docker-trust", "none", "--cache-dir", "none", "--notary-server", g.notary.URL(),
		"--trust-pinning", g.path("pins.json"), "--registry-config", g.path("config.json")}
	if verb[0] == "run" || verb[0] == "verify" {
		common = append(common, "--results", "none")
	}
	code := Main(context.Background(), nil, slices.Concat(verb, common, g.flags, args),
		cli.Streams{In: strings.NewReader(""), Out: &out, Err: &err})
	return code, out.Bytes(), err.String()
}

// verify compares both repositories.
func (g *ground) verify(level, ledger string) (int, report.Verification) {
	g.t.Helper()
	args := []string{"--trust-policy", g.path(level + ".json")}
	if ledger != "" {
		args = append(args, "--ledger", ledger)
	}
	for _, p := range g.places {
		args = append(args, p.trust.GUN())
	}
	code, out, said := g.main("verify", args...)
	var v report.Verification
	if err := json.Unmarshal(out, &v); err != nil {
		g.t.Fatalf("verify: exit code %d, %v: %s", code, err, said)
	}
	return code, v
}

func (p *place) signatures(image ocispec.Descriptor) []ocispec.Descriptor {
	p.ground.t.Helper()
	list, err := p.registry.Signatures(p.name, image.Digest.String())
	must(p.ground.t, err)
	return list
}

// tags returns all tags that both sides vouch for.
func (p *place) tags() (all []string) {
	for _, m := range p.marks {
		all = append(all, m.tags...)
	}
	return all
}

// trustData returns what the Notary server has for the repository now.
func (p *place) trustData() map[string]notarytest.Version {
	all := map[string]notarytest.Version{}
	for _, role := range p.ground.notary.Roles(p.trust.GUN()) {
		history := p.ground.notary.History(p.trust.GUN(), role)
		all[role] = history[len(history)-1]
	}
	return all
}

func (p *place) serve(files map[string]notarytest.Version) {
	for role, f := range files {
		p.ground.notary.Put(p.trust.GUN(), role, f.Number, f.Raw)
	}
}

// republish changes the trust data, using all its keys.
func (p *place) republish(change func() error) {
	p.ground.t.Helper()
	p.keepTrust()
	must(p.ground.t, change())
	must(p.ground.t, p.trust.Publish())
}

// keepTrust restores the present trust data later.
func (p *place) keepTrust() {
	files := p.trustData()
	p.ground.later(func() { p.serve(files) })
}

// later registers a function that reverts a tamper.
func (g *ground) later(undo func()) { g.undo = append(g.undo, undo) }

// restore reverts all tampers, the last one first.
func (g *ground) restore() {
	for len(g.undo) > 0 {
		last := len(g.undo) - 1
		undo := g.undo[last]
		g.undo = g.undo[:last]
		undo()
	}
}

// answer makes the registry answer requests differently.
func (p *place) answer(hook registrytest.Hook) {
	p.hooks = append(p.hooks, hook)
	hooks := p.hooks
	p.registry.SetHook(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		for _, h := range hooks {
			if h(w, r, next) {
				return true
			}
		}
		return false
	})
	p.ground.later(func() {
		p.hooks = nil
		p.registry.SetHook(nil)
	})
}

// agrees checks that both sides agree on every tag again.
func (g *ground) agrees() error {
	code, v := g.verify("strict", "")
	return finding{agree: true}.compare(g, nil, code, v)
}

// finding is what verify has to report about a tamper.
type finding struct {
	tags   map[string][]verify.Class // one of these classes for each of these tags; all other tags agree
	whole  verify.Class              // class of the repository, which then has no tags
	agree  bool                      // the change is harmless
	busy   bool                      // it could not be found out
	flags  []string                  // of the tags
	level  string                    // of the trust policy
	ledger bool                      // also compares with the ledger of the place
	beside verify.Class              // another class of the tags' rows, besides the worst; may be empty
	gone   string                    // a tag that has no row; may be empty
	alien  bool                      // the ledger does not know the repository
}

// compare returns an error unless verify reported exactly this, about that place, and nothing else.
func (f finding) compare(g *ground, where *place, code int, v report.Verification) error {
	want := cli.ExitDisagree
	switch {
	case f.agree:
		want = cli.ExitDone
	case f.busy:
		want = cli.ExitFailures
	}
	if code != want || v.Agree != f.agree || !v.Complete {
		return fmt.Errorf("exit code %d, agree %v, complete %v; want exit code %d", code, v.Agree, v.Complete, want)
	}
	if len(v.Repositories) != len(g.places) {
		return fmt.Errorf("%d repositories", len(v.Repositories))
	}
	for i, p := range g.places {
		expect := finding{alien: f.ledger}
		if p == where {
			expect = f
		}
		if err := expect.rows(p, v.Repositories[i]); err != nil {
			return err
		}
	}
	return nil
}
