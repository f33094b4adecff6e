package session

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/notation/policy"
	"github.com/dct2notation/dct2notation/state"
)

// A policy gets each image's outcome, in the words of package policy, and each signature's signer.
func TestALedgerAsPoliciesReadIt(t *testing.T) {
	t.Parallel()
	l, err := state.Open(filepath.Join(t.TempDir(), "ledger.db"), state.Options{})
	must(t, err)
	defer func() { must(t, l.Close()) }()
	key := func(name string) state.Key {
		return state.Key{Repository: "registry.example.com/" + name, Digest: "sha256:" + strings.Repeat("a", 64), KeyName: "release"}
	}
	signature := "sha256:" + strings.Repeat("5", 64)
	sign := func(k state.Key) {
		must(t, l.Sign(k, state.Envelope{Blob: []byte("b"), MediaType: "application/jose+json", Manifest: []byte("{}"), ManifestDigest: signature, LeafThumbprint: strings.Repeat("1", 64)}))
		must(t, l.Push(k, signature))
		must(t, l.Confirm(k, signature, ""))
	}
	want := map[string]policy.ImageState{}
	for name, c := range map[policy.ImageState]func(state.Key){
		policy.Unfinished: func(state.Key) {},
		policy.Signed:     sign,
		policy.Unsigned:   func(k state.Key) { must(t, l.Skip(k, string(failure.Unsignable), "schema 1")) },
		policy.Gone:       func(k state.Key) { must(t, l.Skip(k, string(failure.Missing), "gone")) },
		policy.Undone:     func(k state.Key) { sign(k); must(t, l.Undo(k, signature, "asked")) },
	} {
		k := key(string(name))
		_, err := l.Plan([]state.Item{{Key: k, GUN: k.Repository}})
		must(t, err)
		c(k)
		want[k.Repository] = name
	}
	_, err = l.Plan([]state.Item{{Key: key("other"), GUN: "registry.example.com/other"}})
	must(t, err)
	r := &Readable{Ledger: l}
	p := r.ForPolicy(func(it state.Item) bool { return it.Repository != "registry.example.com/other" })
	n := 0
	for i, err := range p.Images {
		must(t, err)
		if n++; i.State != want[i.Place] || i.GUN != i.Place || i.Key != "release" {
			t.Errorf("got %+v, want %s", i, want[i.Place])
		}
	}
	if n != len(want) {
		t.Errorf("got %d images, want %d", n, len(want))
	}
	signed := 0
	for s, err := range p.Signatures {
		must(t, err)
		if signed++; s.Key != "release" || s.Digest != signature || s.Leaf != strings.Repeat("1", 64) {
			t.Errorf("got %+v, want the signature with its certificate", s)
		}
	}
	if signed != 2 || p.Recorded != nil {
		t.Errorf("got %d signatures, keys known %t, want 2, and no keys of a ledger that no run was bound to", signed, p.Recorded != nil)
	}
	r.Known = &state.Fingerprint{Signers: map[string]state.Signer{state.KeyID("release", "file"): {Identity: "i", Earlier: []string{"e"}, TSA: "u"}}}
	if got := r.ForPolicy(nil).Recorded("release"); len(got) != 1 || got[0].Identity != "i" || !slices.Equal(got[0].Earlier, []string{"e"}) || got[0].TSA != "u" {
		t.Errorf("got %+v recorded, want the one key", got)
	}
}
