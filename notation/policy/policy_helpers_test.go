package policy_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/notation/policy"
)

var update = flag.Bool("update", false, "write the golden files")

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// chain reads certificates of testdata/pki, which stay the same so that golden files do.
func chain(t *testing.T, name string) []*x509.Certificate {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "pki", name+".pem"))
	must(t, err)
	var all []*x509.Certificate
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		must(t, err)
		all = append(all, c)
	}
	return all
}

func key(t *testing.T, name string) policy.Key {
	return policy.Key{Name: name, Chain: chain(t, name)}
}

// one is a trust in one key for one repository.
func one(t *testing.T, name string) policy.Trust {
	return policy.Trust{Name: "migrated", Stage: policy.Enforce, Namespace: "apps", Statements: []policy.Statement{{
		Name: "migrated", Repositories: []string{"registry.example.com/team/app"}, Keys: []policy.Key{key(t, name)},
	}}}
}

// rich is a trust with everything: two keys, a time-stamping authority, Docker Hub, DCT beside
// Notation.
func rich(t *testing.T, stage policy.Stage) policy.Trust {
	release, alice := key(t, "release"), key(t, "alice")
	release.TSA, alice.TSA = chain(t, "tsa"), chain(t, "tsa")
	signed := map[string][]string{
		"registry.example.com/team/app":   {"release"},
		"registry.example.com/team/web":   {"release"},
		"docker.io/library/alpine":        {"release"},
		"docker.io/acme/tool":             {"release"},
		"registry.example.com:5000/alice": {"release", "alice"},
	}
	return policy.Trust{
		Name: "migrated", Stage: stage, Namespace: "apps",
		Statements: policy.Group("migrated", signed, map[string][]policy.Key{"release": {release}, "alice": {alice}}),
		Legacy: []policy.Legacy{{Server: "notary.example.com", RootKey: []byte("-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"),
			Repositories: []string{"registry.example.com/team/app", "registry.example.com/team/later"}}},
		Notes: []string{"Pins of DCT that end in * stand for the repositories that are listed here, and for no others."},
	}
}

func refused(t *testing.T, err error, why string) {
	t.Helper()
	var r *policy.Refusal
	if !errors.As(err, &r) || !strings.Contains(err.Error(), why) {
		t.Errorf("got error %v, want a refusal that says %q", err, why)
	}
}
