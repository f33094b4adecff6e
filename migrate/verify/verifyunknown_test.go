package verify

import (
	"errors"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/scenetest"
)

// Promise 6: what could not be found out is unknown, for a tag that was moved and for one
// that DCT does not trust as well.
func TestVerifyDoesNotTakeUnknownForUntrusted(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r, err := s.Notary.NewRepository(scenetest.App)
	s.Must(err)
	s.Must(r.AddSigner("alice"))
	s.Must(r.Sign("signer", s.Put("signer").Encoded(), 100, "targets/alice"))
	s.Must(r.Sign("moved", s.Put("moved").Encoded(), 100))
	s.Must(r.Sign("a/b", s.Put("a/b").Encoded(), 100))
	s.Must(r.Publish())
	s.Pins.Certs[scenetest.App] = r.RootKeyIDs()
	s.Tagged["moved"] = s.Put("elsewhere")
	asked := false
	s.Faults["tag"] = func(d digest.Digest) (bool, error) {
		asked = asked || d == digest.FromString("image a/b")
		return true, nil
	}
	busy := func() (Verdict, error) { return Verdict{}, failure.New(failure.Throttled, errors.New("429")) }
	got, err := s.verify(verdicts{digest.FromString("image signer"): busy, digest.FromString("image elsewhere"): busy}, scenetest.App)
	s.Must(err)
	for _, row := range got[scenetest.App].Tags {
		want := Unknown
		if row.Tag == "a/b" {
			want = NoneSigned
		}
		if !slices.Contains(row.Classes, want) || row.Reason == "" {
			t.Errorf("%s is %v (%s), want %s", row.Tag, row.Classes, row.Reason, want)
		}
	}
	if asked {
		t.Error("the registry was asked for a tag that is none")
	}
}

// A list of tags without one that is there is a proxy's, or was cut: nobody knows what else it lacks,
// such as a tag that DCT has revoked and Notation trusts.
func TestListThatLacksATagThatIsThereLeavesStraysUnknown(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(scenetest.App, "v1", "v2")
	good := func() (Verdict, error) { return Verdict{Signatures: 1, Trusted: true}, nil }
	judge := verdicts{digest.FromString("image v1"): good, digest.FromString("image v2"): good}
	got, err := s.verify(judge, scenetest.App)
	s.Must(err)
	if r := got[scenetest.App]; r.Reason != "" || r.Totals[Unknown] != 0 || r.Totals[Agree] != 2 {
		t.Fatalf("got %+v, want two tags that agree", r)
	}
	s.Hidden = map[string]bool{"v2": true}
	got, err = s.verify(judge, scenetest.App)
	s.Must(err)
	if r := got[scenetest.App]; r.Reason == "" || r.Totals[Unknown] != 1 || r.Totals[Agree] != 2 {
		t.Errorf("got %+v, want the rest of the tags unknown", r)
	}
}

// A root that nothing vouches for is a disagreement, and no repository read at all is an
// error of the call.
func TestVerifyWithoutPins(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(scenetest.App, "v1")
	s.Pins = dct.Pins{}
	got, err := s.verify(verdicts{}, scenetest.App)
	if !errors.Is(err, dct.ErrNothingRead) || got[scenetest.App].Class != Untrusted {
		t.Errorf("error %v, result %+v", err, got[scenetest.App])
	}
}
