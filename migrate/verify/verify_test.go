package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/scenetest"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/state"
)

// verdicts returns the verdict that a test sets for an image, and unsigned for all others.
type verdicts map[digest.Digest]func() (Verdict, error)

func (v verdicts) Judge(_ context.Context, image migrate.Image) (Verdict, error) {
	if f, ok := v[image.Descriptor.Digest]; ok {
		return f()
	}
	return Verdict{}, nil
}

// verify compares the repositories.
func (s *scene) verify(judge verdicts, names ...string) (map[string]Repository, error) {
	s.T.Helper()
	v := &Verification{Trust: s.Trust(), Registry: s, Judge: described{judge}, Workers: 4}
	got := map[string]Repository{}
	err := v.Verify(context.Background(), s.GUNs(names...), func(r Repository) error {
		got[r.GUN] = r
		return nil
	})
	return got, err
}

// Promise 6: both sides are compared. Each case is one tag whose two sides differ in one way.
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
			t.Errorf("%s: got flags %v, want %s in them: %t", row.Tag, row.Flags, FlagUnbound, row.Tag == "unbound")
		}
		if row.Class != want[row.Tag] {
			t.Errorf("%s: got %s (%s), want %s", row.Tag, row.Class, row.Reason, want[row.Tag])
		}
		if row.Bound != (row.Tag == "agree" || row.Tag == "moved-signed" || row.Tag == "conflict" || row.Tag == "untagged" || row.Tag == "tag-unknown") && row.Tag != "tag-unknown" {
			t.Errorf("%s: got bound %t, want %t", row.Tag, row.Bound, !row.Bound)
		}
		if row.Class != Agree && row.Reason == "" {
			t.Errorf("%s: got %s without a reason, want one", row.Tag, row.Class)
		}
	}
	if len(got[scenetest.App].Tags) != len(want) || got[scenetest.App].Totals[Agree] != 2 {
		t.Errorf("got %d rows, totals %v, want %d, 2 %s", len(got[scenetest.App].Tags), got[scenetest.App].Totals, len(want), Agree)
	}
}

// A tag that DCT does not trust is in order as long as Notation does not trust it either.
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
		t.Errorf("got totals %v, want 1 %s, 1 %s", totals, NoneSigned, NotationOnly)
	}
}

// Trust data that cannot be read never agrees.
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
			t.Errorf("%s: got %+v, want class %q, and with one no tags and a reason", gun, r, want)
		}
	}
}

// A tag that was revoked in DCT and is still trusted by Notation is found, even if DCT names no
// tags any more. Other tags do not concern the migration.
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
		t.Errorf("got %+v, want one row, revoked, %s", got[scenetest.App], NotationOnly)
	}
	// If a registry does not list its tags, the result is unknown.
	s.Faults["tags"] = func(digest.Digest) (bool, error) { return false, failure.New(failure.Denied, errors.New("403")) }
	got, err = s.verify(trusted, scenetest.App)
	s.Must(err)
	if got[scenetest.App].Totals[Unknown] != 1 || got[scenetest.App].Reason == "" {
		t.Errorf("tags that are not listed: got %+v, want 1 %s and a reason", got[scenetest.App], Unknown)
	}
}

// A tag whose name is that of a signature list is left out only if it holds one. An image under
// such a name can be run like any other. If the tag cannot be looked up, it is unknown.
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
		t.Errorf("got %d unknown rows, want 1: %+v", got, results[scenetest.App].Tags)
	}
}

// remembering verifies the repository against what the scene's ledger remembers.
func (s *scene) remembering(judge verdicts) (got Repository) {
	s.T.Helper()
	l, err := state.Open(s.ledger, state.Options{ReadOnly: true})
	s.Must(err)
	defer func() { s.Must(l.Close()) }()
	v := &Verification{Trust: s.Trust(), Registry: s, Judge: described{judge}, Workers: 4, Before: l.Repository}
	// The ledger records it under its name in DCT, wherever the images are.
	v.Scope.Place = func(dct.GUN) string { return "registry.example.com/mirror/app" }
	err = v.Verify(context.Background(), s.GUNs(scenetest.App), func(r Repository) error {
		got = r
		return nil
	})
	if (got.Class != "") != errors.Is(err, dct.ErrNothingRead) { // it is the only repository
		s.T.Errorf("got %s, and the error %v, want %v only with a class", got.Class, err, dct.ErrNothingRead)
	}
	return got
}

// served returns the files that the Notary server has for the repository now.
func (s *scene) served() map[string]notarytest.Version {
	files := map[string]notarytest.Version{}
	for _, role := range s.Notary.Roles(scenetest.App) {
		history := s.Notary.History(scenetest.App, role)
		files[role] = history[len(history)-1]
	}
	return files
}

// trusted returns a judge that trusts these tags' images.
func trusted(tags ...string) verdicts {
	judge := verdicts{}
	for _, tag := range tags {
		judge[digest.FromString("image "+tag)] = func() (Verdict, error) { return Verdict{Signatures: 1, Trusted: true}, nil }
	}
	return judge
}

// A Notary server that was rolled back vouches again for what was revoked, with valid signatures.
// Only the versions that runs have seen reveal it.
func TestRolledBackTrustDataNeverAgrees(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	judge := trusted("kept", "revoked")
	r := s.Publish(scenetest.App, "kept", "revoked")
	before := s.served()
	s.Must(r.Remove("revoked"))
	s.Must(r.Publish())
	s.run(scenetest.App)
	if got := s.remembering(judge); got.Totals[Agree] != 1 || got.Totals[NotationOnly] != 1 {
		t.Errorf("as the run has seen it: got %+v, want 1 %s, 1 %s", got, Agree, NotationOnly)
	}
	for role, f := range before {
		s.Notary.Put(scenetest.App, role, f.Number, f.Raw)
	}
	if got := s.comparing(judge, func(*Verification) {}); got.Class != "" || got.Totals[Agree] != 2 {
		t.Errorf("without a ledger: got %+v, want 2 %s", got, Agree)
	}
	got := s.remembering(judge)
	if got.Class != Untrusted || len(got.Tags) != 0 || !strings.Contains(got.Reason, "is lower than current version") {
		t.Errorf("rolled back: got %+v, want %s for its lower version, and no tags", got, Untrusted)
	}
}

// Trust data newer than the run's is compared as usual.
func TestNewerTrustDataThanTheRunsIsCompared(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := s.Publish(scenetest.App, "v1")
	s.run(scenetest.App)
	s.Must(r.Sign("v2", s.Put("v2").Encoded(), 100))
	s.Must(r.Publish())
	if got := s.remembering(trusted("v1", "v2")); got.Class != "" || got.Totals[Agree] != 2 {
		t.Errorf("got %+v, want 2 %s", got, Agree)
	}
}

// If no pin is configured, only the root that a run has trusted is accepted, as in a run.
func TestAnotherRootThanTheRunsIsRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(scenetest.App, "v1")
	s.Pins = dct.Pins{TOFU: true}
	s.run(scenetest.App)
	s.Pins = dct.Pins{}
	if got := s.remembering(trusted("v1")); got.PinnedBy != dct.PinnedEarlier || got.Totals[Agree] != 1 {
		t.Errorf("the same root: got %+v, want it pinned by %v, 1 %s", got, dct.PinnedEarlier, Agree)
	}
	s.Notary.Delete(scenetest.App)
	again, err := s.Notary.NewRepository(scenetest.App)
	s.Must(err)
	s.Must(again.Sign("v1", s.Put("v1").Encoded(), 100))
	s.Must(again.Publish())
	s.Pins = dct.Pins{TOFU: true}
	if got := s.comparing(trusted("v1"), func(*Verification) {}); got.Totals[Agree] != 1 {
		t.Errorf("without a ledger: got %+v, want 1 %s", got, Agree)
	}
	if got := s.remembering(trusted("v1")); got.Class != Untrusted || len(got.Tags) != 0 {
		t.Errorf("another root: got %+v, want %s and no tags", got, Untrusted)
	}
}

// A ledger that cannot be read is not treated as an empty one.
func TestWhatRunsHaveSeenMustBeReadable(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(scenetest.App, "v1")
	damaged := func(string) (state.Repository, bool, error) { return state.Repository{}, false, errors.New("damaged") }
	v := &Verification{Trust: s.Trust(), Registry: s, Judge: described{trusted("v1")}, Workers: 1, Before: damaged}
	err := v.Verify(context.Background(), s.GUNs(scenetest.App), func(r Repository) error {
		t.Errorf("compared: got %+v, want none", r)
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), scenetest.App) {
		t.Errorf("got error %v, want damaged, of %s", err, scenetest.App)
	}
}

// comparing verifies one repository with a changed Verification.
func (s *scene) comparing(judge verdicts, change func(*Verification)) Repository {
	s.T.Helper()
	v := &Verification{Trust: s.Trust(), Registry: s, Judge: described{judge}, Workers: 4}
	change(v)
	var got Repository
	s.Must(v.Verify(context.Background(), s.GUNs(scenetest.App), func(r Repository) error {
		got = r
		return nil
	}))
	return got
}

func names(r Repository) []string {
	var tags []string
	for _, row := range r.Tags {
		tags = append(tags, row.Tag)
	}
	return tags
}

// A sample reports how much it left out, and can be drawn again.
func TestSampleIsDrawnBySeed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var tags []string
	for i := range 30 {
		tags = append(tags, fmt.Sprintf("v%02d", i))
	}
	s.Publish(scenetest.App, tags...)
	s.Put("nobodys")
	draw := func(n int, seed string) Repository {
		return s.comparing(nil, func(v *Verification) { v.Sample, v.Seed, v.AllTags = n, seed, true })
	}
	first, again, other := draw(10, "a"), draw(10, "a"), draw(10, "b")
	if len(first.Tags) != 10 || first.LeftOut != 21 || !slices.Equal(names(first), names(again)) || slices.Equal(names(first), names(other)) {
		t.Errorf("got %v with %d left out, again %v, with another seed %v, want 10 with 21 left out, the same again, others", names(first), first.LeftOut, names(again), names(other))
	}
	if all := draw(31, "a"); len(all.Tags) != 31 || all.LeftOut != 0 {
		t.Errorf("31 of 31: got %d with %d left out, want 31 with 0", len(all.Tags), all.LeftOut)
	}
	if all := draw(0, ""); len(all.Tags) != 31 || all.LeftOut != 0 {
		t.Errorf("all: got %d with %d left out, want 31 with 0", len(all.Tags), all.LeftOut)
	}
}

// A tag of one platform agrees only if this is requested, its signature names an index that DCT
// vouches for, and the bytes of that index list the image.
func TestTagOfAPlatform(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	m.Tagged["v1-amd64"] = m.AMD64.Digest
	signed := func(gun string, index digest.Digest) verdicts {
		return verdicts{m.AMD64.Digest: func() (Verdict, error) {
			return Verdict{Signatures: 1, Trusted: true, Signed: []map[string]string{{migrate.MetadataGUN: gun, migrate.MetadataIndex: index.String()}}}, nil
		}}
	}
	other := m.Index(m.AMD64)
	elsewhere := m.Put("elsewhere")
	for name, c := range map[string]struct {
		judge verdicts
		all   bool
		now   digest.Digest
		class Class
		flag  bool
	}{
		"wanted":                          {signed(scenetest.App, m.List.Digest), true, m.AMD64.Digest, Agree, true},
		"not wanted":                      {signed(scenetest.App, m.List.Digest), false, m.AMD64.Digest, NotationOnly, true},
		"an index that DCT does not name": {signed(scenetest.App, other.Digest), true, m.AMD64.Digest, NotationOnly, false},
		"another repository":              {signed("registry.example.com/other", m.List.Digest), true, m.AMD64.Digest, NotationOnly, false},
		"not listed":                      {verdicts{elsewhere: signed(scenetest.App, m.List.Digest)[m.AMD64.Digest]}, true, elsewhere, NotationOnly, false},
	} {
		m.Tagged["v1-amd64"] = c.now
		got := m.comparing(c.judge, func(v *Verification) { v.AllPlatforms = c.all })
		i := slices.Index(names(got), "v1-amd64")
		if i < 0 || got.Tags[i].Class != c.class || slices.Contains(got.Tags[i].Flags, FlagPlatform) != c.flag {
			t.Errorf("%s: got %+v, want v1-amd64 %s, %s %t", name, got.Tags, c.class, FlagPlatform, c.flag)
		}
	}
}

// The ledger makes no class better. With it, verify finds what is gone, what others signed and what
// DCT has withdrawn.
func TestLedgerIsComparedOnTop(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := s.Publish(scenetest.App, "kept", "gone", "crowded", "withdrawn", "tagged", "removed", "moved")
	for _, tag := range []string{"withdrawn", "tagged", "removed"} {
		s.Must(r.Remove(tag))
	}
	s.Must(r.Publish())
	of := func(tag string) digest.Digest { return digest.FromString("image " + tag) }
	delete(s.Images, of("removed"))
	delete(s.Tagged, "removed")
	delete(s.Tagged, "withdrawn") // its image is still there, by digest
	s.Tagged["moved"], s.Tagged["copy"] = of("kept"), of("crowded")
	say := func(listed ...string) func() (Verdict, error) {
		return func() (Verdict, error) {
			return Verdict{Signatures: len(listed), Listed: listed, Trusted: len(listed) > 0}, nil
		}
	}
	item := func(tag string, stage state.Stage) state.Item {
		return state.Item{
			Key: state.Key{Repository: scenetest.App, Digest: of(tag).String(), KeyName: "release"}, GUN: scenetest.App,
			Stage: stage, Signature: "ours-" + tag, Tags: []state.Tag{{Name: tag}},
		}
	}
	judge := verdicts{of("kept"): say("ours-kept"), of("crowded"): say("ours-crowded", "theirs"), of("withdrawn"): say("ours-withdrawn"), of("tagged"): say("ours-tagged")}
	items := []state.Item{
		item("kept", state.Confirmed), item("gone", state.Pushed), item("crowded", state.Confirmed), item("withdrawn", state.Confirmed),
		item("tagged", state.Confirmed), item("removed", state.Confirmed), item("planned", state.Planned),
		item("moved", state.Confirmed), // its signature is gone; that of the image which the tag has now is there
	}
	got := s.comparing(judge, func(v *Verification) {
		v.Record = recordOf(t, items...)
	})
	want := map[string]struct {
		class Class
		flag  string
	}{"kept": {Agree, ""}, "gone": {DCTOnly, FlagGone}, "crowded": {Agree, FlagForeign}, "": {NotationOnly, FlagWithdrawn}, "tagged": {NotationOnly, FlagWithdrawn}, "moved": {Conflict, FlagGone}, "copy": {NotationOnly, ""}}
	for _, row := range got.Tags {
		w, ok := want[row.Tag]
		flags := strings.Join(slices.DeleteFunc(row.Flags, func(f string) bool { return f == FlagUnbound }), " ")
		if !ok || row.Class != w.class || flags != w.flag || strings.Contains(row.Reason, "undo removes") != (w.flag == FlagWithdrawn) {
			t.Errorf("%s: got %+v, want %s, flag %q", row.Tag, row, w.class, w.flag)
		}
	}
	if len(got.Tags) != len(want) || got.Totals[NotationOnly] != 3 {
		t.Errorf("got %d rows, totals %v, want %d, 3 %s", len(got.Tags), got.Totals, len(want), NotationOnly)
	}
	record := recordOf(t, items...)
	record.page = func(state.Key, int) ([]state.Item, error) { return nil, errors.New("damaged") }
	v := &Verification{Trust: s.Trust(), Registry: s, Judge: described{judge}, Workers: 4, Record: record}
	if err := v.Verify(context.Background(), s.GUNs(scenetest.App), func(Repository) error { return nil }); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a ledger that cannot be read: got %v, want damaged", err)
	}
}

// recordOf returns the record of a ledger with these items, read in pages of two.
func recordOf(t *testing.T, items ...state.Item) *Record {
	t.Helper()
	place := func(k state.Key) string { return k.Repository + "\x00" + k.Digest + "\x00" + k.KeyName }
	items = slices.SortedFunc(slices.Values(items), func(a, b state.Item) int { return strings.Compare(place(a.Key), place(b.Key)) })
	r, err := ReadRecord(func(after state.Key, _ int) ([]state.Item, error) {
		i, found := slices.BinarySearchFunc(items, place(after), func(it state.Item, k string) int { return strings.Compare(place(it.Key), k) })
		if found {
			i++
		}
		return items[i:min(i+2, len(items))], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// signedItem returns an item of a GUN that was signed at a location, under a tag.
func signedItem(gun, place string, d digest.Digest, tag string) state.Item {
	return state.Item{
		Key: state.Key{Repository: place, Digest: d.String(), KeyName: "release"}, GUN: gun,
		Stage: state.Confirmed, Signature: "ours", Tags: []state.Tag{{Name: tag}},
	}
}

// What runs have signed is compared wherever it was, even if DCT has nothing of the repository any
// more: its images may keep their signatures.
func TestSignedImagesAreComparedWithoutTrustData(t *testing.T) {
	t.Parallel()
	const deleted, before = "registry.example.com/team/deleted", "old.example.com/team/app"
	v1, gone := of("v1"), of("withdrawn")
	trusted := saying(Verdict{Signatures: 1, Trusted: true})
	failed := func() (Verdict, error) { return Verdict{}, failure.New(failure.Throttled, errors.New("429")) }
	for name, c := range map[string]struct {
		item   state.Item
		judge  func() (Verdict, error)
		tag    string // the selected tag; empty: all are selected
		want   Class
		reason string
	}{
		"deleted as a whole":                {signedItem(deleted, deleted, gone, "v9"), trusted, "", NotationOnly, "does not vouch"},
		"deleted, and its signatures too":   {signedItem(deleted, deleted, gone, "v9"), saying(Verdict{}), "", "", ""},
		"deleted, and nobody knows":         {signedItem(deleted, deleted, gone, "v9"), failed, "", Unknown, "429"},
		"deleted, from another place":       {signedItem(deleted, before, gone, "v9"), trusted, "", NotationOnly, "in " + before},
		"deleted, and another tag is meant": {signedItem(deleted, deleted, gone, "v9"), trusted, "v1", "", ""},
		"withdrawn, from another place":     {signedItem(scenetest.App, before, gone, "v9"), trusted, "", NotationOnly, "in " + before},
		"vouched for, from another place":   {signedItem(scenetest.App, before, v1, "v1"), trusted, "", "", ""},
		"of a repository that is not asked": {signedItem("registry.example.com/team/other", before, gone, "v9"), trusted, "", "", ""},
	} {
		s := newScene(t)
		s.Publish(scenetest.App, "v1")
		s.Put("withdrawn")
		delete(s.Tagged, "withdrawn")
		judge := placeJudge{c.item.Repository, verdicts{digest.Digest(c.item.Digest): c.judge}}
		v := &Verification{Trust: s.Trust(), Registry: s, Judge: described{judge}, Workers: 2, Record: recordOf(t, c.item)}
		v.Scope.Discovered = func(gun dct.GUN) bool { return gun.String() == deleted }
		if c.tag != "" {
			v.Scope.Wanted = func(tag string) bool { return tag == c.tag }
		}
		var rows []Row
		s.Must(v.Verify(context.Background(), s.GUNs(scenetest.App, deleted), func(r Repository) error {
			for _, row := range r.Tags {
				if row.Tag == "" && r.GUN == c.item.GUN && r.Totals[row.Class] == 1 {
					rows = append(rows, row)
				}
			}
			return nil
		}))
		switch {
		case c.want == "" && len(rows) == 0:
		case len(rows) != 1 || rows[0].Class != c.want || !strings.Contains(rows[0].Reason, c.reason) || !slices.Contains(rows[0].Flags, FlagWithdrawn):
			t.Errorf("%s: got %+v, want %s because of %q", name, rows, c.want, c.reason)
		}
	}
}

// A repository of which DCT has nothing any more may still hold images that Notation trusts and
// that no run has signed. As long as the ledger has the repository, all its tags are compared, and
// it stays in the result.
func TestTagsOfAWithdrawnRepositoryAreCompared(t *testing.T) {
	t.Parallel()
	const deleted = "registry.example.com/team/deleted"
	trusted := saying(Verdict{Signatures: 1, Trusted: true, Listed: []string{"theirs"}})
	for name, c := range map[string]struct {
		recorded string // the repository that the ledger has
		before   bool   // runs have read its trust data
		named    bool   // by a user; nobody discovered it
		stray    func() (Verdict, error)
		fault    error // of listing the tags
		want     []Class
		reason   string
	}{
		"a tag that Notation trusts":       {deleted, false, false, trusted, nil, []Class{NotationOnly}, ""},
		"a tag that nobody has signed":     {deleted, false, false, saying(Verdict{}), nil, nil, ""},
		"tags that cannot be listed":       {deleted, false, false, trusted, failure.New(failure.Throttled, errors.New("429")), nil, "429"},
		"one of which runs have read":      {deleted, true, false, trusted, nil, []Class{NotationOnly}, "it had trust data before"},
		"one that is named":                {deleted, false, true, trusted, nil, []Class{NotationOnly}, "no trust data"},
		"one in trouble at both":           {deleted, true, false, trusted, failure.New(failure.Throttled, errors.New("429")), nil, "it had trust data before"},
		"a repository that no run has had": {scenetest.App, false, false, trusted, nil, nil, "left out"},
	} {
		s := newScene(t)
		s.Put("stray")
		if c.fault != nil {
			s.Faults["tags"] = func(digest.Digest) (bool, error) { return false, c.fault }
		}
		judge := verdicts{of("stray"): c.stray}
		v := &Verification{Trust: s.Trust(), Registry: s, Judge: described{judge}, Workers: 2}
		v.Record = recordOf(t, signedItem(c.recorded, c.recorded, of("gone"), "v1"))
		v.Scope.Discovered = func(dct.GUN) bool { return !c.named }
		if c.before {
			s.Publish(deleted)
			r, err := s.Trust().Read(context.Background(), s.GUNs(deleted)[0], dct.Known{})
			s.Must(err)
			s.Notary.Delete(deleted)
			seen := state.Repository{Root: r.Known().Root}
			v.Before = func(string) (state.Repository, bool, error) { return seen, true, nil }
		}
		var got []Repository
		err := v.Verify(context.Background(), s.GUNs(deleted), func(r Repository) error { got = append(got, r); return nil })
		if err != nil && !errors.Is(err, dct.ErrNothingRead) {
			t.Fatalf("%s: got %v, want no error but %v", name, err, dct.ErrNothingRead)
		}
		if c.reason == "left out" {
			if len(got) != 0 {
				t.Errorf("%s: got %+v, want nothing", name, got)
			}
			continue
		}
		var classes []Class
		for _, r := range got {
			for _, row := range r.Tags {
				classes = append(classes, row.Class)
			}
		}
		if len(got) != 1 || !slices.Equal(classes, c.want) || got[0].Totals[Unknown] != min(len(c.reason), 1) || !strings.Contains(got[0].Reason, c.reason) {
			t.Errorf("%s: got %+v, want the repository with %v and the reason %q", name, got, c.want, c.reason)
		}
	}
}

// placeJudge knows the images of one location.
type placeJudge struct {
	place string
	verdicts
}

func (j placeJudge) Judge(ctx context.Context, image migrate.Image) (Verdict, error) {
	if image.Repository != j.place {
		return Verdict{}, nil
	}
	return j.verdicts.Judge(ctx, image)
}

// Promise 6: what could not be found out is unknown, also for a tag that was moved and for one that
// DCT does not trust.
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
			t.Errorf("%s: got %v (%s), want %s", row.Tag, row.Classes, row.Reason, want)
		}
	}
	if asked {
		t.Error("got the registry asked for a tag that is none, want it not asked")
	}
}

// A list of tags that lacks an existing tag comes from a proxy or was truncated. It may lack others
// as well, such as a tag that DCT has revoked and Notation trusts.
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

// Under a root that nothing vouches for, nothing is compared. This is not a disagreement. If no
// repository is read at all, the call returns an error.
func TestVerifyWithoutPins(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(scenetest.App, "v1")
	s.Pins = dct.Pins{}
	got, err := s.verify(verdicts{}, scenetest.App)
	if !errors.Is(err, dct.ErrNothingRead) || got[scenetest.App].Class != Unknown {
		t.Errorf("got error %v, result %+v, want %v, %s", err, got[scenetest.App], dct.ErrNothingRead, Unknown)
	}
}
