package verify

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/testing/scenetest"
)

func noneSeen(digest.Digest) []Signature { return nil }

// inspect gives a tag the row that verify gives it, whatever its state.
func TestInspectSaysWhatVerifySays(t *testing.T) {
	t.Parallel()
	s := newMulti(t)
	for _, tag := range []string{"both", "moved", "gone", "untrusted", "expired", "unsure", "down", "refused"} {
		s.Must(s.Repo.Sign(tag, s.Put(tag).Encoded(), 100))
	}
	s.Must(s.Repo.Sign("signer-only", s.Put("signer-only").Encoded(), 100, "targets"))
	s.Must(s.Repo.Publish())
	for _, tag := range []string{"outside", "stray", "conflict"} {
		s.Put(tag)
	}
	s.Tagged["moved"] = of("outside")
	s.Tagged["both-moved"] = of("stray")
	delete(s.Tagged, "gone")
	delete(s.Images, of("gone"))
	good := Verdict{Signatures: 1, Trusted: true}
	judge := &countingJudge{asked: map[digest.Digest]int{}, trusts: map[digest.Digest]Verdict{
		of("both"): good, of("stray"): good, s.List.Digest: good, of("plain"): {},
		of("untrusted"): {Signatures: 2, Doubt: Untrusted, Reason: "not ours"}, of("expired"): {Signatures: 1, Trusted: true, Doubt: Expired, Reason: "ended"},
		of("unsure"): {Signatures: 1, Doubt: Unknown, Reason: "revocation"}, of("down"): {Reason: "down"}, of("refused"): {Signatures: 2, Trusted: true, Refused: "entry 1"},
	}}
	v := &Verification{Trust: s.Trust(), Registry: s, Judge: described{judge}, Workers: 1, AllTags: true}
	guns := s.GUNs(scenetest.App)
	classes := map[Class]bool{}
	s.Must(v.Verify(context.Background(), guns, func(r Repository) error {
		for _, row := range r.Tags {
			classes[row.Class] = true
			got, err := v.Inspect(context.Background(), guns[0], row.Tag, "", noneSeen)
			s.Must(err)
			if !reflect.DeepEqual(got.Row, row) {
				t.Errorf("%s: got\n%+v, want verify's\n%+v", row.Tag, got.Row, row)
			}
		}
		return nil
	}))
	if len(classes) < 8 {
		t.Errorf("got the classes %v, want most of them", classes)
	}
}

// A digest is in the class of a tag that points to it. If trust data cannot be read, everything is
// unknown, or refused.
func TestInspectOfDigests(t *testing.T) {
	t.Parallel()
	s := newMulti(t)
	s.Put("stray")
	s.Put("none")
	good := Verdict{Signatures: 1, Trusted: true}
	judge := &countingJudge{asked: map[digest.Digest]int{}, trusts: map[digest.Digest]Verdict{
		of("plain"): good, of("stray"): good,
		s.AMD64.Digest: {Signatures: 1, Trusted: true, Signed: []map[string]string{{"io.dct2notation.gun": scenetest.App, "io.dct2notation.index": s.List.Digest.String()}}},
		s.ARM64.Digest: {Reason: "down"},
	}}
	v := &Verification{Trust: s.Trust(), Registry: s, Judge: described{judge}, Workers: 1}
	guns := s.GUNs(scenetest.App, "registry.example.com/team/none", "registry.example.com/team/unpinned")
	s.Publish(guns[2].String(), "u1")
	unpinned := *v
	delete(s.Pins.Certs, guns[2].String())
	unpinned.Trust = s.Trust()
	for name, c := range map[string]struct {
		of   *Verification
		gun  dct.GUN
		d    digest.Digest
		want Class
		dct  Side
	}{
		"vouched for, signed":            {v, guns[0], of("plain"), Agree, SideTrusts},
		"vouched for, not signed":        {v, guns[0], s.List.Digest, DCTOnly, SideTrusts},
		"listed by an index":             {v, guns[0], s.AMD64.Digest, Agree, SideTrusts},
		"only Notation's":                {v, guns[0], of("stray"), NotationOnly, SideRefuses},
		"nobody's":                       {v, guns[0], of("none"), NoneSigned, SideRefuses},
		"not there":                      {v, guns[0], of("never"), Gone, SideRefuses},
		"nobody knows":                   {v, guns[0], s.ARM64.Digest, Unknown, SideRefuses},
		"no trust data":                  {v, guns[1], of("stray"), NotationOnly, SideRefuses},
		"trust data that cannot be read": {&unpinned, guns[2], of("plain"), Unknown, SideUnknown},
	} {
		got, err := c.of.Inspect(context.Background(), c.gun, "v1", c.d, noneSeen)
		if err != nil || got.Row.Class != c.want || got.DCT.Says != c.dct || got.Tag != "" || len(got.Images) != 1 {
			t.Errorf("%s: got %v, %+v, want %s, DCT %s, one image", name, err, got, c.want, c.dct)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := v.Inspect(ctx, guns[0], "v1", "", noneSeen); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
