package e2e

import (
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

func newAuthority(t testing.TB, name string) *pki.Identity {
	t.Helper()
	ca, err := pki.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t testing.TB, ca *pki.Identity, name string, algorithm pki.Algorithm) *pki.Identity {
	t.Helper()
	key, err := pki.NewKey(name, algorithm)
	if err != nil {
		t.Fatal(err)
	}
	id, err := ca.Issue(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// installKMS installs the kmstest plugin with one key and returns the flags that name it.
func installKMS(t testing.TB, h *home, id *pki.Identity, b kmstest.Behaviour) (*kmstest.Plugin, []string) {
	t.Helper()
	b.Keys = map[string]pki.Files{"release": saveKey(t, h.path("kms"), "release", id)}
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
