package e2e

import (
	"crypto"
	"crypto/elliptic"
	"testing"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/softhsmtest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// TestPKCS11EndToEnd signs with keys that never leave a SoftHSM token, through the plugin as the
// real notation command installs it. It shows that notation sign can use the same token.
func TestPKCS11EndToEnd(t *testing.T) {
	t.Parallel()
	notary := startNotary(t, nil)
	registry := startOlareg(t)
	for name, make := range map[string]func(*softhsmtest.Token) (crypto.PublicKey, error){
		"rsa-3072": func(k *softhsmtest.Token) (crypto.PublicKey, error) { return k.GenerateRSA("release", 3072) },
		"ec-256":   func(k *softhsmtest.Token) (crypto.PublicKey, error) { return k.GenerateEC("release", elliptic.P256()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, notary, registry, name)
			token, err := softhsmtest.New(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			public, err := make(token)
			if err != nil {
				t.Fatal(err)
			}
			s.key = s.installPKCS11(t, token, public)
			s.tell(t)
			s.notationSigns(t)
		})
	}
}

// installPKCS11 installs the plugin with the real notation command and returns the flags that name
// the token's key.
func (s *story) installPKCS11(t *testing.T, token *softhsmtest.Token, public crypto.PublicKey) []string {
	t.Helper()
	s.must(t, "notation", "plugin", "install", "--file", program("notation-pkcs11"))
	id, err := s.ca.Issue("release", pki.Public(public))
	if err != nil {
		t.Fatal(err)
	}
	chain, pin := s.path("pkcs11", "chain.pem"), s.path("pkcs11", "pin")
	servertest.WriteFile(t, chain, id.ChainPEM())
	servertest.WriteFile(t, pin, []byte(token.PIN))
	s.extra = token.Env()
	return []string{
		"--plugin", "pkcs11", "--id", "release", "--plugin-config", "module=" + token.Module,
		"--plugin-config", "token=" + token.Label, "--plugin-config", "ca_certs=" + chain, "--plugin-config", "pin_file=" + pin,
	}
}

// notationSigns has the real notation command, with the same flags, sign an image that nobody has
// signed yet.
func (s *story) notationSigns(t *testing.T) {
	t.Helper()
	image := s.reference(s.unsigned)
	s.must(t, "notation", append(append([]string{"sign", "--insecure-registry", "--force-referrers-tag=false"}, s.key...), image)...)
	if r := s.notationVerify(t, image); r.code != 0 {
		t.Errorf("notation, of what it signed itself: got exit code %d, want 0: %s", r.code, r)
	}
}
