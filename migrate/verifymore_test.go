package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/state"
)

// comparing verifies one repository with a changed Verification.
func (s *scene) comparing(judge verdicts, change func(*Verification)) VerifiedRepository {
	s.t.Helper()
	v := &Verification{Trust: s.trust(), Registry: s, Judge: judge, Workers: 4}
	change(v)
	var got VerifiedRepository
	s.must(v.Verify(context.Background(), s.guns(app), func(r VerifiedRepository) error {
		got = r
		return nil
	}))
	return got
}

func names(r VerifiedRepository) []string {
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
	s.publish(app, tags...)
	s.put("nobodys")
	draw := func(n int, seed string) VerifiedRepository {
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
	m.tags["v1-amd64"] = m.amd64.Digest
	signed := func(gun string, index digest.Digest) verdicts {
		return verdicts{m.amd64.Digest: func() (Verdict, error) {
			return Verdict{Signatures: 1, Trusted: true, Signed: []map[string]string{{MetadataGUN: gun, MetadataIndex: index.String()}}}, nil
		}}
	}
	other := m.world.index(m.amd64)
	elsewhere := m.world.put("elsewhere")
	for name, c := range map[string]struct {
		judge verdicts
		all   bool
		now   digest.Digest
		class VerifyClass
		flag  bool
	}{
		"wanted":                          {signed(app, m.index.Digest), true, m.amd64.Digest, Agree, true},
		"not wanted":                      {signed(app, m.index.Digest), false, m.amd64.Digest, NotationOnly, true},
		"an index that DCT does not name": {signed(app, other.Digest), true, m.amd64.Digest, NotationOnly, false},
		"another repository":              {signed("registry.example.com/other", m.index.Digest), true, m.amd64.Digest, NotationOnly, false},
		"not listed":                      {verdicts{elsewhere: signed(app, m.index.Digest)[m.amd64.Digest]}, true, elsewhere, NotationOnly, false},
	} {
		m.tags["v1-amd64"] = c.now
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
	r := s.publish(app, "kept", "gone", "crowded", "withdrawn", "tagged", "removed", "moved")
	for _, tag := range []string{"withdrawn", "tagged", "removed"} {
		s.must(r.Remove(tag))
	}
	s.must(r.Publish())
	of := func(tag string) digest.Digest { return digest.FromString("image " + tag) }
	delete(s.images, of("removed"))
	delete(s.tags, "removed")
	delete(s.tags, "withdrawn") // its image is still there, by digest
	s.tags["moved"], s.tags["copy"] = of("kept"), of("crowded")
	say := func(listed ...string) func() (Verdict, error) {
		return func() (Verdict, error) {
			return Verdict{Signatures: len(listed), Listed: listed, Trusted: len(listed) > 0}, nil
		}
	}
	item := func(tag string, stage state.Stage) state.Item {
		return state.Item{
			Key: state.Key{Repository: app, Digest: of(tag).String(), KeyName: "release"}, GUN: app,
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
		v.Recorded = func(repository string) ([]state.Item, error) {
			if repository != app {
				t.Errorf("asked for %s", repository)
			}
			return items, nil
		}
	})
	want := map[string]struct {
		class VerifyClass
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
	v := &Verification{Trust: s.trust(), Registry: s, Judge: judge, Workers: 4, Recorded: func(string) ([]state.Item, error) { return nil, errors.New("damaged") }}
	if err := v.Verify(context.Background(), s.guns(app), func(VerifiedRepository) error { return nil }); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a ledger that cannot be read: %v", err)
	}
}
