package migrate

import (
	"errors"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
)

// Promise 6: what could not be found out is unknown, for a tag that was moved and for one
// that DCT does not trust as well.
func TestVerifyDoesNotTakeUnknownForUntrusted(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r, err := s.notary.NewRepository(app)
	s.must(err)
	s.must(r.AddSigner("alice"))
	s.must(r.Sign("signer", s.put("signer").Encoded(), 100, "targets/alice"))
	s.must(r.Sign("moved", s.put("moved").Encoded(), 100))
	s.must(r.Sign("a/b", s.put("a/b").Encoded(), 100))
	s.must(r.Publish())
	s.pins.Certs[app] = r.RootKeyIDs()
	s.tags["moved"] = s.put("elsewhere")
	asked := false
	s.fault["tag"] = func(d digest.Digest) (bool, error) {
		asked = asked || d == digest.FromString("image a/b")
		return true, nil
	}
	busy := func() (Verdict, error) { return Verdict{}, failure.New(failure.Throttled, errors.New("429")) }
	got, err := s.verify(verdicts{digest.FromString("image signer"): busy, digest.FromString("image elsewhere"): busy}, app)
	s.must(err)
	for _, row := range got[app].Tags {
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
	s.publish(app, "v1", "v2")
	good := func() (Verdict, error) { return Verdict{Signatures: 1, Trusted: true}, nil }
	judge := verdicts{digest.FromString("image v1"): good, digest.FromString("image v2"): good}
	got, err := s.verify(judge, app)
	s.must(err)
	if r := got[app]; r.Reason != "" || r.Totals[Unknown] != 0 || r.Totals[Agree] != 2 {
		t.Fatalf("got %+v, want two tags that agree", r)
	}
	s.hidden = map[string]bool{"v2": true}
	got, err = s.verify(judge, app)
	s.must(err)
	if r := got[app]; r.Reason == "" || r.Totals[Unknown] != 1 || r.Totals[Agree] != 2 {
		t.Errorf("got %+v, want the rest of the tags unknown", r)
	}
}

// A root that nothing vouches for is a disagreement, and no repository read at all is an
// error of the call.
func TestVerifyWithoutPins(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.publish(app, "v1")
	s.pins = dct.Pins{}
	got, err := s.verify(verdicts{}, app)
	if !errors.Is(err, ErrNothingRead) || got[app].Class != Untrusted {
		t.Errorf("error %v, result %+v", err, got[app])
	}
}
