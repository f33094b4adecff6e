package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/scenetest"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/state"
)

// comparing verifies one repository with a changed Verification.
func (s *scene) comparing(judge verdicts, change func(*Verification)) Repository {
	s.T.Helper()
	v := &Verification{Trust: s.Trust(), Registry: s, Judge: judge, Workers: 4}
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

// A sample says how much it left out, and can be drawn again.
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
		t.Errorf("drawn %v and %d left out, again %v, with another seed %v", names(first), first.LeftOut, names(again), names(other))
	}
	if all := draw(31, "a"); len(all.Tags) != 31 || all.LeftOut != 0 {
		t.Errorf("of 31, 31 are %d with %d left out", len(all.Tags), all.LeftOut)
	}
	if all := draw(0, ""); len(all.Tags) != 31 || all.LeftOut != 0 {
		t.Errorf("all are %d with %d left out", len(all.Tags), all.LeftOut)
	}
}

// A tag of one platform agrees only where that is wanted, its signature names an index that
// DCT vouches for, and the bytes of that index list the image.
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
			t.Errorf("%s: %+v", name, got.Tags)
		}
	}
}

// What the ledger has makes no class better, and finds what is gone, what others signed and
// what DCT has withdrawn.
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
		item("moved", state.Confirmed), // its signature is gone, and that of the image the tag has now is there
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
			t.Errorf("%+v", row)
		}
	}
	if len(got.Tags) != len(want) || got.Totals[NotationOnly] != 3 {
		t.Errorf("%d rows, totals %v", len(got.Tags), got.Totals)
	}
	record := recordOf(t, items...)
	record.page = func(state.Key, int) ([]state.Item, error) { return nil, errors.New("damaged") }
	v := &Verification{Trust: s.Trust(), Registry: s, Judge: judge, Workers: 4, Record: record}
	if err := v.Verify(context.Background(), s.GUNs(scenetest.App), func(Repository) error { return nil }); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a ledger that cannot be read: %v", err)
	}
}

// recordOf is what a ledger with these items has, in pages of two.
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

// signedItem is an item of a GUN that was signed in a place, under a tag.
func signedItem(gun, place string, d digest.Digest, tag string) state.Item {
	return state.Item{
		Key: state.Key{Repository: place, Digest: d.String(), KeyName: "release"}, GUN: gun,
		Stage: state.Confirmed, Signature: "ours", Tags: []state.Tag{{Name: tag}},
	}
}

// What runs have signed is compared wherever it was, also where DCT has nothing of the repository any more:
// its images may keep signatures.
func TestSignedImagesAreComparedWithoutTrustData(t *testing.T) {
	t.Parallel()
	const deleted, before = "registry.example.com/team/deleted", "old.example.com/team/app"
	v1, gone := of("v1"), of("withdrawn")
	trusted := saying(Verdict{Signatures: 1, Trusted: true})
	failed := func() (Verdict, error) { return Verdict{}, failure.New(failure.Throttled, errors.New("429")) }
	for name, c := range map[string]struct {
		item   state.Item
		judge  func() (Verdict, error)
		tag    string // that is chosen; empty: all are
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
		v := &Verification{Trust: s.Trust(), Registry: s, Judge: judge, Workers: 2, Record: recordOf(t, c.item)}
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

// A repository of which DCT has nothing any more may keep images that Notation trusts and that no run has
// signed: all its tags are compared, as long as the ledger has the repository, and it stays in the result.
func TestTagsOfAWithdrawnRepositoryAreCompared(t *testing.T) {
	t.Parallel()
	const deleted = "registry.example.com/team/deleted"
	trusted := saying(Verdict{Signatures: 1, Trusted: true, Listed: []string{"theirs"}})
	for name, c := range map[string]struct {
		recorded string // the repository that the ledger has
		before   bool   // runs have read its trust data
		named    bool   // nobody has found it
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
		v := &Verification{Trust: s.Trust(), Registry: s, Judge: judge, Workers: 2}
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
			t.Fatalf("%s: %v", name, err)
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

// placeJudge knows the images of one place.
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
