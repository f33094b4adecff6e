package e2e

import (
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

func newAuthority(t testing.TB, name string) *kmstest.Authority {
	t.Helper()
	ca, err := kmstest.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t testing.TB, ca *kmstest.Authority, name string, algorithm kmstest.Algorithm) *kmstest.Identity {
	t.Helper()
	id, err := ca.Issue(name, algorithm, kmstest.IssueOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// installKMS installs the kmstest plugin with one key and returns what names it on a
// command line.
func installKMS(t testing.TB, h *home, id *kmstest.Identity, b kmstest.Behaviour) (*kmstest.Plugin, []string) {
	t.Helper()
	b.Keys = map[string]kmstest.Key{"release": saveKey(t, h.path("kms"), "release", id)}
	p, err := kmstest.Install(h.libexec(), b)
	if err != nil {
		t.Fatal(err)
	}
	flags := []string{"--plugin", kmstest.Name, "--id", "release"}
	for k, v := range p.Config() {
		flags = append(flags, "--plugin-config", k+"="+v)
	}
	return p, flags
}
