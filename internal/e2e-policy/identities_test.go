package e2epolicy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/servertest"
	"github.com/dct2notation/dct2notation/internal/testing/tsatest"
)

// Two keys of a service sign an image each: the one whose identity is in the policies, and its
// neighbour.
var (
	ofKey       = image{repository: "team/app", tag: "release", why: "signed by the key"}
	ofNeighbour = image{repository: "team/app", tag: "neighbour", why: "signed by its neighbour"}
	ofNobody    = image{repository: "team/app", tag: "unsigned", why: "unsigned"}
)

// newIdentities migrates with keys that renew their certificates, each with the configuration of
// its name. identity is the part of the configuration that says whose signatures are a key's, with
// %s for its name.
func newIdentities(t *testing.T, b kmstest.Behaviour, identity string) *world {
	t.Helper()
	w := &world{registry: startRegistry(t, "olareg"), dir: t.TempDir()}
	var err error
	w.notary, err = notarytest.Start(notarytest.Options{TLS: true})
	must(t, err)
	t.Cleanup(w.notary.Close)
	w.tsa, err = tsatest.Start()
	must(t, err)
	t.Cleanup(w.tsa.Close)
	servertest.WriteFile(t, w.path("tsa.pem"), w.tsa.RootPEM())
	gun, err := w.notary.NewRepository(w.host + "/team/app")
	must(t, err)
	for _, i := range []image{ofKey, ofNeighbour, ofNobody} {
		i.descriptor = w.pushTagged(t, i.repository, i.tag, false)
		if i.tag != ofNobody.tag {
			must(t, gun.Sign(i.tag, i.descriptor.Digest.Encoded(), i.descriptor.Size))
		}
		w.images = append(w.images, i)
	}
	must(t, gun.Publish())
	servertest.WriteFile(t, w.path("pins.json"), fmt.Appendf(nil, `{"trust_pinning": {"certs": {%q: [%q]}}}`, gun.GUN(), gun.RootKeyIDs()[0]))

	authority := newAuthority(t)
	servertest.WriteFile(t, w.path("root.pem"), authority.CertificatePEM())
	must(t, os.MkdirAll(w.path("kms"), 0o700))
	saved, err := authority.Save(w.path("kms"), "authority")
	must(t, err)
	b.Rolling, b.Keys = &kmstest.Rolling{Authority: saved, Signatures: 1}, map[string]pki.Files{}
	for _, name := range []string{ofKey.tag, ofNeighbour.tag} {
		files, err := issue(t, authority, name).Save(w.path("kms"), name)
		must(t, err)
		b.Keys[name], b.Keys[profile+name] = files, files
	}
	_, err = plugin.build()
	must(t, err)
	installed, err := kmstest.Install(w.path("libexec"), b)
	must(t, err)
	servertest.WriteFile(t, w.path("ca.pem"), append(w.notary.CAPEM(), read(t, w.tls.CAFile)...))
	for _, name := range []string{ofKey.tag, ofNeighbour.tag} {
		servertest.WriteFile(t, w.path(name+".yaml"), fmt.Appendf(nil, `version: 1
notary-server: %s
trust-pinning: pins.json
ca-file: ca.pem
state: %s.db
plugin: kmstest
plugin-config: {behaviour: %q}
key-root: root.pem
%s`, w.notary.URL(), name, installed.Config()[kmstest.ConfigKey], strings.NewReplacer("NAME", name, "TSA", w.tsa.URL()).Replace(identity)))
		w.dct2notation(t, "run", "--config", name+".yaml", "--include-tags", name, gun.GUN())
	}
	return w
}

const profile = "arn:aws:signer:eu-west-1:111122223333:/signing-profiles/"

// judgedAs returns the images with the expected verdicts.
func (w *world) judgedAs(key, neighbour verdict) []image {
	return []image{w.images[0].judged(key), w.images[1].judged(neighbour), w.images[2].judged(fails)}
}

// Ratify judges signing profiles with their verification plugin, and accepts nothing without it.
func TestRatifyJudgesProfiles(t *testing.T) {
	t.Parallel()
	w := newIdentities(t, kmstest.Behaviour{
		Capability: kmstest.MANAGED, SigningAuthority: true,
		Attributes: map[string]string{kmstest.VerificationPlugin: "kmstest", kmstest.SigningProfileVersion: "{id}/v1"},
	}, "identity: profile\nid: "+profile+"NAME\n")
	w.dct2notation(t, "policy", "ratify", "-O", "policy", "--config", "release.yaml", "--ledger", "release.db", "--stage", "enforce")
	config := w.ratifyConfig(t, w.path("policy/ratify.yaml"))
	for _, i := range w.judgedAs(fails, fails) {
		w.ratifyJudgesImage(t, config, i, w.reference(i, true))
	}
	var with map[string]map[string]any
	must(t, json.Unmarshal(read(t, config), &with))
	with["verifier"]["pluginBinDirs"] = []string{w.path("libexec/plugins/kmstest")}
	raw, err := json.Marshal(with)
	must(t, err)
	config = filepath.Join(w.dir, "with-plugin.json")
	servertest.WriteFile(t, config, raw)
	for _, i := range w.judgedAs(passes, fails) {
		w.ratifyJudgesImage(t, config, i, w.reference(i, true))
	}
}

// Ratify distinguishes a subject from its neighbour under the same root. Kyverno does not compare
// subjects, so the neighbour passes, as the file says of an authority that issues to more than the
// key.
func TestConsumersJudgeSubjects(t *testing.T) {
	t.Parallel()
	w := newIdentities(t, kmstest.Behaviour{}, `identity: subject
id: NAME
key-subject: C=US, ST=WA, O=dct2notation test, CN=NAME
timestamp-url: TSA
timestamp-root-cert: tsa.pem
`)
	args := []string{"--config", "release.yaml", "--ledger", "release.db", "--stage", "enforce"}
	w.dct2notation(t, append([]string{"policy", "ratify", "-O", "ratify"}, args...)...)
	config := w.ratifyConfig(t, w.path("ratify/ratify.yaml"))
	for _, i := range w.judgedAs(passes, fails) {
		w.ratifyJudgesImage(t, config, i, w.reference(i, true))
	}
	w.dct2notation(t, append([]string{"policy", "kyverno", "-O", "kyverno", "--dedicated-ca", "kmstest/release"}, args...)...)
	if head := string(read(t, w.path("kyverno/kyverno.yaml"))); !strings.Contains(head, "dedicated-ca means") {
		t.Errorf("got a file that does not say what its authority lets pass, want it said:\n%.2000s", head)
	}
	var pods []map[string]any
	images := w.judgedAs(passes, passes)
	for _, i := range images {
		pods = append(pods, map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": i.tag, "namespace": "apps"},
			"spec": containers("containers", w.reference(i, true))})
	}
	found := w.kyvernoSays(t, "kyverno", pods)
	for _, i := range images {
		if got := found[i.tag]; got.Result != string(i.want) {
			t.Errorf("%s: Kyverno says %q, want %q: %s", i.why, got.Result, i.want, got.Message)
		}
	}
}
