package snapshot

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/dct"
)

// Each repository is signed once, however often it is saved, until its content changes.
func TestEachManifestIsSignedOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers, nested)
	dir := t.TempDir()
	n := &notary{key: "a", at: time.Now()}
	if sum := s.sign(t, dir, n); sum.Signed != 3 || sum.SignedBefore != 0 || sum.Unsigned != 0 || len(n.signed) != 3 {
		t.Errorf("got %+v, signed %v, want 3 signed", sum, n.signed)
	}
	before := tree(t, dir)
	if sum := s.sign(t, dir, n); sum.Signed != 0 || sum.SignedBefore != 3 || len(n.signed) != 3 {
		t.Errorf("again: got %+v, signed %v, want none signed, 3 before", sum, n.signed)
	}
	if d := differ(before, tree(t, dir)); len(d) != 0 {
		t.Errorf("again: got changes in %v, want none", d)
	}
	must(t, s.repos[plain].Sign("v9", sha("9"), 9))
	must(t, s.repos[plain].Publish())
	if sum := s.sign(t, dir, n); sum.Signed != 1 || sum.SignedBefore != 2 || n.signed[3] != plain {
		t.Errorf("after a change: got %+v, signed %v, want %s signed, 2 before", sum, n.signed, plain)
	}
	other := &notary{key: "b", at: time.Now()}
	if sum := s.sign(t, dir, other); sum.Signed != 3 {
		t.Errorf("by another key: got %+v, want 3 signed", sum)
	}
	saved := opened(t, dir)
	for _, g := range saved.GUNs() {
		if saved.Signatures(g) != 2 {
			t.Errorf("%s: got %d signatures, want one of each key", g, saved.Signatures(g))
		}
	}
	s.same(t, saved)
}

// A repository that was not verified in this call is not signed, even if it is in the snapshot.
func TestOnlyWhatWasVerifiedNowIsSigned(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers)
	dir := t.TempDir()
	s.save(t, dir)
	s.refuse(signers)
	n := &notary{key: "a"}
	if sum := s.sign(t, dir, n); sum.Kept != 1 || sum.Signed != 1 || !slices.Equal(n.signed, []string{plain}) {
		t.Errorf("got %+v, signed %v, want 1 kept, only %s signed", sum, n.signed, plain)
	}
	if opened(t, dir).Signatures(gun(t, signers)) != 0 {
		t.Error("what was kept: got signatures, want none")
	}
}

// What others wrote into a manifest is not signed: the manifest is made anew.
func TestForeignManifestIsNotSigned(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain)
	dir := t.TempDir()
	o := atNoon()
	o.Server = func(string) string { return "https://liar.example.com" }
	_, err := Save(t.Context(), dir, s.reader(), s.guns(t), o)
	must(t, err)
	before, _ := opened(t, dir).Manifest(gun(t, plain))
	n := &notary{key: "a"}
	n.attest = func(v Verified) error {
		raw, err := os.ReadFile(filepath.Join(dir, blobName(v.Manifest().Digest)))
		if err == nil && (v.Manifest().Digest == before.Digest || strings.Contains(string(raw), "liar")) {
			t.Error("what was found: got it signed, want it replaced first")
		}
		return err
	}
	if sum := s.sign(t, dir, n); sum.Signed != 1 || sum.Changed != 1 {
		t.Errorf("got %+v, want 1 signed, 1 changed", sum)
	}
}

// A failing key leaves the trust data saved, and says which repository is not signed.
func TestFailingKeyLeavesTheSnapshotWhole(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers)
	dir := t.TempDir()
	n := &notary{key: "a", attest: func(v Verified) error {
		if v.GUN().String() == plain {
			return errKey
		}
		return nil
	}}
	sum := s.sign(t, dir, n)
	if sum.Added != 2 || sum.Signed != 1 || sum.Unsigned != 1 || len(sum.Attention) != 1 || !errors.Is(sum.Attention[0].Unsigned, errKey) || sum.Attention[0].GUN.String() != plain {
		t.Errorf("got %+v, want 2 added, 1 signed, and %s unsigned with %v", sum, plain, errKey)
	}
	s.same(t, opened(t, dir))
	n.attest = nil
	if sum := s.sign(t, dir, n); sum.Signed != 1 || sum.SignedBefore != 1 {
		t.Errorf("again: got %+v, want 1 signed, 1 before", sum)
	}
}

// A signer that signs something else has signed nothing.
func TestWhatTheSignerMakesIsChecked(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain)
	for name, harm := range map[string]func(*Signature){
		"another envelope": func(sig *Signature) { sig.Envelope = append(sig.Envelope, ' ') },
		"no signature":     func(sig *Signature) { sig.Manifest = []byte("{}") },
		"another subject": func(sig *Signature) {
			sig.Manifest = []byte(strings.Replace(string(sig.Manifest), `"size":`, `"size":1`, 3))
		},
	} {
		dir := t.TempDir()
		o := atNoon()
		o.Signer = harming{&notary{key: "a"}, harm}
		sum, err := Save(t.Context(), dir, s.reader(), s.guns(t), o)
		must(t, err)
		if sum.Unsigned != 1 || opened(t, dir).Signatures(gun(t, plain)) != 0 {
			t.Errorf("%s: got %+v, want 1 unsigned", name, sum)
		}
		s.same(t, opened(t, dir))
	}
}

// Promise 3: if a run is killed after it used the key, the next run lists what was signed. If it
// is killed before the signature was on the disk, one key operation is lost.
func TestKilledWhileSigning(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers, nested)
	dir := t.TempDir()
	n := &notary{key: "a", at: time.Now()}
	kill := errors.New("killed")
	n.attest = func(Verified) error {
		if len(n.signed) == 2 {
			panic(kill)
		}
		return nil
	}
	func() {
		defer func() {
			if r, _ := recover().(error); !errors.Is(r, kill) {
				t.Fatalf("got %v recovered, want %v", r, kill)
			}
		}()
		s.sign(t, dir, n)
	}()
	for _, g := range opened(t, dir).GUNs() {
		if opened(t, dir).Signatures(g) != 0 {
			t.Fatal("got a kill that came too late, want no signatures yet")
		}
	}
	s.same(t, opened(t, dir))
	n.attest = nil
	if sum := s.sign(t, dir, n); sum.Signed != 1 || sum.SignedBefore != 2 || len(n.signed) != 3 {
		t.Errorf("got %+v, signed %v, want 1 signed, 2 before", sum, n.signed)
	}
	for _, g := range opened(t, dir).GUNs() {
		if got := opened(t, dir).Signatures(g); got != 1 {
			t.Errorf("%s: got %d signatures, want 1", g, got)
		}
	}
	want := tree(t, dir)
	s.sign(t, dir, n)
	if d := differ(want, tree(t, dir)); len(d) != 0 {
		t.Errorf("got %v left behind, want nothing", d)
	}
}

func TestZeroVerifiedIsOfNothing(t *testing.T) {
	t.Parallel()
	var v Verified
	if v.GUN() != (dct.GUN{}) || v.Manifest().Digest != "" || v.Expired() != nil {
		t.Errorf("got %+v, want the zero value", v)
	}
}
