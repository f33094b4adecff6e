package verify

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/scenetest"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/state"
)

func saying(v Verdict) func() (Verdict, error) { return func() (Verdict, error) { return v, nil } }

// rowOf returns the row of a tag, or of the image that no tag points to.
func rowOf(t *testing.T, r Repository, tag string) Row {
	t.Helper()
	i := slices.IndexFunc(r.Tags, func(row Row) bool { return row.Tag == tag })
	if i < 0 {
		t.Fatalf("got no row of %q, want one: %+v", tag, r.Tags)
	}
	return r.Tags[i]
}

// Promise 6: everything that is wrong with a tag is a class of its row, worst first. What is known
// never hides what is unknown.
func TestEachClassOfATagIsSaid(t *testing.T) {
	t.Parallel()
	const good, there = "good", "there"
	trusted := Verdict{Signatures: 1, Trusted: true, Signed: []map[string]string{{migrate.MetadataGUN: scenetest.App, migrate.MetadataTag + "v1": "targets"}}}
	lenient := func(doubt Class) Verdict {
		return Verdict{Signatures: 1, Trusted: true, Doubt: doubt, Reason: "by a lenient policy"}
	}
	refused := trusted
	refused.Refused = "entry 1 leads nowhere"
	move := func(s *scene) { s.Tagged["v1"] = s.Put(there) }
	gone := func(s *scene) { delete(s.Images, of("v1")) }
	untag := func(s *scene) { delete(s.Tagged, "v1") }
	busy := func(step string) func(*scene) {
		return func(s *scene) { s.BreakFor(step, there, false, failure.New(failure.Throttled, errors.New("429"))) }
	}
	for name, c := range map[string]struct {
		vouched, there Verdict
		change         []func(*scene)
		want           string
	}{
		"agree":                              {trusted, Verdict{}, nil, "agree"},
		"unsigned":                           {Verdict{}, Verdict{}, nil, "dct-only"},
		"refused by notation verify":         {refused, Verdict{}, nil, "broken-signature"},
		"lenient and refused":                {Verdict{Signatures: 2, Trusted: true, Doubt: Expired, Reason: "old", Refused: "entry 1"}, Verdict{}, nil, "broken-signature expired"},
		"unsigned and without the tag":       {Verdict{}, Verdict{}, []func(*scene){untag}, "dct-only missing"},
		"neither digest nor tag":             {trusted, Verdict{}, []func(*scene){untag, gone}, "missing"},
		"tag of a digest that is not there":  {trusted, Verdict{}, []func(*scene){gone}, "unknown"},
		"moved":                              {trusted, Verdict{}, []func(*scene){move}, "tag-moved"},
		"moved, and unsigned":                {Verdict{}, Verdict{}, []func(*scene){move}, "tag-moved dct-only"},
		"moved, and gone":                    {trusted, Verdict{}, []func(*scene){move, gone}, "tag-moved missing"},
		"moved to a trusted one, and gone":   {trusted, trusted, []func(*scene){move, gone}, "conflict missing"},
		"moved to a refused one":             {trusted, refused, []func(*scene){move}, "conflict broken-signature"},
		"moved to what a lenient one trusts": {trusted, lenient(Untrusted), []func(*scene){move}, "conflict untrusted"},
		"moved to what may be revoked":       {trusted, lenient(Unknown), []func(*scene){move}, "conflict unknown"},
		"moved to what is in doubt":          {trusted, Verdict{Signatures: 1, Doubt: Unknown, Reason: "revoked?"}, []func(*scene){move}, "tag-moved unknown"},
		"moved to what cannot be read":       {trusted, Verdict{Signatures: 1, Doubt: Untrusted, Unread: true, Reason: "404"}, []func(*scene){move}, "tag-moved unknown"},
		"moved, and busy":                    {trusted, Verdict{}, []func(*scene){move, busy("resolve")}, "tag-moved unknown"},
		"moved to what is not there":         {trusted, Verdict{}, []func(*scene){move, func(s *scene) { delete(s.Images, of(there)) }}, "tag-moved unknown"},
	} {
		s := newScene(t)
		s.Publish(scenetest.App, "v1")
		for _, change := range c.change {
			change(s)
		}
		got := s.comparing(verdicts{of("v1"): saying(c.vouched), of(there): saying(c.there)}, func(*Verification) {})
		row := rowOf(t, got, "v1")
		var classes []string
		for _, class := range row.Classes {
			classes = append(classes, string(class))
			if len(row.Classes) > 1 && !strings.Contains(row.Reason, string(class)+": ") {
				t.Errorf("%s: got reason %q, want one of %s in it", name, row.Reason, class)
			}
		}
		if text := strings.Join(classes, " "); text != c.want || row.Class != row.Classes[0] || got.Totals[row.Class] != 1 {
			t.Errorf("%s: got %s (%s), totals %v, want %s", name, text, row.Reason, got.Totals, c.want)
		}
	}
}

// For a tag that DCT does not trust, everything that Notation may trust is reported. What the
// registry itself lists is never taken for gone.
func TestNoTagThatDCTDoesNotTrustIsPassedOver(t *testing.T) {
	t.Parallel()
	trusted := saying(Verdict{Signatures: 1, Trusted: true})
	for name, c := range map[string]struct {
		judge  func() (Verdict, error)
		change func(*scene)
		want   Class
		also   Class
	}{
		"unsigned":            {saying(Verdict{}), nil, NoneSigned, ""},
		"trusted":             {trusted, nil, NotationOnly, ""},
		"by a lenient policy": {saying(Verdict{Signatures: 1, Trusted: true, Doubt: Expired, Reason: "old"}), nil, NotationOnly, Expired},
		"perhaps revoked":     {saying(Verdict{Signatures: 1, Trusted: true, Doubt: Unknown, Reason: "asked"}), nil, NotationOnly, Unknown},
		"in doubt":            {saying(Verdict{Signatures: 1, Doubt: Unknown, Reason: "asked"}), nil, Unknown, ""},
		"unread":              {saying(Verdict{Signatures: 1, Doubt: Untrusted, Unread: true, Reason: "404"}), nil, Unknown, ""},
		"foreign":             {saying(Verdict{Signatures: 1, Doubt: Untrusted, Reason: "foreign"}), nil, NoneSigned, ""},
		"signatures missing":  {func() (Verdict, error) { return Verdict{}, failure.New(failure.Missing, errors.New("404")) }, nil, Unknown, ""},
		"registry busy": {trusted, func(s *scene) {
			s.BreakFor("tag", "stray", false, failure.New(failure.Throttled, errors.New("429")))
		}, Unknown, ""},
		"digest missing": {trusted, func(s *scene) { delete(s.Images, of("stray")) }, Unknown, ""},
		"tag missing":    {trusted, func(s *scene) { s.BreakFor("tag", "stray", false, scenetest.ErrGone) }, Unknown, ""},
	} {
		s := newScene(t)
		s.Publish(scenetest.App, "v1")
		s.Put("stray")
		if c.change != nil {
			c.change(s)
		}
		got := s.comparing(verdicts{of("stray"): c.judge, of("v1"): trusted}, func(v *Verification) { v.AllTags = true })
		row := rowOf(t, got, "stray")
		if row.Class != c.want || c.also != "" && !slices.Contains(row.Classes, c.also) {
			t.Errorf("%s: got %v (%s), want %s %s", name, row.Classes, row.Reason, c.want, c.also)
		}
	}
}

// Tags of invalid targets are looked up, unless their name is not a valid tag: docker runs a target
// of length zero, and Notation may trust any.
func TestInvalidTargetsAreLookedUp(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r, err := s.Notary.NewRepository(scenetest.App)
	s.Must(err)
	s.Must(r.AddSigner("alice"))
	for _, tag := range []string{"zero-signed", "zero-unsigned", "zero-moved"} {
		s.Must(r.Sign(tag, s.Put(tag).Encoded(), 0, "targets"))
	}
	s.Must(r.Sign("fine", s.Put("fine").Encoded(), 100)) // in targets/releases
	s.Must(r.Sign("sha512", s.Put("sha512").Encoded(), 100, "targets"))
	s.Must(r.Sign("a/b", s.Put("a/b").Encoded(), 100, "targets/alice")) // of a signer alone, and not a valid tag
	s.Must(r.Publish())
	s.Must(r.Tamper("targets", func(signed map[string]any) {
		target := signed["targets"].(map[string]any)["sha512"].(map[string]any)
		target["hashes"] = map[string]any{"sha512": strings.Repeat("A", 86) + "=="}
	}, true))
	s.Pins.Certs[scenetest.App] = r.RootKeyIDs()
	s.Tagged["zero-moved"] = s.Put("elsewhere")
	asked := false
	s.Faults["tag"] = func(d digest.Digest) (bool, error) {
		asked = asked || d == of("a/b")
		return true, nil
	}
	got := s.comparing(verdicts{
		of("zero-signed"): saying(Verdict{Signatures: 1, Trusted: true}), of("sha512"): saying(Verdict{Signatures: 1, Trusted: true}),
		of("a/b"): saying(Verdict{Signatures: 1, Trusted: true}), of("zero-moved"): saying(Verdict{Signatures: 1, Trusted: true}),
	}, func(*Verification) {})
	for tag, want := range map[string]Class{"zero-signed": Agree, "zero-unsigned": DCTOnly, "zero-moved": Moved, "sha512": NotationOnly, "a/b": NoneSigned} {
		if row := rowOf(t, got, tag); row.Class != want || row.Reason == "" {
			t.Errorf("%s: got %v (%s), want %s", tag, row.Classes, row.Reason, want)
		}
	}
	if asked {
		t.Error("got the registry asked for a name that can be no tag, want it not asked")
	}
}

// A lenient policy trusts more than a strict one. The tag of a platform agrees only with a
// signature against which nothing is reported.
func TestTagOfAPlatformUnderALenientPolicy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Verdict)
		want   Class
	}{
		"nothing":  {func(*Verdict) {}, Agree},
		"expired":  {func(v *Verdict) { v.Doubt, v.Reason = Expired, "old" }, Expired},
		"stranger": {func(v *Verdict) { v.Doubt, v.Reason = Untrusted, "foreign" }, Untrusted},
		"unknown":  {func(v *Verdict) { v.Doubt, v.Reason = Unknown, "asked" }, Unknown},
		"refused":  {func(v *Verdict) { v.Refused = "entry 1" }, Broken},
	} {
		m := newMulti(t)
		m.Tagged["v1-amd64"] = m.AMD64.Digest
		v := Verdict{Signatures: 1, Trusted: true, Signed: []map[string]string{{migrate.MetadataGUN: scenetest.App, migrate.MetadataIndex: m.List.Digest.String()}}}
		c.change(&v)
		got := m.comparing(verdicts{m.AMD64.Digest: saying(v)}, func(v *Verification) { v.AllPlatforms = true })
		if row := rowOf(t, got, "v1-amd64"); row.Class != c.want || !slices.Contains(row.Flags, FlagPlatform) {
			t.Errorf("%s: got %+v, want %s", name, row, c.want)
		}
	}
}

// Every item that may ever have had a signature is compared, whatever its stage and whether or not
// a tag points to it. A failed lookup is a row.
func TestEveryRecordedItemIsCompared(t *testing.T) {
	t.Parallel()
	trusted := Verdict{Signatures: 1, Trusted: true, Listed: []string{"ours"}}
	item := func(d digest.Digest, stage state.Stage, indexes ...digest.Digest) state.Item {
		it := state.Item{Key: state.Key{Repository: scenetest.App, Digest: d.String(), KeyName: "release"}, GUN: scenetest.App, Stage: stage}
		if stage == state.Confirmed || stage == state.Pushed || stage == state.Signed {
			it.Signature = "ours"
		}
		for _, index := range indexes {
			it.Indexes = append(it.Indexes, index.String())
		}
		if len(indexes) == 0 {
			it.Tags = []state.Tag{{Name: "old"}}
		}
		return it
	}
	withdrawn := of("withdrawn")
	failed := func() (Verdict, error) { return Verdict{}, failure.New(failure.Throttled, errors.New("429")) }
	for name, c := range map[string]struct {
		item   func(*multi) state.Item
		judge  func() (Verdict, error)
		change func(*multi)
		want   Class // empty: no row
		flag   string
	}{
		"confirmed":               {func(*multi) state.Item { return item(withdrawn, state.Confirmed) }, saying(trusted), nil, NotationOnly, FlagWithdrawn},
		"pushed":                  {func(*multi) state.Item { return item(withdrawn, state.Pushed) }, saying(trusted), nil, NotationOnly, FlagWithdrawn},
		"signed":                  {func(*multi) state.Item { return item(withdrawn, state.Signed) }, saying(trusted), nil, NotationOnly, FlagWithdrawn},
		"failed":                  {func(*multi) state.Item { return item(withdrawn, state.Failed) }, saying(trusted), nil, NotationOnly, FlagWithdrawn},
		"undone, and still there": {func(*multi) state.Item { return item(withdrawn, state.Skipped) }, saying(trusted), nil, NotationOnly, FlagWithdrawn},
		"planned again":           {func(*multi) state.Item { return item(withdrawn, state.Planned) }, saying(trusted), nil, NotationOnly, FlagWithdrawn},
		"unsigned":                {func(*multi) state.Item { return item(withdrawn, state.Confirmed) }, saying(Verdict{}), nil, "", ""},
		"by a lenient policy":     {func(*multi) state.Item { return item(withdrawn, state.Confirmed) }, saying(Verdict{Signatures: 1, Trusted: true, Doubt: Unknown, Reason: "asked"}), nil, NotationOnly, FlagWithdrawn},
		"in doubt":                {func(*multi) state.Item { return item(withdrawn, state.Confirmed) }, saying(Verdict{Signatures: 1, Doubt: Unknown, Reason: "asked"}), nil, Unknown, FlagWithdrawn},
		"unread":                  {func(*multi) state.Item { return item(withdrawn, state.Confirmed) }, saying(Verdict{Signatures: 1, Doubt: Untrusted, Unread: true, Reason: "404"}), nil, Unknown, FlagWithdrawn},
		"not told":                {func(*multi) state.Item { return item(withdrawn, state.Confirmed) }, failed, nil, Unknown, FlagWithdrawn},
		"signatures missing":      {func(*multi) state.Item { return item(withdrawn, state.Confirmed) }, func() (Verdict, error) { return Verdict{}, failure.New(failure.Missing, errors.New("404")) }, nil, Unknown, FlagWithdrawn},
		"image gone":              {func(*multi) state.Item { return item(withdrawn, state.Confirmed) }, saying(trusted), func(m *multi) { delete(m.Images, withdrawn) }, "", ""},
		"of an index":             {func(m *multi) state.Item { return item(m.AMD64.Digest, state.Confirmed, m.List.Digest) }, saying(trusted), nil, Agree, FlagPlatform},
		"image gone by a proxy's word": {func(*multi) state.Item { return item(withdrawn, state.Confirmed) }, saying(trusted), func(m *multi) {
			delete(m.Images, withdrawn)
			m.Faults["answers"] = func(digest.Digest) (bool, error) { return false, failure.New(failure.Permanent, errors.New("404")) }
		}, Unknown, FlagWithdrawn},
		"of an index, and gone":             {func(m *multi) state.Item { return item(m.AMD64.Digest, state.Confirmed, m.List.Digest) }, saying(Verdict{}), nil, DCTOnly, FlagGone},
		"of an index, and expired":          {func(m *multi) state.Item { return item(m.AMD64.Digest, state.Confirmed, m.List.Digest) }, saying(Verdict{Signatures: 1, Doubt: Expired, Reason: "old", Listed: []string{"ours"}}), nil, Expired, FlagPlatform},
		"of an index, never signed":         {func(m *multi) state.Item { return item(m.AMD64.Digest, state.Planned, m.List.Digest) }, saying(Verdict{}), nil, "", ""},
		"of an index that does not list it": {func(m *multi) state.Item { return item(withdrawn, state.Confirmed, m.List.Digest) }, saying(trusted), nil, NotationOnly, FlagWithdrawn},
		"of a withdrawn index":              {func(m *multi) state.Item { return item(m.AMD64.Digest, state.Confirmed, of("index")) }, saying(trusted), nil, NotationOnly, FlagWithdrawn},
		"of an index that cannot be read": {func(m *multi) state.Item { return item(m.AMD64.Digest, state.Confirmed, m.List.Digest) }, saying(trusted), func(m *multi) {
			m.Faults["manifest"] = func(digest.Digest) (bool, error) { return false, failure.New(failure.Throttled, errors.New("429")) }
		}, Unknown, FlagPlatform},
	} {
		m := newMulti(t)
		m.Images[withdrawn] = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: withdrawn, Size: 100}
		if c.change != nil {
			c.change(m)
		}
		it := c.item(m)
		got := m.comparing(verdicts{digest.Digest(it.Digest): c.judge}, func(v *Verification) {
			v.Record = recordOf(t, it)
		})
		i := slices.IndexFunc(got.Tags, func(row Row) bool { return row.Tag == "" })
		switch {
		case c.want == "" && i >= 0:
			t.Errorf("%s: got %+v, want no row", name, got.Tags[i])
		case c.want == "":
		case i < 0:
			t.Errorf("%s: got no row, want %s", name, c.want)
		default:
			if row := got.Tags[i]; row.Class != c.want || !slices.Contains(row.Flags, c.flag) || row.Registry.String() != it.Digest || got.Totals[c.want] == 0 {
				t.Errorf("%s: got %+v, want %s and %s", name, row, c.want, c.flag)
			}
		}
	}
}

// A verification of selected tags reports how many it left out, as a sample does.
func TestChosenTagsAreNotAll(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(scenetest.App, "v1", "v2")
	s.Put("stray")
	got := s.comparing(nil, func(v *Verification) {
		v.AllTags, v.Scope.Wanted = true, func(tag string) bool { return tag == "v1" }
	})
	if !slices.Equal(names(got), []string{"v1"}) || got.LeftOut != 2 {
		t.Errorf("got %v and %d left out, want v1 and 2", names(got), got.LeftOut)
	}
}
