package e2e

import (
	"encoding/asn1"
	"slices"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/servertest"
	"github.com/dct2notation/dct2notation/internal/testing/tsatest"
)

// TestNotationAcceptsOneIdentity has policy write for keys that renew their certificates. The real
// notation command judges by it signatures of the identity, of a neighbour, and of one whom only we
// distinguish from the identity.
func TestNotationAcceptsOneIdentity(t *testing.T) {
	t.Parallel()
	notary := startNotary(t, nil)
	r := startOlareg(t)
	t.Run("subject", func(t *testing.T) {
		t.Parallel()
		w := newRenewing(t, notary, r, "subject")
		w.install(t, kmstest.Behaviour{Rolling: w.rolling(mine)}, "release", "alice")
		w.key = append(w.plugin("release"), w.subject("release", mine.String())...)
		w.useWrittenPolicy(t)
		// Notation does not compare extended key usages. It accepts a signature that is not the
		// identity's, and run signs the image all the same.
		w.change(t, kmstest.Behaviour{Rolling: w.rolling(theirs)})
		w.signs(t, "release", w.v1)
		w.judges(t, w.v1, true)
		w.change(t, kmstest.Behaviour{Rolling: w.rolling(mine)})
		w.signs(t, "alice", w.unsigned)
		w.tell(t)
	})
	t.Run("profile", func(t *testing.T) {
		t.Parallel()
		w := newRenewing(t, notary, r, "profile")
		const profile = "arn:aws:signer:eu-west-1:111122223333:/signing-profiles/"
		b := kmstest.AWSSigner(nil)
		b.Rolling = w.rolling()
		w.install(t, b, profile+"release", profile+"neighbour")
		w.key = append(w.plugin(profile+"release"), "--identity", "profile", "--key-root", w.root)
		w.useWrittenPolicy(t)
		w.signs(t, profile+"neighbour", w.unsigned)
		w.tell(t)
	})
}

// Extended key usages of two customers of one service.
var mine, theirs = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 97, 1, 1}, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 97, 2, 2}

// renewing is a story with keys that renew their certificates for each signature.
type renewing struct {
	*story
	kms          *kmstest.Plugin
	keys         map[string]pki.Files
	tsa          []string // flags
	root         string   // file with the root
	authority    pki.Files
	pluginConfig []string // flags
}

func newRenewing(t *testing.T, notary *notaryServer, r *registry, name string) *renewing {
	t.Helper()
	w := &renewing{story: newStory(t, notary, r, name), keys: map[string]pki.Files{}}
	w.root, w.authority, w.tsa = renewal(t, w.home, w.ca)
	return w
}

// renewal returns what is needed to renew certificates, and starts a time-stamping authority.
func renewal(t *testing.T, h *home, ca *pki.Identity) (root string, authority pki.Files, tsaFlags []string) {
	t.Helper()
	tsa, err := tsatest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tsa.Close)
	root = h.path("root.pem")
	servertest.WriteFile(t, root, ca.CertificatePEM())
	servertest.WriteFile(t, h.path("tsa.pem"), tsa.RootPEM())
	return root, saveKey(t, h.path("kms"), "authority", ca), []string{"--timestamp-url", tsa.URL(), "--timestamp-root-cert", h.path("tsa.pem")}
}

func (w *renewing) rolling(ekus ...asn1.ObjectIdentifier) *kmstest.Rolling {
	return &kmstest.Rolling{Authority: w.authority, Signatures: 1, EKUs: ekus}
}

func (w *renewing) install(t *testing.T, b kmstest.Behaviour, keys ...string) {
	t.Helper()
	for i, name := range keys {
		w.keys[name] = saveKey(t, w.home.path("kms"), string(rune('a'+i)), issue(t, w.ca, [...]string{"release", "alice"}[i], pki.EC256))
	}
	b.Keys = w.keys
	var err error
	if w.kms, err = kmstest.Install(w.libexec(), b); err != nil {
		t.Fatal(err)
	}
	for k, v := range w.kms.Config() {
		w.pluginConfig = append(w.pluginConfig, "--plugin-config", k+"="+v)
	}
}

func (w *renewing) change(t *testing.T, b kmstest.Behaviour) {
	t.Helper()
	b.Keys = w.keys
	if err := w.kms.Set(b); err != nil {
		t.Fatal(err)
	}
}

func (w *renewing) plugin(id string) []string {
	return append([]string{"--plugin", kmstest.Name, "--id", id}, w.pluginConfig...)
}

func (w *renewing) subject(name string, eku string) []string {
	return append(subjectFlags(w.root, name, w.tsa), "--key-eku", eku)
}

// subjectFlags are the flags for the identity of a subject that package pki issues.
func subjectFlags(root, name string, tsa []string) []string {
	return append([]string{"--identity", "subject", "--key-root", root, "--key-subject", "C=US, ST=WA, O=dct2notation test, CN=" + name}, tsa...)
}

// useWrittenPolicy makes notation use the policy that policy writes for the identity.
func (w *renewing) useWrittenPolicy(t *testing.T) {
	t.Helper()
	folder := w.home.path("policy")
	w.exits(t, 3, "policy", "notation", "-O", folder, "--stage", "enforce", w.gun) // nothing shows yet that the key signed
	w.extra = append(w.extra, "NOTATION_CONFIG="+folder)
}

// signs has the real notation command sign with a key of the plugin.
func (w *renewing) signs(t *testing.T, id string, image ocispec.Descriptor) {
	t.Helper()
	flags := w.plugin(id)
	if w.kms != nil && slices.Contains(w.key, "subject") {
		flags = append(flags, w.tsa...)
	}
	w.notationHome().must(t, "notation", slices.Concat([]string{"sign", "--force-referrers-tag=false"}, w.registry.notationFlags(), flags, []string{w.reference(image)})...)
}

// judges fails the test unless notation verify accepts the image, or refuses its signatures, as
// wanted.
func (w *renewing) judges(t *testing.T, image ocispec.Descriptor, accepts bool) {
	t.Helper()
	if !accepts {
		w.refused(t, image, w.pluginConfig...)
		return
	}
	if r := w.notationVerify(t, w.reference(image), w.pluginConfig...); r.code != 0 {
		t.Errorf("notation: got exit code %d, want 0: %s", r.code, r)
	}
}

// tell runs the migration. Before that, a neighbour has signed the image unsigned, and somebody
// whose signatures do not count has signed v1 and v2.
func (w *renewing) tell(t *testing.T) {
	t.Helper()
	w.judges(t, w.v2, false)
	for run, want := range []int{2, 0} {
		if got := w.runCounts(t, w.gun); got["signed"] != want {
			t.Errorf("run %d: got %v, want %d signed", run+1, got, want)
		}
	}
	w.judges(t, w.v1, true)
	w.judges(t, w.v2, true)
	if n := w.signatures(t, w.reference(w.unsigned)); n != 1 {
		t.Fatalf("the neighbour's image: got %d signatures, want one", n)
	}
	w.judges(t, w.unsigned, false)
}
