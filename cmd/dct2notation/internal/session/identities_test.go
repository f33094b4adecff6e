package session

import (
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/state"
)

// earlierOf returns the ledger's earlier identities of the key with that name, without malformed
// ones. For a signing profile it returns no certificate: the service may sign with it for others.
func TestEarlierIdentitiesOfAKey(t *testing.T) {
	t.Parallel()
	id := func(n string) string { return "certificate:sha256:" + strings.Repeat(n, 64) }
	present, err := notation.ParseIdentity(id("c"))
	must(t, err)
	f := &state.Fingerprint{Signers: map[string]state.Signer{
		"release kms new": {Identity: id("c"), Earlier: []string{id("a"), id("c"), "nonsense"}},
		"release kms old": {Identity: id("b")}, "release2 kms x": {Identity: id("d")},
	}}
	got := earlierOf(f, "release", present)
	slices.Sort(got)
	if want := []string{id("a"), id("b")}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	const profile = "profile:sha256:"
	renews, before := profile+strings.Repeat("e", 64)+":new", profile+strings.Repeat("e", 64)+":old"
	present, err = notation.ParseIdentity(renews)
	must(t, err)
	f.Signers["release kms new"] = state.Signer{Identity: renews, Earlier: []string{id("a"), before}}
	if got, want := earlierOf(f, "release", present), []string{before}; !slices.Equal(got, want) {
		t.Errorf("of a profile: got %v, want %v", got, want)
	}
}
