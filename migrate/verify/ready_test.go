package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/scenetest"
	"github.com/dct2notation/dct2notation/migrate"
)

// leaving is a scene in which all gates hold that the program checks.
type leaving struct {
	*scene
	repo *notarytest.Repository
	r    *Readiness
	ends time.Time // when the signatures expire
	more []string  // other repositories to compare
}

// also publishes another repository, which is compared as well.
func (l *leaving) also(name string) {
	l.T.Helper()
	l.Publish(name, "v1")
	l.more = append(l.more, name)
}

// waive adds a decision that holds until the planned date.
func (l *leaving) waive(w Waiver) {
	l.T.Helper()
	w.Reason, w.By, w.Until = "retired", "Jane", l.r.Planned
	l.r.Decisions.Waivers = append(l.r.Decisions.Waivers, w)
	l.Must(l.r.Decisions.Check(l.r.Now))
}

// kept is the trust data as it was when a snapshot was taken.
type kept map[string]*dct.Repository

func (k kept) Read(_ context.Context, gun dct.GUN, _ dct.Known) (*dct.Repository, error) {
	if r := k[gun.String()]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("%w: the snapshot has no such repository", dct.ErrUnsigned)
}

func newLeaving(t *testing.T) *leaving {
	t.Helper()
	l := &leaving{scene: newScene(t)}
	l.repo = l.Publish(scenetest.App, "v1", "v2")
	now := time.Now()
	l.ends = now.Add(60 * 24 * time.Hour)
	judge := verdicts{}
	for _, tag := range []string{"v1", "v2"} {
		judge[digest.FromString("image "+tag)] = func() (Verdict, error) {
			return Verdict{Signatures: 1, Trusted: true, NotAfter: l.ends}, nil
		}
	}
	l.r = &Readiness{
		Verification: &Verification{Trust: l.Trust(), Registry: l, Judge: described{judge}, Workers: 2},
		Feed:         func(context.Context) ([]dct.Changed, error) { return []dct.Changed{{GUN: scenetest.App}}, nil },
		Planned:      now.Add(24 * time.Hour), Now: now, Saved: now.Add(-2 * time.Hour),
	}
	l.archive()
	return l
}

// archive takes a snapshot.
func (l *leaving) archive() {
	l.T.Helper()
	r, err := l.Trust().Read(context.Background(), l.GUNs(scenetest.App)[0], dct.Known{})
	l.Must(err)
	l.r.Archive = kept{scenetest.App: r}
}

func (l *leaving) assess(names ...string) map[string]Gate {
	l.T.Helper()
	gates, err := l.r.Assess(context.Background(), l.GUNs(names...))
	l.Must(err)
	byID := map[string]Gate{}
	for _, g := range gates {
		byID[g.ID] = g
	}
	return byID
}

// Each case breaks exactly one gate. Notary v1 may be switched off only when all hold, including
// those that people tick.
func TestNotaryMayGoOnlyWhenEveryGateHolds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*leaving)
		gate   string
		want   GateState
		says   string
	}{
		"nothing": {func(*leaving) {}, "", Holds, ""},
		"no feed": {func(l *leaving) { l.r.Feed = nil }, gateListed, NotTold, "changefeed"},
		"feed fails": {func(l *leaving) {
			l.r.Feed = func(context.Context) ([]dct.Changed, error) { return nil, errors.New("401") }
		}, gateListed, NotTold, "401"},
		"another repository":    {func(l *leaving) { l.feed(dct.Changed{GUN: "registry.example.com/other"}) }, gateListed, Fails, "other"},
		"one that was deleted":  {func(l *leaving) { l.feed(dct.Changed{GUN: "registry.example.com/other", Deleted: true}) }, "", Holds, ""},
		"a sample":              {func(l *leaving) { l.r.Verification.Sample = 1 }, gateCompared, Fails, "sample"},
		"a registry in trouble": {func(l *leaving) { l.BreakFor("tag", "v1", false, failure.New(failure.Throttled, errors.New("429"))) }, gateCompared, NotTold, "429"},
		"tags were chosen":      {func(l *leaving) { l.r.LeftOut = []string{"include-tags=3.*"} }, gateCompared, Fails, "include-tags=3.*"},
		"waived as a whole": {func(l *leaving) {
			l.feed(dct.Changed{GUN: "registry.example.com/other"})
			l.r.Decisions.Waivers = []Waiver{{Repository: "registry.example.com/other", Class: NotCompared, Reason: "another team's", By: "Jane", Until: l.r.Planned.Add(time.Hour)}}
		}, "", Holds, ""},
		"the ledger has another repository": {func(l *leaving) {
			const other = "registry.example.com/other"
			l.r.Verification.Record = recordOf(l.T, signedItem(other, other, of("v9"), "v9"))
		}, gateCompared, NotTold, "registry.example.com/other is in the ledger"},
		"the ledger has nothing": {func(l *leaving) { l.r.Verification.Record = recordOf(l.T) }, gateCompared, NotTold, "the ledger has none of the repositories"},
		"the ledger is of other repositories": {func(l *leaving) {
			const other = "registry.example.com/other"
			l.r.Verification.Record = recordOf(l.T, signedItem(other, other, of("v9"), "v9"))
			l.waive(Waiver{Repository: other, Class: NotCompared})
		}, gateCompared, NotTold, "the ledger has none of the repositories"},
		"the ledger has another one, which is waived": {func(l *leaving) {
			const other = "registry.example.com/other"
			l.r.Verification.Record = recordOf(l.T, signedItem(scenetest.App, scenetest.App, of("v1"), "v1"), signedItem(other, other, of("v9"), "v9"))
			l.waive(Waiver{Repository: other, Class: NotCompared})
		}, "", Holds, ""},
		"a platform's certificate ends": {func(l *leaving) {
			l.platform(func() (Verdict, error) { return Verdict{Signatures: 1, Trusted: true, NotAfter: l.r.Planned}, nil })
		}, gateDates, Fails, "signature of "},
		"a platform's certificate ends just after": {func(l *leaving) {
			l.platform(func() (Verdict, error) {
				return Verdict{Signatures: 1, Trusted: true, NotAfter: l.r.Planned.Add(1)}, nil
			})
		}, "", Holds, ""},
		"the ledger's copy is old": {func(l *leaving) { l.r.Behind = "its copy of yesterday" }, gateCompared, NotTold, "its copy of yesterday"},
		"the feed names nothing":   {func(l *leaving) { l.r.Feed = func(context.Context) ([]dct.Changed, error) { return nil, nil } }, gateListed, NotTold, scenetest.App},
		"another registry":         {func(l *leaving) { l.feed(dct.Changed{GUN: "other.example.com/app"}) }, gateListed, Fails, "other.example.com/app"},
		"nothing was compared":     {func(l *leaving) { l.r.Verification.Scope.Wanted = func(string) bool { return false } }, gateCompared, Fails, "no tag"},
		"a tag that moved":         {func(l *leaving) { l.move("v2") }, gateAgreed, Fails, "v2"},
		"no snapshot":              {func(l *leaving) { l.r.Archive = nil }, gateArchived, Fails, "no snapshot"},
		"not in the snapshot":      {func(l *leaving) { l.r.Archive = kept{} }, gateArchived, Fails, scenetest.App},
		"signed since": {func(l *leaving) {
			l.Must(l.repo.Sign("v1", digest.FromString("image v1").Encoded(), 101))
			l.Must(l.repo.Publish())
		}, gateQuiet, Fails, scenetest.App},
		"the certificate ends":        {func(l *leaving) { l.r.Planned = l.r.Now.Add(61 * 24 * time.Hour) }, gateDates, Fails, "signature of "},
		"it ends at the planned date": {func(l *leaving) { l.r.Planned = l.ends }, gateDates, Fails, "signature of "},
		"it ends just after":          {func(l *leaving) { l.r.Planned = l.ends.Add(-time.Nanosecond) }, "", Holds, ""},
		"the strays are not known": {func(l *leaving) {
			l.Faults["tags"] = func(digest.Digest) (bool, error) { return false, failure.New(failure.Denied, errors.New("403")) }
		}, gateCompared, NotTold, "403"},
		"only some tags of a repository": {func(l *leaving) {
			l.Put("stray")
			l.r.Verification.Scope.Wanted = func(tag string) bool { return tag != "stray" }
		}, gateCompared, Fails, "1 tag not compared"},
		"deleted, and still there": {func(l *leaving) {
			l.Publish("registry.example.com/other", "v1")
			l.feed(dct.Changed{GUN: "registry.example.com/other", Deleted: true})
		}, gateListed, Fails, "other was deleted"},
		"deleted, there and waived": {func(l *leaving) {
			l.Publish("registry.example.com/other", "v1")
			l.feed(dct.Changed{GUN: "registry.example.com/other", Deleted: true})
			l.waive(Waiver{Repository: "registry.example.com/other", Class: NotCompared})
		}, "", Holds, ""},
		"deleted, there and of nobody we know": {func(l *leaving) {
			l.Publish("registry.example.com/other", "v1")
			delete(l.Pins.Certs, "registry.example.com/other")
			l.feed(dct.Changed{GUN: "registry.example.com/other", Deleted: true})
		}, gateListed, Fails, "other was deleted"},
		"deleted, by a name that cannot be": {func(l *leaving) { l.feed(dct.Changed{GUN: "Odd Name", Deleted: true}) }, gateListed, NotTold, "Odd Name"},
		"a name that cannot be":             {func(l *leaving) { l.feed(dct.Changed{GUN: "Odd Name"}) }, gateListed, Fails, "Odd Name"},
		"a name that cannot be, waived": {func(l *leaving) {
			l.feed(dct.Changed{GUN: "Odd Name"})
			l.waive(Waiver{Repository: "Odd Name", Written: "Odd Name", Class: NotCompared})
		}, "", Holds, ""},
		"a name that docker writes otherwise, waived": {func(l *leaving) {
			l.feed(dct.Changed{GUN: "alpine"})
			l.waive(Waiver{Repository: "docker.io/library/alpine", Written: "alpine", Class: NotCompared})
		}, "", Holds, ""},
		"the trust data expires": {func(l *leaving) {
			l.Must(l.repo.Tamper("targets", func(signed map[string]any) { signed["expires"] = l.r.Now.Add(time.Hour).UTC().Format(time.RFC3339) }, true))
			l.archive()
		}, gateDates, Fails, "targets"},
	} {
		l := newLeaving(t)
		c.change(l)
		gates := l.assess(scenetest.App)
		for id, g := range gates {
			want := Holds
			if g.Manual {
				want = Open
			}
			if id == c.gate {
				want = c.want
			}
			// Without a snapshot nobody knows what was signed since.
			if name == "no snapshot" && id == gateQuiet {
				want = Fails
			}
			// A gate that was checked for no tag at all says nothing.
			if name == "nothing was compared" && (id == gateAgreed || id == gateDates) {
				want = NotTold
			}
			if g.State != want {
				t.Errorf("%s: gate %s: got %s, want %s: %q", name, id, g.State, want, g.Evidence)
			}
		}
		if c.gate != "" && !strings.Contains(strings.Join(gates[c.gate].Evidence, "\n"), c.says) {
			t.Errorf("%s: got evidence %q, want %q in it", name, gates[c.gate].Evidence, c.says)
		}
	}
}

// platform has DCT name an index of one image. A run has signed that image, and says is Notation's
// verdict on it.
func (l *leaving) platform(says func() (Verdict, error)) {
	image := l.Image("amd64", "amd64")
	index := l.Index(image)
	l.Tagged["index"] = index.Digest
	l.Must(l.repo.Sign("index", index.Digest.Encoded(), index.Size))
	l.Must(l.repo.Publish())
	l.archive()
	judge := l.r.Verification.Judge.(described).judge.(verdicts)
	judge[index.Digest], judge[image.Digest] = judge[of("v1")], says
	it := signedItem(scenetest.App, scenetest.App, image.Digest, "")
	it.Tags, it.Indexes = nil, []string{index.Digest.String()}
	l.r.Verification.Record = recordOf(l.T, it)
}

// move points a tag to another image, which nobody has signed.
func (l *leaving) move(tag string) {
	d := digest.FromString("elsewhere")
	l.Tagged[tag], l.Images[d] = d, ocispec.Descriptor{Digest: d, Size: 1}
}

func (l *leaving) feed(more ...dct.Changed) {
	l.r.Feed = func(context.Context) ([]dct.Changed, error) {
		return append(more, dct.Changed{GUN: scenetest.App}), nil
	}
}

// A repository whose trust data cannot be read is not a repository without trust data.
func TestUnreadableTrustDataIsNotReady(t *testing.T) {
	t.Parallel()
	l := newLeaving(t)
	l.Must(l.repo.BadSignature("targets"))
	gates := l.assess(scenetest.App)
	if gates[gateAgreed].State != Fails || gates[gateQuiet].State != NotTold || gates[gateCompared].State != Fails {
		t.Errorf("got %+v, want %s and %s %s, and %s %s", gates, gateAgreed, gateCompared, Fails, gateQuiet, NotTold)
	}
}

// A repository that was not read has no dates either. The waiver of both covers at most the number
// that was decided.
func TestWaiverOfTooManyUnread(t *testing.T) {
	t.Parallel()
	for covers, want := range map[int]GateState{1: Fails, 2: Holds} {
		l := newLeaving(t)
		l.feed(dct.Changed{GUN: "registry.example.com/old/b"})
		l.Must(l.repo.BadSignature("targets"))
		l.waive(Waiver{Repository: scenetest.App, Class: Untrusted})
		l.waive(Waiver{Repository: "registry.example.com/**", Class: NotCompared, Covers: covers})
		gates := l.assess(scenetest.App)
		for _, gate := range []string{gateListed, gateDates} {
			if got := gates[gate].State; got != want && (gate != gateDates || want == Fails) {
				t.Errorf("of at most %d: %s: got %s, want %s: %q", covers, gate, got, want, gates[gate].Evidence)
			}
		}
	}
}

// A waiver covers its tag and its class until its date. A waiver that nothing needs is reported.
func TestWaiversHoldForWhatTheySay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Waiver)
		want   GateState
		says   string
	}{
		"as it is":           {func(*Waiver) {}, Holds, "waived: " + scenetest.App + ":v2"},
		"another tag":        {func(w *Waiver) { w.Tag = "v1" }, Fails, "not needed"},
		"another class":      {func(w *Waiver) { w.Class = DCTOnly }, Fails, "not needed"},
		"another repository": {func(w *Waiver) { w.Repository = "registry.example.com/other" }, Fails, "not needed"},
		"no tag":             {func(w *Waiver) { w.Tag = "" }, Fails, "not needed"},
		"ends before":        {func(w *Waiver) { w.Until = time.Now().Add(time.Hour) }, Fails, "before the planned date"},
	} {
		l := newLeaving(t)
		l.move("v2")
		w := Waiver{Repository: scenetest.App, Tag: "v2", Class: Moved, Reason: "retired", By: "Jane", Until: time.Now().Add(48 * time.Hour)}
		c.change(&w)
		l.r.Decisions.Waivers = []Waiver{w}
		l.Must(l.r.Decisions.Check(time.Now()))
		g := l.assess(scenetest.App)[gateAgreed]
		if g.State != c.want || !strings.Contains(strings.Join(g.Evidence, "\n"), c.says) {
			t.Errorf("%s: got %+v, want %s and evidence %q", name, g, c.want, c.says)
		}
	}
}

// A glob covers the rows of its class that it matches, up to the number that was decided.
func TestWaiversWithGlobs(t *testing.T) {
	t.Parallel()
	tags := func(repository, tag string, covers int) Waiver {
		return Waiver{Repository: repository, Tag: tag, Class: DCTOnly, Covers: covers}
	}
	const two = "covers 2 rows"
	for name, c := range map[string]struct {
		waivers []Waiver
		want    GateState
		says    string
	}{
		"as many as decided":            {[]Waiver{tags(scenetest.App, "v*", 2)}, Holds, two + " of at most 2, by Jane"},
		"one more":                      {[]Waiver{tags(scenetest.App, "v*", 1)}, Fails, two + ", and was decided for at most 1"},
		"fewer":                         {[]Waiver{tags(scenetest.App, "v*", 3)}, Holds, two + " of at most 3"},
		"of repositories":               {[]Waiver{tags("registry.example.com/*/app", "*", 2)}, Holds, two},
		"one by name, which counts not": {[]Waiver{tags(scenetest.App, "v*", 1), tags(scenetest.App, "v1", 0)}, Holds, "covers 1 row of at most 1"},
		"of one tag":                    {[]Waiver{tags("registry.example.com/**", "v1", 2)}, Fails, "v2 is dct-only"},
		"of other repositories":         {[]Waiver{tags("registry.example.org/**", "*", 2)}, Fails, "not needed"},
		"of whole repositories":         {[]Waiver{tags("**", "", 2)}, Fails, "not needed"},
		"of another class":              {[]Waiver{{Repository: scenetest.App, Tag: "v*", Class: Gone, Covers: 2}}, Fails, "not needed"},
	} {
		l := newLeaving(t)
		for _, tag := range []string{"v1", "v2"} {
			l.r.Verification.Judge.(described).judge.(verdicts)[digest.FromString("image "+tag)] = saying(Verdict{})
		}
		for _, w := range c.waivers {
			l.waive(w)
		}
		g := l.assess(scenetest.App)[gateAgreed]
		if g.State != c.want || !strings.Contains(strings.Join(g.Evidence, "\n"), c.says) {
			t.Errorf("%s: got %+v, want %s and evidence %q", name, g, c.want, c.says)
		}
	}
	// No glob covers a class whose rows must be looked at one by one, even if the decisions were
	// not checked.
	for _, class := range worstFirst {
		d := Decisions{Waivers: []Waiver{{Repository: "**", Tag: "**", Class: class, Covers: 9, Reason: "r", By: "Jane", Until: time.Now()}}}
		if err := d.Check(time.Now()); (err == nil) != slices.Contains(globClasses, class) {
			t.Errorf("a glob for %s: got %v", class, err)
		}
		if w := d.waiver(gateAgreed, scenetest.App, "v1", class, time.Now().Add(-time.Hour)); (w != nil) != (class == DCTOnly || class == Gone) {
			t.Errorf("a glob for %s: got %+v", class, w)
		}
		if w := d.waiver(gateAgreed, scenetest.App, "", class, time.Now().Add(-time.Hour)); w != nil {
			t.Errorf("a glob of tags for %s of a whole repository: got %+v, want none", class, w)
		}
	}
}

// Repositories that nobody compares can be waived together, up to the number that was decided. Each
// counts once, in however many gates it is.
func TestWaiverOfRepositoriesNotCompared(t *testing.T) {
	t.Parallel()
	for covers, want := range map[int]GateState{1: Fails, 2: Holds, 3: Holds} {
		l := newLeaving(t)
		l.feed(dct.Changed{GUN: "registry.example.com/old/a"}, dct.Changed{GUN: "registry.example.com/old/b"})
		l.r.Verification.Record = recordOf(t, signedItem(scenetest.App, scenetest.App, of("v1"), "v1"), signedItem("registry.example.com/old/a", "registry.example.com/old/a", of("a"), "a"))
		l.waive(Waiver{Repository: "registry.example.com/old/*", Class: NotCompared, Covers: covers})
		gates := l.assess(scenetest.App)
		if g := gates[gateCompared]; g.State != want || !strings.Contains(g.Evidence[0], "covers 2 rows") {
			t.Errorf("of at most %d: got %+v, want %s and how many rows it covers first", covers, g, want)
		}
		if g := gates[gateListed]; g.State != want || want == Fails && !strings.Contains(g.Evidence[0], "covers 2 rows") {
			t.Errorf("of at most %d: listed: got %+v, want %s, and how many rows it covers first where that is too many", covers, g, want)
		}
		if g := gates[gateDates]; g.State != Holds {
			t.Errorf("of at most %d: dates: got %+v, want it to hold, as it needed no waiver", covers, g)
		}
	}
}

// A repository that the changefeed does not name, as those published before servers had one, needs a decision of its
// own: a glob for other repositories says nothing about how complete the changefeed is.
func TestWaiverOfAnIncompleteChangefeed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		waivers []Waiver
		want    GateState
	}{
		"no waiver":   {nil, NotTold},
		"by name":     {[]Waiver{{Repository: scenetest.App, Class: NotCompared}}, Holds},
		"of another":  {[]Waiver{{Repository: scenetest.App + "2", Class: NotCompared}}, NotTold},
		"a glob":      {[]Waiver{{Repository: "**", Class: NotCompared, Covers: 9}}, NotTold},
		"one of both": {[]Waiver{{Repository: "**", Class: NotCompared, Covers: 9}, {Repository: scenetest.App, Class: NotCompared}}, Holds},
	} {
		l := newLeaving(t)
		l.r.Feed = func(context.Context) ([]dct.Changed, error) { return nil, nil }
		for _, w := range c.waivers {
			l.waive(w)
		}
		if got := l.assess(scenetest.App)[gateListed]; got.State != c.want {
			t.Errorf("%s: got %s, want %s: %q", name, got.State, c.want, got.Evidence)
		}
	}
}

// Ready needs a tick with a name and a date for each check by people.
func TestReadyNeedsEveryTick(t *testing.T) {
	t.Parallel()
	l := newLeaving(t)
	l.r.Products = []string{ACR}
	var open []string
	gates, err := l.r.Assess(context.Background(), l.GUNs(scenetest.App))
	l.Must(err)
	for _, g := range gates {
		if g.Manual {
			open = append(open, g.ID)
			l.r.Decisions.Ticks = append(l.r.Decisions.Ticks, Tick{Check: g.ID, By: "Jane", Date: time.Now().Add(-time.Hour)})
		}
	}
	if Ready(gates) || len(open) < 8 || !slices.Contains(open, "acr-order") || slices.Contains(open, "harbor-order") {
		t.Errorf("got ready %t with %v open, want false with 8 or more, acr-order and not harbor-order", Ready(gates), open)
	}
	l.Must(l.r.Decisions.Check(time.Now()))
	if gates, err = l.r.Assess(context.Background(), l.GUNs(scenetest.App)); err != nil || !Ready(gates) {
		t.Errorf("with all ticks: got %v, %+v, want it ready", err, gates)
	}
	l.r.Decisions.Ticks = l.r.Decisions.Ticks[1:]
	if gates, err = l.r.Assess(context.Background(), l.GUNs(scenetest.App)); err != nil || Ready(gates) {
		t.Errorf("with one tick less: got ready %t, %v, want false, no error", Ready(gates), err)
	}
	if Ready(nil) {
		t.Error("no gates at all: got ready, want not ready")
	}
}

// A tick that is older than the snapshot says nothing about it. What was true last season may no
// longer be.
func TestTicksAge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.Local)
	day := func(daysAgo int) time.Time { return dayOf(now.AddDate(0, 0, -daysAgo)) }
	for name, c := range map[string]struct {
		check string
		date  time.Time
		saved time.Time
		want  GateState
		says  string
	}{
		"of today":                         {"clients", day(0), now, Holds, "ticked by Jane on 2026-11-30"},
		"of anything, before the snapshot": {"clients", day(9), now, Holds, "ticked"},
		"90 days old":                      {"clients", day(90), now, Holds, "ticked"},
		"older":                            {"clients", day(91), now, Open, "more than 90 days ago: check it again, and tick it with the new date"},
		"of another year":                  {"clients", time.Date(2019, 5, 5, 0, 0, 0, 0, time.UTC), now, Open, "of 2019-05-05"},
		"of the snapshot, the same day":    {"kept", day(3), now.AddDate(0, 0, -3), Holds, "ticked"},
		"of the snapshot, the day before":  {"kept", day(4), now.AddDate(0, 0, -3), Open, "the snapshot was saved on 2026-11-27: check it again"},
		"of one that has no date":          {"kept", day(0), time.Time{}, Open, "not known when the snapshot was saved"},
		"of the dumps, the day before":     {"self-hosted-dumps", day(1), now, Open, "the snapshot was saved on 2026-11-30"},
		"of Azure's order, before":         {"acr-order", day(1), now, Open, "the snapshot was saved on 2026-11-30"},
	} {
		list := checklist(Products())
		g := list[slices.IndexFunc(list, func(g Gate) bool { return g.ID == c.check })]
		g.State = Open
		d := Decisions{Ticks: []Tick{{Check: c.check, By: "Jane", Date: c.date}}}
		d.tick(&g, c.saved, now)
		if said := strings.Join(g.Evidence, "\n"); g.State != c.want || !strings.Contains(said, c.says) {
			t.Errorf("%s: got %s and %q, want %s and %q", name, g.State, said, c.want, c.says)
		}
	}
}

func TestDecisionsSayWhoseTheyAre(t *testing.T) {
	t.Parallel()
	now := time.Now()
	good := Waiver{Repository: scenetest.App, Tag: "v1", Class: DCTOnly, Reason: "retired", By: "Jane", Until: now}
	tick := Tick{Check: "clients", By: "Jane", Date: now}
	bad := func(change func(*Waiver)) Decisions {
		w := good
		change(&w)
		return Decisions{Waivers: []Waiver{good, w}}
	}
	badTick := func(change func(*Tick)) Decisions {
		x := tick
		change(&x)
		return Decisions{Ticks: []Tick{tick, x}}
	}
	fine := Decisions{Waivers: []Waiver{good}, Ticks: []Tick{tick}}
	if err := fine.Check(now); err != nil {
		t.Error(err)
	}
	morning := time.Date(2026, 12, 2, 1, 0, 0, 0, time.FixedZone("east", 13*60*60)) // where the day begins before that of UTC
	if err := (&Decisions{Ticks: []Tick{{Check: "clients", By: "Jane", Date: time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC)}}}).Check(morning); err != nil {
		t.Errorf("a tick of today: %v", err)
	}
	for name, d := range map[string]Decisions{
		"no repository": bad(func(w *Waiver) { w.Repository = "" }), "no reason": bad(func(w *Waiver) { w.Reason = " " }),
		"nobody": bad(func(w *Waiver) { w.By = "" }), "for ever": bad(func(w *Waiver) { w.Until = time.Time{} }),
		"what is unknown": bad(func(w *Waiver) { w.Class = Unknown }), "what agrees": bad(func(w *Waiver) { w.Class = Agree }), "no class": bad(func(w *Waiver) { w.Class = "" }),
		"no such check":          badTick(func(x *Tick) { x.Check = "clints" }),
		"a glob without a limit": bad(func(w *Waiver) { w.Tag = "v*" }), "a glob of repositories without one": bad(func(w *Waiver) { w.Repository = "registry.example.com/*" }),
		"a limit below none": bad(func(w *Waiver) { w.Tag, w.Covers = "v*", -1 }), "a limit without a glob": bad(func(w *Waiver) { w.Covers = 1 }),
		"no such glob": bad(func(w *Waiver) { w.Tag, w.Covers = "v[12]*", 2 }), "a glob for another class": bad(func(w *Waiver) { w.Tag, w.Covers, w.Class = "v*", 2, Moved }), "a machine's gate": badTick(func(x *Tick) { x.Check = gateAgreed }),
		"ticked by nobody": badTick(func(x *Tick) { x.By = "" }), "at no time": badTick(func(x *Tick) { x.Date = time.Time{} }), "in the future": badTick(func(x *Tick) { x.Date = now.Add(15 * time.Hour) }),
		"all repositories without a file": badTick(func(x *Tick) { x.Check = gateListed }), "a file for people's check": badTick(func(x *Tick) { x.File = "repositories.txt" }),
	} {
		if err := d.Check(now); err == nil || !strings.HasPrefix(err.Error(), "waiver 2: ") && !strings.HasPrefix(err.Error(), "tick 2: ") {
			t.Errorf("%s: got %v, want an error of the second", name, err)
		}
	}
}

// troubled is trust data of which one repository cannot be read at present.
type troubled struct {
	migrate.Trust
	gun string
}

func (r troubled) Read(ctx context.Context, gun dct.GUN, known dct.Known) (*dct.Repository, error) {
	if gun.String() == r.gun {
		return nil, fmt.Errorf("%w: it answered 503", dct.ErrUnavailable)
	}
	return r.Trust.Read(ctx, gun, known)
}

// A repository that cannot be read at present keeps the gate open, whatever is waived.
func TestUnreadableRepositoryIsNotReady(t *testing.T) {
	t.Parallel()
	const other = "registry.example.com/team/other"
	l := newLeaving(t)
	l.r.Verification.Trust = troubled{l.r.Verification.Trust, other}
	for _, class := range []Class{NotCompared, Untrusted, Expired} {
		l.waive(Waiver{Repository: other, Class: class})
	}
	gates := l.assess(scenetest.App, other)
	if got := gates[gateCompared]; got.State != NotTold || !strings.Contains(strings.Join(got.Evidence, " "), other) {
		t.Errorf("compared: got %+v, want unknown for %s", got, other)
	}
	if got := gates[gateAgreed]; got.State != Holds {
		t.Errorf("agreed: got %+v, want that it holds", got)
	}
}

// A gate that holds says what it rests on.
func TestGatesThatHoldSayWhy(t *testing.T) {
	t.Parallel()
	l := newLeaving(t)
	l.move("v2")
	l.waive(Waiver{Repository: scenetest.App, Tag: "v2", Class: Moved})
	const other = "registry.example.com/team/other"
	l.Must(l.Publish(other, "w1").BadSignature("targets"))
	l.waive(Waiver{Repository: other, Class: Untrusted})
	gates := l.assess(scenetest.App, other)
	for _, id := range []string{gateCompared, gateDates} { // nobody has seen its tags or its dates
		if g := gates[id]; g.State != NotTold || !slices.ContainsFunc(g.Evidence, func(e string) bool { return strings.Contains(e, other) }) {
			t.Errorf("%s of an unread repository: got %+v, want it open, with its name", id, g)
		}
	}
	l.waive(Waiver{Repository: other, Class: NotCompared})
	gates = l.assess(scenetest.App, other)
	if g := gates[gateDates]; !slices.ContainsFunc(g.Evidence, func(e string) bool { return strings.HasPrefix(e, "not counted: expiry dates of "+other) }) {
		t.Errorf("dates: got %+v, want that those of %s are not counted", g, other)
	}
	if g := gates[gateCompared]; !slices.ContainsFunc(g.Evidence, func(e string) bool { return strings.HasPrefix(e, "waived: "+other+", not compared") }) || !slices.ContainsFunc(g.Evidence, func(e string) bool { return strings.HasPrefix(e, "no ledger was compared with") }) {
		t.Errorf("compared: got %+v, want the waiver of %s and that there is no ledger", g, other)
	}
	for id, want := range map[string]string{gateCompared: "1 repository, 2 tags", gateAgreed: "in agreement: 1 tag; waived: 2", gateArchived: "waived: " + other, gateDates: "the first date is 2"} {
		if g := gates[id]; g.State != Holds || !slices.ContainsFunc(g.Evidence, func(e string) bool { return strings.HasPrefix(e, want) }) {
			t.Errorf("%s: got %+v, want that it holds and says %q", id, g, want)
		}
	}
}

// A repository that was found but is not in the snapshot needs no trust data only if the server
// itself says that it has none.
func TestNothingToKeepByTheServersWord(t *testing.T) {
	t.Parallel()
	const other = "registry.example.com/team/other"
	for name, c := range map[string]struct {
		change func(*leaving)
		want   GateState
	}{
		"none on the server": {func(*leaving) {}, Holds},
		"damaged":            {func(l *leaving) { l.r.Archive = troubled{l.r.Archive, other} }, Fails},
		"refused":            {func(l *leaving) { l.Must(l.Publish(other, "v1").BadSignature("targets")) }, Fails},
		"there":              {func(l *leaving) { l.Publish(other, "v1") }, Fails},
	} {
		l := newLeaving(t)
		l.r.Verification.Scope.Discovered = func(dct.GUN) bool { return true }
		c.change(l)
		if got := l.assess(scenetest.App, other)[gateArchived]; got.State != c.want {
			t.Errorf("%s: got %s, want %s: %q", name, got.State, c.want, got.Evidence)
		}
	}
}

// A repository that the changefeed names, but that the server did not have when it was read, was not compared.
func TestNamedByTheChangefeedAndNotRead(t *testing.T) {
	t.Parallel()
	const other = "registry.example.com/team/other"
	for name, c := range map[string]struct {
		feed []dct.Changed
		want GateState
	}{
		"not named":        {nil, Holds},
		"named":            {[]dct.Changed{{GUN: other}}, NotTold},
		"named as deleted": {[]dct.Changed{{GUN: other, Deleted: true}}, Holds},
	} {
		l := newLeaving(t)
		l.r.Verification.Scope.Discovered = func(dct.GUN) bool { return true }
		l.feed(c.feed...)
		if got := l.assess(scenetest.App, other)[gateListed]; got.State != c.want {
			t.Errorf("%s: got %s, want %s: %q", name, got.State, c.want, got.Evidence)
		}
	}
}

// A repository that was deleted from Notary does not keep a gate open for ever if the changefeed
// and the server's root both say so and all of it was compared as withdrawn. Otherwise the gates
// say what to do.
func TestDeletedRepository(t *testing.T) {
	t.Parallel()
	const other = "registry.example.com/team/other"
	const feed = "the changefeed of the server"
	for name, c := range map[string]struct {
		change                             func(*leaving, *dct.Reader)
		compared, agreed, archived, listed GateState
		quiet                              GateState
	}{
		"proven":              {func(*leaving, *dct.Reader) {}, Holds, Holds, Holds, Holds, Holds},
		"not in the snapshot": {func(l *leaving, _ *dct.Reader) { delete(l.r.Archive.(kept), other) }, Holds, Holds, Holds, Holds, Holds},
		"the snapshot is damaged": {func(l *leaving, _ *dct.Reader) {
			l.r.Archive = troubled{l.r.Archive, other}
		}, Holds, Holds, Fails, Holds, Holds},
		"its image is trusted": {func(l *leaving, _ *dct.Reader) {
			l.r.Verification.Judge.(described).judge.(verdicts)[of("v9")] = saying(Verdict{Signatures: 1, Trusted: true})
		}, Holds, Fails, Holds, Holds, Holds},
		"of its image nobody knows": {func(l *leaving, _ *dct.Reader) {
			l.r.Verification.Judge.(described).judge.(verdicts)[of("v9")] = func() (Verdict, error) { return Verdict{}, errors.New("429") }
		}, NotTold, Holds, Holds, Holds, Holds},
		"no changefeed tells":    {func(_ *leaving, r *dct.Reader) { r.Listing = nil }, NotTold, Holds, Holds, Holds, NotTold},
		"the changefeed has it":  {func(_ *leaving, r *dct.Reader) { r.Listing = listedAs(other, dct.Listing{By: feed}) }, NotTold, Holds, Holds, Holds, NotTold},
		"without a ledger":       {func(l *leaving, _ *dct.Reader) { l.r.Verification.Record = nil }, NotTold, Holds, Holds, Holds, NotTold},
		"the server has trouble": {func(l *leaving, r *dct.Reader) { l.r.Verification.Trust = troubled{r, other} }, NotTold, Holds, Holds, Holds, NotTold},
		"tags cannot be listed": {func(l *leaving, _ *dct.Reader) {
			l.r.Verification.Registry = tagsOf{l, scenetest.App, errors.New("404")}
		}, NotTold, Holds, Holds, Holds, NotTold},
		"it is back meanwhile": {func(l *leaving, _ *dct.Reader) { l.feed(dct.Changed{GUN: other}) }, Holds, Holds, Holds, NotTold, Holds},
	} {
		l := newLeaving(t)
		l.Put("v9")
		delete(l.Tagged, "v9")
		l.feed(dct.Changed{GUN: other, Deleted: true})
		reader := l.Trust()
		reader.Listing = listedAs(other, dct.Listing{By: feed, Deleted: true})
		l.r.Verification.Trust, l.r.Verification.Registry = reader, tagsOf{l, scenetest.App, nil}
		l.r.Archive.(kept)[other] = l.r.Archive.(kept)[scenetest.App]
		l.r.Verification.Record = recordOf(t, signedItem(scenetest.App, scenetest.App, of("v1"), "v1"), signedItem(other, other, of("v9"), "v9"))
		c.change(l, reader)
		gates := l.assess(scenetest.App, other)
		for id, want := range map[string]GateState{gateCompared: c.compared, gateAgreed: c.agreed, gateArchived: c.archived, gateListed: c.listed, gateQuiet: c.quiet} {
			if got := gates[id]; got.State != want {
				t.Errorf("%s: gate %s: got %s, want %s: %q", name, id, got.State, want, got.Evidence)
			}
		}
		absent := c.quiet == NotTold && name != "the server has trouble"
		if got := gates[gateQuiet].Hint; strings.Contains(got, "not-compared") != absent {
			t.Errorf("%s: hint of quiet: got %q, want not-compared in it: %t", name, got, absent)
		}
		if got := gates[gateCompared].Hint; strings.Contains(got, "not-compared") != absent {
			t.Errorf("%s: hint of compared: got %q, want not-compared in it: %t", name, got, absent)
		}
	}
}

func listedAs(name string, says dct.Listing) func(dct.GUN) dct.Listing {
	return func(gun dct.GUN) dct.Listing {
		if gun.String() != name {
			return dct.Listing{}
		}
		return says
	}
}

// tagsOf lists the tags of one repository. The others have none, or their tags cannot be listed.
type tagsOf struct {
	migrate.ReadRegistry
	name string
	err  error
}

func (r tagsOf) Tags(ctx context.Context, repository string, each func(string) error) error {
	if repository == r.name {
		return r.ReadRegistry.Tags(ctx, repository, each)
	}
	return r.err
}

// Each class of a row needs a waiver of its own. If anything of the row is unknown, no waiver is
// enough.
func TestEachClassNeedsItsOwnWaiver(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		waived          []Class
		unknown         bool
		agreed, compare GateState
	}{
		"neither":                  {nil, false, Fails, Holds},
		"the one":                  {[]Class{Moved}, false, Fails, Holds},
		"the other":                {[]Class{DCTOnly}, false, Fails, Holds},
		"both":                     {[]Class{Moved, DCTOnly}, false, Holds, Holds},
		"both, and a doubt beside": {[]Class{Moved, DCTOnly}, true, Holds, NotTold},
	} {
		l := newLeaving(t)
		l.move("v2")
		judge := l.r.Verification.Judge.(described).judge.(verdicts)
		judge[of("v2")] = saying(Verdict{})
		if c.unknown {
			judge[digest.FromString("elsewhere")] = saying(Verdict{Signatures: 1, Doubt: Unknown, Reason: "asked"})
		}
		for _, class := range c.waived {
			l.waive(Waiver{Repository: scenetest.App, Tag: "v2", Class: class})
		}
		gates := l.assess(scenetest.App)
		if got := gates[gateAgreed]; got.State != c.agreed {
			t.Errorf("%s waived: agreed: got %s, want %s: %q", name, got.State, c.agreed, got.Evidence)
		}
		if got := gates[gateCompared]; got.State != c.compare {
			t.Errorf("%s waived: compared: got %s, want %s: %q", name, got.State, c.compare, got.Evidence)
		}
	}
}

// An image that no tag points to is waived by its digest, not by a decision about the whole
// repository.
func TestWaiverOfAnImageWithoutATag(t *testing.T) {
	t.Parallel()
	withdrawn := of("withdrawn")
	for tag, want := range map[string]GateState{withdrawn.String(): Holds, "": Fails, "withdrawn": Fails} {
		l := newLeaving(t)
		l.Images[withdrawn] = ocispec.Descriptor{Digest: withdrawn, Size: 1}
		l.r.Verification.Judge.(described).judge.(verdicts)[withdrawn] = saying(Verdict{Signatures: 1, Trusted: true})
		l.r.Verification.Record = recordOf(t, signedItem(scenetest.App, scenetest.App, withdrawn, "withdrawn"))
		l.waive(Waiver{Repository: scenetest.App, Tag: tag, Class: NotationOnly})
		if got := l.assess(scenetest.App)[gateAgreed]; got.State != want {
			t.Errorf("waived as %q: got %s, want %s: %q", tag, got.State, want, got.Evidence)
		}
	}
}

// If the server does not publish its list by design, people may provide a file: recent, with its
// SHA-256, and with nothing that was not compared. In no other case.
func TestListedByAFile(t *testing.T) {
	t.Parallel()
	const week = 7 * 24 * time.Hour
	refused := fmt.Errorf("reading the changefeed: %w: it answered 401", dct.ErrFeedRefused)
	for name, c := range map[string]struct {
		change func(*leaving, *Tick)
		want   GateState
	}{
		"as it should be":           {func(*leaving, *Tick) {}, Holds},
		"seven days old":            {func(l *leaving, t *Tick) { t.Date = l.r.Now.Add(-week) }, Holds},
		"older":                     {func(l *leaving, t *Tick) { t.Date = l.r.Now.Add(-week - time.Nanosecond) }, NotTold},
		"of Azure":                  {func(l *leaving, _ *Tick) { l.r.Products = []string{ACR} }, Holds},
		"of Harbor":                 {func(l *leaving, _ *Tick) { l.r.Products = []string{Harbor} }, Holds},
		"of a server of one's own":  {func(l *leaving, _ *Tick) { l.r.Products = []string{SelfHosted} }, NotTold},
		"of MSR":                    {func(l *leaving, _ *Tick) { l.r.Products = []string{MSR} }, NotTold},
		"of Hub, beside one's own":  {func(l *leaving, _ *Tick) { l.r.Products = []string{DockerHub, SelfHosted} }, NotTold},
		"of nobody":                 {func(l *leaving, _ *Tick) { l.r.Products = nil }, NotTold},
		"one more was not compared": {func(_ *leaving, t *Tick) { t.Repositories = append(t.Repositories, "registry.example.com/web") }, Fails},
		"one more, which is waived": {func(l *leaving, t *Tick) {
			t.Repositories = append(t.Repositories, "registry.example.com/web")
			l.waive(Waiver{Repository: "registry.example.com/web", Class: NotCompared})
		}, Holds},
		"not refused, but in trouble": {func(l *leaving, _ *Tick) {
			l.r.Feed = func(context.Context) ([]dct.Changed, error) { return nil, errors.New("it answered 503") }
		}, NotTold},
		"refused by one, and named by another": {func(l *leaving, _ *Tick) {
			l.r.Feed = func(context.Context) ([]dct.Changed, error) {
				return []dct.Changed{{GUN: "registry.example.com/web"}}, refused
			}
		}, Fails},
		"refused by two, and listed for one": {func(l *leaving, t *Tick) {
			l.r.Products = []string{ACR, DockerHub}
			l.also("team.azurecr.io/web")
		}, NotTold},
		"refused by two, and listed for both": {func(l *leaving, t *Tick) {
			l.r.Products = []string{ACR, DockerHub}
			l.also("team.azurecr.io/web")
			t.Repositories = append(t.Repositories, "team.azurecr.io/web")
		}, Holds},
		"refused by two, and listed for each": {func(l *leaving, t *Tick) {
			l.r.Products = []string{ACR, DockerHub}
			l.also("team.azurecr.io/web")
			other := *t
			other.Repositories = []string{"team.azurecr.io/web"}
			l.r.Decisions.Ticks = append(l.r.Decisions.Ticks, other)
		}, Holds},
		"refused by two, and listed for one too long ago": {func(l *leaving, t *Tick) {
			l.r.Products = []string{ACR, DockerHub}
			l.also("team.azurecr.io/web")
			other := *t
			other.Repositories, other.Date = []string{"team.azurecr.io/web"}, l.r.Now.Add(-week-time.Hour)
			l.r.Decisions.Ticks = append(l.r.Decisions.Ticks, other)
		}, NotTold},
		"refused by one, and answered by the other": {func(l *leaving, _ *Tick) {
			l.also("team.azurecr.io/web")
			l.r.Feed = func(context.Context) ([]dct.Changed, error) {
				return []dct.Changed{{GUN: "team.azurecr.io/web"}}, refused
			}
		}, Holds},
		"nobody asked": {func(l *leaving, _ *Tick) { l.r.Feed = nil }, NotTold},
		"another tick": {func(_ *leaving, t *Tick) { *t = Tick{Check: "clients", By: "Jane", Date: t.Date} }, NotTold},
	} {
		l := newLeaving(t)
		l.r.Products = []string{DockerHub}
		l.r.Feed = func(context.Context) ([]dct.Changed, error) { return nil, refused }
		tick := Tick{Check: gateListed, By: "Jane", Date: l.r.Now.Add(-time.Hour), File: "all.txt", SHA256: strings.Repeat("a", 64), Repositories: []string{scenetest.App}}
		c.change(l, &tick)
		l.r.Decisions.Ticks = append(l.r.Decisions.Ticks, tick)
		l.Must(l.r.Decisions.Check(l.r.Now))
		if got := l.assess(append([]string{scenetest.App}, l.more...)...)[gateListed]; got.State != c.want {
			t.Errorf("%s: got %s, want %s: %q", name, got.State, c.want, got.Evidence)
		}
	}
	bare := Decisions{Ticks: []Tick{{Check: gateListed, By: "Jane", Date: time.Now()}}}
	if err := bare.Check(time.Now()); err == nil || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("listed without a file: got %v, want an error that asks for it", err)
	}
}
