package e2e

import (
	"fmt"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// TestNotationAcceptsOurSignatures has the real notation verify judge what was migrated, for both
// kinds of envelope, key and registry. Each case is a story: before the run, the run, and the
// verdict of both tools afterwards.
func TestNotationAcceptsOurSignatures(t *testing.T) {
	t.Parallel()
	notary := startNotary(t, nil)
	for kind, startRegistry := range registryKinds {
		registry := startRegistry(t)
		for _, format := range []string{"jws", "cose"} {
			for _, algorithm := range []pki.Algorithm{pki.RSA2048, pki.RSA3072, pki.EC256, pki.EC384} {
				name := strings.ToLower(fmt.Sprintf("%s-%s", format, algorithm))
				t.Run(kind+"/"+name, func(t *testing.T) {
					t.Parallel()
					s := newStory(t, notary, registry, name)
					id := issue(t, s.ca, "release", algorithm)
					s.addKey(t, "release", id)
					s.key = []string{"--key", "release", "--signature-format", format}
					s.tell(t)
				})
			}
		}
		t.Run(kind+"/plugin", func(t *testing.T) {
			t.Parallel()
			s := newStory(t, notary, registry, "plugin")
			_, s.key = installKMS(t, s.home, issue(t, s.ca, "release", pki.RSA3072), kmstest.Behaviour{})
			s.tell(t)
		})
	}
}

// story is one migration of a repository. DCT vouches for two of its tags, v1 and v2. It does not
// know two images: one without a signature, and one signed by a stranger, who has also signed v2.
type story struct {
	migration
	ca                          *pki.Identity
	gun                         string
	v1, v2, unsigned, strangers ocispec.Descriptor
}

func newStory(t *testing.T, notary *notaryServer, r *registry, name string) *story {
	t.Helper()
	s := &story{migration: migration{home: newHome(t), registry: r, notary: notary}, gun: r.host + "/" + name}
	s.ca = newAuthority(t, "ours")
	s.trust(t, s.ca)
	s.v1, s.v2 = r.push(t, name, "one", "v1"), r.push(t, name, "two", "v2")
	s.unsigned, s.strangers = r.push(t, name, "three", "unsigned"), r.push(t, name, "four", "strangers")
	p := notary.init(t, s.gun)
	p.addSigner("alice")
	p.sign("v1", s.v1, "targets/alice", "targets/releases")
	p.sign("v2", s.v2)
	s.pins = pinFile(t, p)
	return s
}

func (s *story) tell(t *testing.T) {
	s.strangerSigns(t, s.v2, s.strangers)
	s.verify(t, 4, s.gun, map[string]class{"v1": {"dct-only", false}, "v2": {"untrusted", false}})

	if got := s.runCounts(t, s.gun); got["signed"] != 2 {
		t.Errorf("run: got %v, want 2 signed", got)
	}
	s.accepted(t, s.v1, "v1", "targets/releases")
	s.accepted(t, s.v2, "v2", "targets")
	s.refused(t, s.v1, "-m", "io.dct2notation.tag.v2=targets")
	s.refused(t, s.v2, "-m", "io.dct2notation.tag.v2=targets/releases")
	s.refused(t, s.unsigned)
	s.refused(t, s.strangers)
	for image, want := range map[*ocispec.Descriptor]int{&s.v1: 1, &s.v2: 2, &s.unsigned: 0, &s.strangers: 1} {
		if got := s.signatures(t, s.reference(*image)); got != want {
			t.Errorf("notation inspect, %s: got %d signatures, want %d", image.Digest, got, want)
		}
	}
	s.verify(t, 0, s.gun, map[string]class{"v1": {"agree", true}, "v2": {"agree", true}})
}

// strangerSigns signs with the real notation command and a key of another authority.
func (s *story) strangerSigns(t *testing.T, images ...ocispec.Descriptor) {
	t.Helper()
	h := newHome(t)
	h.addKey(t, "theirs", issue(t, newAuthority(t, "a stranger"), "theirs", pki.EC256))
	for _, image := range images {
		h.must(t, "notation", "sign", "--insecure-registry", "--force-referrers-tag=false", s.reference(image))
	}
}

func (s *story) reference(image ocispec.Descriptor) string {
	return s.gun + "@" + image.Digest.String()
}

// accepted fails the test unless notation verify accepts the image, both alone and bound to its tag
// as in DCT.
func (s *story) accepted(t *testing.T, image ocispec.Descriptor, tag, role string) {
	t.Helper()
	for _, more := range [][]string{nil, {"-m", "io.dct2notation.tag." + tag + "=" + role}} {
		if r := s.notationVerify(t, s.reference(image), more...); r.code != 0 {
			t.Errorf("notation: got exit code %d, want 0: %s", r.code, r)
		}
	}
}

// refused fails the test if notation verify accepts the image, or fails for any reason other than
// the signatures.
func (s *story) refused(t *testing.T, image ocispec.Descriptor, more ...string) {
	t.Helper()
	r := s.notationVerify(t, s.reference(image), more...)
	if r.code == 0 {
		t.Errorf("notation: got exit code 0, want it refused: %s", r)
	}
	if !strings.Contains(r.stderr, "signature verification failed") {
		t.Errorf("notation: got another failure, want \"signature verification failed\": %s", r)
	}
}

// TestVerifyAcceptsNotationsSignatures shows that it does not matter who migrated: a signature by
// the real notation command counts as well, although it binds no tag.
func TestVerifyAcceptsNotationsSignatures(t *testing.T) {
	t.Parallel()
	notary := startNotary(t, nil)
	for kind, startRegistry := range registryKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, notary, startRegistry(t), "app")
			s.addKey(t, "release", issue(t, s.ca, "release", pki.EC256))
			for image, format := range map[*ocispec.Descriptor]string{&s.v1: "jws", &s.v2: "cose"} {
				s.must(t, "notation", "sign", "--insecure-registry", "--force-referrers-tag=false", "--signature-format", format, s.reference(*image))
			}
			s.verify(t, 0, s.gun, map[string]class{"v1": {"agree", false}, "v2": {"agree", false}})
		})
	}
}
