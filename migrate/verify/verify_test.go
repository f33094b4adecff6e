package verify

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/scenetest"
	"github.com/dct2notation/dct2notation/migrate"
)

// verdicts judges by what a test says of each image; it says unsigned of the others.
type verdicts map[digest.Digest]func() (Verdict, error)

func (v verdicts) Judge(_ context.Context, image migrate.Image) (Verdict, error) {
	if f, ok := v[image.Descriptor.Digest]; ok {
		return f()
	}
	return Verdict{}, nil
}

// verify compares the repositories as a person would ask for it.
func (s *scene) verify(judge verdicts, names ...string) (map[string]Repository, error) {
	s.T.Helper()
	v := &Verification{Trust: s.Trust(), Registry: s, Judge: judge, Workers: 4}
	got := map[string]Repository{}
	err := v.Verify(context.Background(), s.GUNs(names...), func(r Repository) error {
		got[r.GUN] = r
		return nil
	})
	return got, err
}

// Promise 6: what both sides say is compared. Each case is one tag whose two sides differ
// in one way.
func TestVerifyComparesBothSides(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	tags := []string{"agree", "unbound", "dctonly", "untrusted", "expired", "moved", "moved-signed", "conflict", "gone", "untagged", "tag-unknown", "sig-unknown", "audited", "unsure", "undoubted"}
	s.Publish(scenetest.App, tags...)
	of := func(tag string) digest.Digest { return digest.FromString("image " + tag) }
	say := func(v Verdict, err error) func() (Verdict, error) { return func() (Verdict, error) { return v, err } }
	good := func(tag string) func() (Verdict, error) {
		return say(Verdict{Signatures: 1, Trusted: true, Signed: []map[string]string{{migrate.MetadataGUN: scenetest.App, migrate.MetadataTag + tag: "targets"}}}, nil)
	}
	elsewhere := digest.FromString("elsewhere")
	signedElsewhere := digest.FromString("signed elsewhere")
	for _, d := range []digest.Digest{elsewhere, signedElsewhere} {
		s.Images[d] = ocispec.Descriptor{Digest: d, Size: 1}
	}
	s.Tagged["moved"], s.Tagged["moved-signed"], s.Tagged["conflict"] = elsewhere, elsewhere, signedElsewhere
	delete(s.Images, of("gone"))
	delete(s.Tagged, "gone")
	delete(s.Tagged, "untagged")
	s.Faults["tag"] = func(d digest.Digest) (bool, error) {
		if d == of("tag-unknown") {
			return false, failure.New(failure.Throttled, errors.New("429"))
		}
		return true, nil
	}
	got, err := s.verify(verdicts{
		of("agree"): good("agree"), of("unbound"): good("other"), of("moved-signed"): good("moved-signed"),
		of("conflict"): good("conflict"), of("untagged"): good("untagged"), of("tag-unknown"): good("tag-unknown"),
		signedElsewhere:   good("conflict"),
		of("untrusted"):   say(Verdict{Signatures: 1, Doubt: Untrusted, Reason: "foreign"}, nil),
		of("expired"):     say(Verdict{Signatures: 1, Trusted: true, Doubt: Expired, Reason: "certificate"}, nil),
		of("audited"):     say(Verdict{Signatures: 1, Trusted: true, Doubt: Untrusted, Reason: "by a lenient policy only"}, nil),
		of("unsure"):      say(Verdict{Signatures: 1, Trusted: true, Doubt: Unknown, Reason: "revoked or not"}, nil),
		of("undoubted"):   say(Verdict{Signatures: 1, Reason: "not said"}, nil),
		of("sig-unknown"): say(Verdict{}, failure.New(failure.Throttled, errors.New("429"))),
	}, scenetest.App)
	s.Must(err)
	want := map[string]Class{
		"agree": Agree, "unbound": Agree, "dctonly": DCTOnly, "untrusted": Untrusted, "expired": Expired,
		"moved": Moved, "moved-signed": Moved, "conflict": Conflict, "gone": Gone, "untagged": Gone,
		"tag-unknown": Unknown, "sig-unknown": Unknown, "audited": Untrusted, "unsure": Unknown, "undoubted": Untrusted,
	}
	for _, row := range got[scenetest.App].Tags {
		if slices.Contains(row.Flags, FlagUnbound) != (row.Tag == "unbound") {
			t.Errorf("%s has flags %v", row.Tag, row.Flags)
		}
		if row.Class != want[row.Tag] {
			t.Errorf("%s is %s (%s), want %s", row.Tag, row.Class, row.Reason, want[row.Tag])
		}
		if row.Bound != (row.Tag == "agree" || row.Tag == "moved-signed" || row.Tag == "conflict" || row.Tag == "untagged" || row.Tag == "tag-unknown") && row.Tag != "tag-unknown" {
			t.Errorf("%s: bound %t", row.Tag, row.Bound)
		}
		if row.Class != Agree && row.Reason == "" {
			t.Errorf("%s is %s without a reason", row.Tag, row.Class)
		}
	}
	if len(got[scenetest.App].Tags) != len(want) || got[scenetest.App].Totals[Agree] != 2 {
		t.Errorf("%d rows, totals %v", len(got[scenetest.App].Tags), got[scenetest.App].Totals)
	}
}

// A tag that DCT does not trust is in order as long as Notation does not either.
func TestVerifyOfTagsThatDCTDoesNotTrust(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r, err := s.Notary.NewRepository(scenetest.App)
	s.Must(err)
	s.Must(r.AddSigner("alice"))
	for _, tag := range []string{"quiet", "loud"} {
		s.Must(r.Sign(tag, s.Put(tag).Encoded(), 100, "targets/alice"))
	}
	s.Must(r.Publish())
	s.Pins.Certs[scenetest.App] = r.RootKeyIDs()
	got, err := s.verify(verdicts{digest.FromString("image loud"): func() (Verdict, error) {
		return Verdict{Signatures: 1, Trusted: true}, nil
	}}, scenetest.App)
	s.Must(err)
	if totals := got[scenetest.App].Totals; totals[NoneSigned] != 1 || totals[NotationOnly] != 1 {
		t.Errorf("totals %v", totals)
	}
}

// migrate.Trust data that cannot be read is never in agreement.
func TestVerifyOfUnreadableTrustData(t *testing.T) {
	t.Parallel()
	const expired, tampered, unsigned = "registry.example.com/expired", "registry.example.com/tampered", "registry.example.com/unsigned"
	s := newScene(t)
	for gun, harm := range map[string]func(*notarytest.Repository) error{
		expired:       func(r *notarytest.Repository) error { return r.Expire("targets") },
		tampered:      func(r *notarytest.Repository) error { return r.BadSignature("targets") },
		scenetest.App: func(*notarytest.Repository) error { return nil },
	} {
		s.Must(harm(s.Publish(gun, "v1")))
	}
	got, err := s.verify(nil, expired, tampered, unsigned, scenetest.App)
	s.Must(err)
	for gun, want := range map[string]Class{expired: Expired, tampered: Untrusted, unsigned: Unknown, scenetest.App: ""} {
		if r := got[gun]; r.Class != want || want != "" && (r.Class.Agrees() || len(r.Tags) != 0 || r.Reason == "") {
			t.Errorf("%s: %+v", gun, r)
		}
	}
}

// A tag that was revoked in DCT and is still trusted by Notation is found, also where DCT
// names no tag at all any more; other tags are none of the migration's.
func TestVerifyFindsWhatDCTRevoked(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := s.Publish(scenetest.App, "revoked")
	s.Must(r.Remove("revoked"))
	s.Must(r.Publish())
	s.Put("nobodys")
	trusted := verdicts{digest.FromString("image revoked"): func() (Verdict, error) { return Verdict{Signatures: 1, Trusted: true}, nil }}
	got, err := s.verify(trusted, scenetest.App)
	s.Must(err)
	if rows := got[scenetest.App].Tags; len(rows) != 1 || rows[0].Tag != "revoked" || rows[0].Class != NotationOnly || got[scenetest.App].Totals[NotationOnly] != 1 {
		t.Errorf("%+v", got[scenetest.App])
	}
	// A registry that does not list its tags leaves that unknown.
	s.Faults["tags"] = func(digest.Digest) (bool, error) { return false, failure.New(failure.Denied, errors.New("403")) }
	got, err = s.verify(trusted, scenetest.App)
	s.Must(err)
	if got[scenetest.App].Totals[Unknown] != 1 || got[scenetest.App].Reason == "" {
		t.Errorf("%+v", got[scenetest.App])
	}
}

// A tag named as a list of signatures is left out if it holds one, and only then: an image under
// such a name runs as any other, and one that cannot be looked at is unknown.
func TestImageUnderTheNameOfAListIsCompared(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(scenetest.App, "v1")
	list, image := "sha256-"+of("v1").Encoded(), "sha256-"+digest.FromString("x").Encoded()
	s.Put(image)
	s.Tagged[list] = ""
	judge := trusted("v1", image)
	results, err := s.verify(judge, scenetest.App)
	s.Must(err)
	got := map[string]Class{}
	for _, row := range results[scenetest.App].Tags {
		got[row.Tag] = row.Class
	}
	if len(got) != 2 || got["v1"] != Agree || got[image] != NotationOnly {
		t.Errorf("got %v, want v1 %s and %s %s", got, Agree, image, NotationOnly)
	}
	s.BreakFor("list", image, false, failure.New(failure.Permanent, errors.New("404")))
	results, err = s.verify(judge, scenetest.App)
	s.Must(err)
	if got := results[scenetest.App].Totals[Unknown]; got != 1 {
		t.Errorf("%d unknown rows, want 1: %+v", got, results[scenetest.App].Tags)
	}
}
