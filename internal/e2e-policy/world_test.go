package e2epolicy

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notaryproject/notation-core-go/signature/jws"
	notationgo "github.com/notaryproject/notation-go"
	notationregistry "github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/signer"
	"github.com/notaryproject/tspclient-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/servertest"
	"github.com/dct2notation/dct2notation/internal/testing/tsatest"
)

// verdict is what a consumer must say about an image under the migration's files.
type verdict string

const (
	passes verdict = "pass"
	fails  verdict = "fail"
)

// image is an image of the world, with its origin and the expected verdicts.
type image struct {
	repository, tag string
	signer          string // of DCT; empty: whoever has the key of targets
	why             string
	want            verdict
	descriptor      ocispec.Descriptor
}

// migrated are the images that DCT vouches for. strange are the others: unsigned, or signed outside
// the migration.
var (
	migrated = []image{
		{repository: "team/app", tag: "v1", why: "migrated", want: passes},
		{repository: "team/app", tag: "list", why: "migrated, for several platforms", want: passes},
		{repository: "team/app", tag: "both", why: "migrated, and signed by a foreign key before", want: passes},
		{repository: "team/web", tag: "v1", why: "migrated, in COSE", want: passes},
		{repository: "team/two", tag: "v1", why: "migrated with the key of releases alone", want: passes},
		{repository: "team/two", tag: "alices", signer: "alice", why: "migrated with the keys of releases and of a signer", want: passes},
	}
	strange = []image{
		{repository: "team/app", tag: "unsigned", why: "unsigned", want: fails},
		{repository: "team/app", tag: "foreign", why: "signed under the same name by another authority", want: fails},
		{repository: "team/app", tag: "identity", why: "signed under another name by the same authority", want: fails},
		{repository: "team/app", tag: "signer", why: "signed by a key that is good for another repository", want: fails},
		{repository: "team/two", tag: "alone", why: "signed by the signer's key alone", want: passes},
		{repository: "team/two", tag: "sibling", why: "signed by neither key of its repository, under the same authority", want: fails},
	}
)

// world is a registry after a migration, and the folder with what dct2notation policy wrote.
type world struct {
	*registry
	dir    string
	notary *notarytest.Server
	tsa    *tsatest.TSA // nil: no signature has a timestamp
	// ours signs releases, and alice what that DCT signer has signed.
	ours, alice *pki.Identity
	// sibling has the same authority as ours and another name. stranger has the same name and
	// another authority.
	sibling, stranger *pki.Identity
	images            []image
	// elsewhere is signed by our key in a repository that nobody has migrated. unstamped is signed
	// by our key without a timestamp. Consumers differ about these.
	elsewhere, unstamped image
}

// newWorld migrates and writes the policies. If stamped, signatures have timestamps.
func newWorld(t testing.TB, kind string, stamped bool) *world {
	t.Helper()
	w := &world{
		registry: startRegistry(t, kind), dir: t.TempDir(),
		elsewhere: image{repository: "team/other", tag: "v1", why: "signed by our key in a repository that was not migrated"},
		unstamped: image{repository: "team/app", tag: "unstamped", why: "signed by our key without a timestamp"},
	}
	var err error
	w.notary, err = notarytest.Start(notarytest.Options{TLS: true})
	must(t, err)
	t.Cleanup(w.notary.Close)
	if stamped {
		w.tsa, err = tsatest.Start()
		must(t, err)
		t.Cleanup(w.tsa.Close)
		servertest.WriteFile(t, w.path("tsa.pem"), w.tsa.RootPEM())
	}
	authority, other := newAuthority(t), newAuthority(t)
	w.ours, w.alice = issue(t, authority, "release"), issue(t, authority, "alice")
	w.sibling, w.stranger = issue(t, authority, "sibling"), issue(t, other, "release")
	w.pushImages(t)
	w.configure(t)
	w.migrate(t)
	return w
}

func newAuthority(t testing.TB) *pki.Identity {
	t.Helper()
	a, err := pki.NewAuthority("e2e-policy")
	must(t, err)
	return a
}

func issue(t testing.TB, by *pki.Identity, name string) *pki.Identity {
	t.Helper()
	id, err := by.Issue(name, nil)
	must(t, err)
	return id
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// pushImages stores all images, has DCT vouch for those to be migrated, and makes the signatures of
// others.
func (w *world) pushImages(t testing.TB) {
	t.Helper()
	guns := map[string]*notarytest.Repository{}
	for _, i := range migrated {
		i.descriptor = w.pushTagged(t, i.repository, i.tag, i.tag == "list")
		name := w.host + "/" + i.repository
		if guns[name] == nil {
			gun, err := w.notary.NewRepository(name)
			must(t, err)
			guns[name] = gun
			if i.repository == "team/two" {
				must(t, gun.AddSigner("alice"))
			}
		}
		var roles []string // docker's roles
		if i.repository == "team/two" {
			roles = []string{"targets/releases"}
		}
		if i.signer != "" {
			roles = append(roles, "targets/"+i.signer)
		}
		must(t, guns[name].Sign(i.tag, i.descriptor.Digest.Encoded(), i.descriptor.Size, roles...))
		w.images = append(w.images, i)
		if i.tag == "both" {
			w.sign(t, w.stranger, i, w.tsa)
		}
	}
	var pins []string
	for name, gun := range guns {
		must(t, gun.Publish())
		pins = append(pins, fmt.Sprintf("%q: [%q]", name, gun.RootKeyIDs()[0]))
	}
	servertest.WriteFile(t, w.path("pins.json"), []byte(`{"trust_pinning": {"certs": {`+strings.Join(pins, ", ")+`}}}`))
	for _, i := range strange {
		i.descriptor = w.pushTagged(t, i.repository, i.tag, false)
		switch i.tag {
		case "foreign":
			w.sign(t, w.stranger, i, w.tsa)
		case "identity", "sibling":
			w.sign(t, w.sibling, i, w.tsa)
		case "signer", "alone":
			w.sign(t, w.alice, i, w.tsa)
		}
		w.images = append(w.images, i)
	}
	for _, i := range []*image{&w.elsewhere, &w.unstamped} {
		i.descriptor = w.pushTagged(t, i.repository, i.tag, false)
		w.sign(t, w.ours, *i, nil)
	}
}

// sign signs with only notation's own library. by is the signer; tsa, if not nil, adds a timestamp.
func (w *world) sign(t testing.TB, by *pki.Identity, i image, tsa *tsatest.TSA) {
	t.Helper()
	s, err := signer.NewGenericSigner(by.Key, by.Chain)
	must(t, err)
	options := notationgo.SignerSignOptions{SignatureMediaType: jws.MediaTypeEnvelope}
	if tsa != nil {
		options.Timestamper, err = tspclient.NewHTTPTimestamper(nil, tsa.URL())
		must(t, err)
		options.TSARootCAs = x509.NewCertPool()
		options.TSARootCAs.AddCert(tsa.Root())
	}
	_, err = notationgo.Sign(t.Context(), s, notationregistry.NewRepository(w.repository(t, i.repository)), notationgo.SignOptions{
		SignerSignOptions: options,
		ArtifactReference: w.host + "/" + i.repository + "@" + i.descriptor.Digest.String(),
	})
	must(t, err)
}

func (w *world) configure(t testing.TB) {
	t.Helper()
	_, err := plugin.build()
	must(t, err)
	must(t, os.MkdirAll(w.path("kms"), 0o700))
	keys := map[string]pki.Files{}
	for name, id := range map[string]*pki.Identity{"release": w.ours, "alice": w.alice} {
		keys[name], err = id.Save(w.path("kms"), name)
		must(t, err)
	}
	installed, err := kmstest.Install(w.path("libexec"), kmstest.Behaviour{Keys: keys})
	must(t, err)
	servertest.WriteFile(t, w.path("ca.pem"), append(w.notary.CAPEM(), read(t, w.tls.CAFile)...))
	servertest.WriteFile(t, w.path("config.yaml"), fmt.Appendf(nil, `version: 1
notary-server: %s
trust-pinning: pins.json
ca-file: ca.pem
state: ledger.db
keys:
  - {plugin: kmstest, id: release, roles: [targets, targets/releases], plugin-config: {behaviour: %[2]q}}
  - {plugin: kmstest, id: alice, roles: [targets/alice], repositories: ["%[3]s/team/two"], plugin-config: {behaviour: %[2]q}}
`, w.notary.URL(), installed.Config()[kmstest.ConfigKey], w.host))
}

// migrate runs what docs/howto/migrate.md says, up to the policies of both stages.
func (w *world) migrate(t testing.TB) {
	t.Helper()
	var stamp, root []string
	if w.tsa != nil {
		root = []string{"--timestamp-root-cert", "tsa.pem"}
		stamp = append([]string{"--timestamp-url", w.tsa.URL()}, root...)
	}
	for repository, format := range map[string]string{"team/app": "jws", "team/web": "cose", "team/two": "jws"} {
		w.dct2notation(t, append([]string{"run", "--config", "config.yaml", "--signature-format", format, w.host + "/" + repository}, stamp...)...)
	}
	keys := append([]string{"--ledger", "ledger.db", "--certificate", "kmstest/release=kms/release.crt", "--certificate", "kmstest/alice=kms/alice.crt"}, root...)
	for _, stage := range []string{"audit", "enforce"} {
		for _, consumer := range []string{"ratify", "kyverno"} {
			w.dct2notation(t, append([]string{"policy", consumer, "-O", stage + "/" + consumer, "--stage", stage}, keys...)...)
		}
	}
	w.dct2notation(t, append([]string{"policy", "kyverno", "--cluster-policy", "-O", "cluster-policy", "--stage", "enforce"}, keys...)...)
}

func (w *world) dct2notation(t testing.TB, args ...string) {
	t.Helper()
	c := dct2notation.command(t, args...)
	c.Dir = w.dir
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "TMPDIR=" + os.TempDir(),
		"NOTATION_LIBEXEC=" + w.path("libexec"), "NOTATION_CONFIG=" + w.path("notation"), "DOCKER_CONFIG=" + w.path("docker")}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("dct2notation %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// consumerEnv returns a consumer's environment, which knows the registry's authority and nothing of
// this machine.
func (w *world) consumerEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "TMPDIR=" + os.TempDir(), "SSL_CERT_FILE=" + w.tls.CAFile, "DOCKER_CONFIG=" + w.path("docker")}
}

// judged is an image with the verdict expected from a consumer.
func (i image) judged(want verdict) image {
	i.want = want
	return i
}

// reference names an image by its tag or by its digest.
func (w *world) reference(i image, byDigest bool) string {
	if byDigest {
		return w.host + "/" + i.repository + "@" + i.descriptor.Digest.String()
	}
	return w.host + "/" + i.repository + ":" + i.tag
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	must(t, err)
	return raw
}
