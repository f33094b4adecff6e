package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/testing/scenetest"
	"github.com/dct2notation/dct2notation/state"
)

func platforms(e *Engine) { e.AllPlatforms = true }

// multi is a scene in which DCT names another image, and an index of two images and an attestation.
type multi struct {
	*scene
	*scenetest.Platforms
}

func newMulti(t *testing.T) *multi {
	t.Helper()
	s := newScene(t)
	return &multi{s, s.PublishPlatforms()}
}

// have checks how many signatures the images have.
func (m *multi) have(want int, images ...ocispec.Descriptor) {
	m.T.Helper()
	for _, d := range images {
		if n := len(m.signatures[d.Digest]); n != want {
			m.T.Errorf("%s: got %d signatures, want %d", d.Digest, n, want)
		}
	}
}

// By default only what DCT names is signed. With AllPlatforms, every platform is signed, once.
func TestImagesOfAnIndexAreSignedWhereThatIsWanted(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	summary, _ := m.runs(nil)
	m.want(summary, map[Result]int{ResultSigned: 2})
	m.have(0, m.AMD64, m.ARM64)
	summary, outcomes := m.runs(platforms)
	m.want(summary, map[Result]int{ResultSigned: 2, ResultAlready: 2})
	m.have(1, m.List, m.AMD64, m.ARM64)
	m.have(0, m.Attestation)
	for _, o := range outcomes {
		isChild := o.Digest == m.AMD64.Digest.String() || o.Digest == m.ARM64.Digest.String()
		if isChild != (len(o.Index) == 1 && o.Index[0] == m.List.Digest.String() && strings.HasPrefix(o.Platform, "linux/a") && len(o.Tags) == 0) {
			t.Errorf("got %+v, want index %s and a platform only of its children", o, m.List.Digest)
		}
		if noted(o.Notes, "attestations") != (o.Digest == m.List.Digest.String()) {
			t.Errorf("%s: got notes %v, want attestations only of %s", o.Digest, o.Notes, m.List.Digest)
		}
	}
	signed := m.signed[m.signatures[m.ARM64.Digest][0]]
	want := map[string]string{
		MetadataGUN: App, MetadataTool: "test/1", MetadataRootKeys: strings.Join(m.Repo.RootKeyIDs(), ","), MetadataIndex: m.List.Digest.String(),
	}
	if fmt.Sprint(signed) != fmt.Sprint(want) {
		t.Errorf("metadata: got %v, want %v", signed, want)
	}
	l, err := state.Open(m.ledger, state.Options{})
	m.Must(err)
	it, _, err := l.Item(state.Key{Repository: App, Digest: m.ARM64.Digest.String(), KeyName: "release"})
	m.Must(err)
	m.Must(l.Close())
	if len(it.Tags) != 0 || !slices.Equal(it.Indexes, []string{m.List.Digest.String()}) || it.Stage != state.Confirmed {
		t.Errorf("in the ledger: got %+v, want no tags, index %s, stage %s", it, m.List.Digest, state.Confirmed)
	}
	for _, ledger := range []string{m.ledger, m.ledger + ".new"} {
		m.scene.ledger = ledger
		for _, option := range []func(*Engine){platforms, func(e *Engine) { e.AllPlatforms, e.Rebind = true, true }} {
			summary, _ := m.runs(option)
			m.want(summary, map[Result]int{ResultAlready: 4})
		}
	}
	if len(m.operations) != 4 {
		t.Errorf("got %d key operations, want 4", len(m.operations))
	}
}

// An image is signed once if several indexes list it, if DCT names it as well, or if it is listed
// through another index.
func TestSharedAndNestedImagesAreSignedOnce(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	s390x := m.Image("s390x", "s390x")
	inner := m.Index(s390x, m.ARM64)
	second := m.Index(m.AMD64, inner)
	m.SignTag("v2", second)
	m.SignTag("v1-arm64", m.ARM64)
	summary, outcomes := m.runs(platforms)
	m.want(summary, map[Result]int{ResultSigned: 7}) // plain, two indexes, inner, three images
	m.have(1, m.List, second, inner, m.AMD64, m.ARM64, s390x)
	if len(m.operations) != 7 {
		t.Errorf("got %d key operations, want 7", len(m.operations))
	}
	both := []string{m.List.Digest.String(), second.Digest.String()}
	slices.Sort(both)
	metadata := func(d ocispec.Descriptor) map[string]string { return m.signed[m.signatures[d.Digest][0]] }
	if got := metadata(m.AMD64)[MetadataIndex]; got != strings.Join(both, ",") {
		t.Errorf("shared: got %s, want %s", got, strings.Join(both, ","))
	}
	if got := metadata(s390x)[MetadataIndex]; got != second.Digest.String() {
		t.Errorf("nested: got %s, want %s", got, second.Digest)
	}
	if got := metadata(m.ARM64); got[MetadataIndex] != "" || got[MetadataTag+"v1-arm64"] != "targets" {
		t.Errorf("named by DCT itself: got %v, want no index, and v1-arm64 of targets", got)
	}
	if len(outcomes) != 7 {
		t.Errorf("got %d outcomes, want 7", len(outcomes))
	}
}

// Promise 1, of the images of an index: an image is signed only if the bytes whose digest DCT names
// list it, and as they list it.
func TestNeverASignatureThatDCTDidNotVouchFor_OfAnIndex(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	evil := m.Image("evil", "amd64")
	m.SignTag("v1-arm64", m.ARM64)
	outside := m.Index(evil, m.AMD64)
	inner := m.Index(evil)
	below := m.Index(m.AMD64)
	between := m.Index(below)
	deep := m.Index(between)
	m.SignTag("deep", deep)
	r, err := m.Trust().Read(context.Background(), m.GUNs(App)[0], dct.Known{})
	m.Must(err)
	e := &Engine{Keys: []Key{{Signer: m}}}
	target := func(tag string) dct.Target {
		i := slices.IndexFunc(r.Targets(), func(t dct.Target) bool { return t.Tag() == tag })
		return r.Targets()[i]
	}
	raw := m.Manifests[m.List.Digest]
	other := func(d ocispec.Descriptor, change func(*ocispec.Descriptor)) ocispec.Descriptor { change(&d); return d }
	for name, c := range map[string]struct {
		image   ocispec.Descriptor
		targets []dct.Target
		chains  []indexPath
	}{
		"an image that the bytes do not list":    {evil, []dct.Target{target("v1")}, []indexPath{{raw}}},
		"the bytes of another index":             {evil, []dct.Target{target("v1")}, []indexPath{{m.Manifests[outside.Digest]}}},
		"bytes of that index and of another":     {m.AMD64, []dct.Target{target("v1")}, []indexPath{{raw}, {m.Manifests[outside.Digest]}}},
		"no bytes":                               {m.AMD64, []dct.Target{target("v1")}, []indexPath{{}}},
		"trailing data":                          {m.AMD64, []dct.Target{target("v1")}, []indexPath{{append(slices.Clone(raw), ' ')}}},
		"a target of the image's own digest":     {m.ARM64, []dct.Target{target("v1-arm64")}, []indexPath{{raw}}},
		"a target of another digest beside it":   {m.AMD64, []dct.Target{target("v1"), target("plain")}, []indexPath{{raw}}},
		"the index itself":                       {m.List, []dct.Target{target("v1")}, []indexPath{{raw}}},
		"another index below, which none lists":  {evil, []dct.Target{target("v1")}, []indexPath{{raw, m.Manifests[inner.Digest]}}},
		"a chain that is too long":               {m.AMD64, []dct.Target{target("deep")}, []indexPath{{m.Manifests[deep.Digest], m.Manifests[between.Digest], m.Manifests[below.Digest]}}},
		"another size":                           {other(m.AMD64, func(d *ocispec.Descriptor) { d.Size++ }), []dct.Target{target("v1")}, []indexPath{{raw}}},
		"another media type":                     {other(m.AMD64, func(d *ocispec.Descriptor) { d.MediaType = "application/x" }), []dct.Target{target("v1")}, []indexPath{{raw}}},
		"no target":                              {m.AMD64, nil, []indexPath{{raw}}},
		"the zero target":                        {m.AMD64, []dct.Target{{}}, []indexPath{{raw}}},
		"an image that is listed, without bytes": {m.AMD64, []dct.Target{target("v1")}, nil},
	} {
		w := Work{Targets: c.targets, chains: c.chains, listed: &c.image, key: &e.Keys[0]}
		if _, err := w.vouch(context.Background(), c.image, e.now(), e.Tool); err == nil {
			t.Errorf("%s: got no error, want it refused", name)
		}
	}
	good := Work{Targets: []dct.Target{target("v1")}, chains: []indexPath{{raw}}, listed: &m.AMD64, key: &e.Keys[0]}
	stranger := good
	stranger.key = &Key{Signer: e.Keys[0].Signer, Roles: []string{"targets/alice"}}
	if _, err := stranger.vouch(context.Background(), m.AMD64, e.now(), e.Tool); err == nil {
		t.Error("a key of another role: got no error, want it refused")
	}
	e.Now = func() time.Time { return time.Now().Add(30 * 24 * time.Hour) }
	if _, err := good.vouch(context.Background(), m.AMD64, e.now(), e.Tool); !errors.Is(err, dct.ErrExpired) {
		t.Errorf("expired: got %v, want %v", err, dct.ErrExpired)
	}
	if len(m.operations) != 0 {
		t.Errorf("got %d key operations, want none", len(m.operations))
	}
	e.Now = nil
	if _, err := good.vouch(context.Background(), m.AMD64, e.now(), e.Tool); err != nil {
		t.Errorf("the good one: got %v, want no error", err)
	}
}

// Promise 1: bytes that two readers could read in two ways vouch for nothing, although DCT names
// their digest. Neither the index nor an image is signed.
func TestAmbiguousIndexIsNotSigned(t *testing.T) {
	t.Parallel()
	entry := func(name string) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":100}`, ocispec.MediaTypeImageManifest, digest.FromString("image "+name))
	}
	for name, text := range map[string]string{
		"a key twice":                    `{"schemaVersion":2,"manifests":[` + entry("evil") + `],"manifests":[` + entry("good") + `]}`,
		"a key twice, escaped":           `{"schemaVersion":2,"manifests":[` + entry("evil") + `],"manifest\u0073":[` + entry("good") + `]}`,
		"a key twice, below":             `{"schemaVersion":2,"manifests":[{"size":1,` + entry("good")[1:] + `]}`,
		"a key in another case":          `{"schemaVersion":2,"manifests":[` + entry("good") + `],"Manifests":[` + entry("evil") + `]}`,
		"a key in another case, below":   `{"schemaVersion":2,"manifests":[{"Digest":"` + digest.FromString("image evil").String() + `",` + entry("good")[1:] + `]}`,
		"data behind it":                 `{"schemaVersion":2,"manifests":[` + entry("good") + `]}{}`,
		"an image manifest as well":      `{"schemaVersion":2,"config":{},"layers":[],"manifests":[` + entry("good") + `]}`,
		"the type of another manifest":   `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","manifests":[` + entry("good") + `]}`,
		"another schema":                 `{"schemaVersion":1,"manifests":[` + entry("good") + `]}`,
		"no list":                        `{"schemaVersion":2}`,
		"a list of null":                 `{"schemaVersion":2,"manifests":[null]}`,
		"no size":                        `{"schemaVersion":2,"manifests":[` + strings.Replace(entry("good"), "100", "0", 1) + `]}`,
		"no digest":                      `{"schemaVersion":2,"manifests":[` + strings.Replace(entry("good"), "sha256:", "sha256:zz", 1) + `]}`,
		"another kind of digest":         `{"schemaVersion":2,"manifests":[` + strings.Replace(entry("good"), digest.FromString("image good").String(), digest.SHA512.FromString("x").String(), 1) + `]}`,
		"an image twice, differently":    `{"schemaVersion":2,"manifests":[` + entry("good") + `,` + strings.Replace(entry("good"), "100", "101", 1) + `]}`,
		"bad UTF-8":                      "{\"schemaVersion\":2,\"x\":\"\xff\",\"manifests\":[" + entry("good") + `]}`,
		"too many":                       `{"schemaVersion":2,"manifests":[` + strings.Repeat(entry("good")+",", maxMembers) + entry("good") + `]}`,
		"nested beyond what is read":     `{"schemaVersion":2,"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `,"manifests":[` + entry("good") + `]}`,
		"a platform that is no platform": `{"schemaVersion":2,"manifests":[{"platform":5,` + entry("good")[1:] + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			m := &multi{s, s.PublishPlain()}
			good, evil := m.Image("good", "amd64"), m.Image("evil", "amd64")
			index := m.Bytes(ocispec.MediaTypeImageIndex, []byte(text))
			m.SignTag("v1", index)
			summary, _ := m.runs(platforms)
			m.want(summary, map[Result]int{ResultSigned: 1, ResultFailed: 1})
			m.have(0, good, evil, index)
			if len(m.operations) != 1 || summary.Complete() {
				t.Errorf("got %d key operations, summary %+v, want 1, incomplete", len(m.operations), summary)
			}
			m.runs(nil) // without AllPlatforms, only the index is signed, as DCT names it
			m.have(1, index)
		})
	}
}

// An image that the registry describes differently from the index is not signed.
func TestImageThatIsNotAsListedIsNotSigned(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	m.Images[m.ARM64.Digest] = ocispec.Descriptor{MediaType: "application/vnd.docker.distribution.manifest.v2+json", Digest: m.ARM64.Digest, Size: 100}
	summary, _ := m.runs(platforms)
	m.want(summary, map[Result]int{ResultSigned: 3, ResultFailed: 1})
	m.have(0, m.ARM64)
	if summary.Failed[failure.Security] != 1 {
		t.Errorf("got %+v, want one failed with %s", summary, failure.Security)
	}
}

// Promise 4: if an index cannot be listed, what to sign is unknown. The run is incomplete, and the
// next one does the rest.
func TestIndexThatCannotBeListedIsReported(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{false, true} {
		m := newMulti(t)
		if before {
			m.runs(nil) // the ledger has the index as done
		}
		broken := func(d digest.Digest) (bool, error) {
			if d == m.List.Digest {
				return false, failure.New(failure.Throttled, errors.New("429"))
			}
			return true, nil
		}
		m.Faults["manifest"] = broken
		m.mutate = platforms
		p := m.plan(App)
		summary, _ := m.runs(platforms)
		if summary.Failed[failure.Throttled] != 1 || summary.Complete() || len(m.signatures[m.ARM64.Digest]) != 0 {
			t.Errorf("got %+v, %d signatures, want incomplete, one failed with %s, no signature", summary, len(m.signatures[m.ARM64.Digest]), failure.Throttled)
		}
		m.Heal()
		for _, it := range p.Repositories[0].Items {
			if (it.Action == ActionUnknown) != (it.Digest == m.List.Digest.String()) {
				t.Errorf("plan: got %+v, want %s only of %s", it, ActionUnknown, m.List.Digest)
			}
		}
		// A run bound to that plan is incomplete as well.
		summary, _ = m.runs(func(e *Engine) { e.AllPlatforms, e.Plan = true, p })
		if summary.Skipped[failure.PlanUnknown] != 3 || summary.Complete() {
			t.Errorf("bound: got %+v, want incomplete, 3 %s", summary, failure.PlanUnknown)
		}
		summary, _ = m.runs(platforms)
		m.have(1, m.List, m.AMD64, m.ARM64)
		if !summary.Complete() {
			t.Errorf("healed: got %+v, want it complete", summary)
		}
	}
}

// An image that the registry has lost is missing, and the others are signed. A missing index is
// reported on its own.
func TestMissingImageOfAnIndex(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	delete(m.Images, m.ARM64.Digest)
	summary, outcomes := m.runs(platforms)
	m.want(summary, map[Result]int{ResultSigned: 3, ResultSkipped: 1})
	if summary.Skipped[failure.Missing] != 1 || !summary.Complete() || !slices.ContainsFunc(outcomes, func(o Outcome) bool { return o.Class == failure.Missing && o.Platform == "linux/arm64" }) {
		t.Errorf("got %+v, outcomes %+v, want complete, with linux/arm64 as the one %s", summary, outcomes, failure.Missing)
	}
	m = newMulti(t)
	delete(m.Images, m.List.Digest)
	summary, _ = m.runs(platforms)
	m.want(summary, map[Result]int{ResultSigned: 1, ResultSkipped: 1})
}

// A 404 does not leave out what an index lists. If the registry has described the index that DCT
// names, nothing of it is signed. An index below it fails alone, and no other image does. Neither
// run is complete.
func TestIndexThatIsNamedAndNotThereIsUnknown(t *testing.T) {
	t.Parallel()
	gone := func(of ocispec.Descriptor) func(digest.Digest) (bool, error) {
		return func(d digest.Digest) (bool, error) {
			if d == of.Digest {
				return false, failure.New(failure.Missing, &lookup.AbsentError{By: lookup.Registry, Err: errors.New("MANIFEST_UNKNOWN")})
			}
			return true, nil
		}
	}
	m := newMulti(t)
	m.Faults["manifest"] = gone(m.List)
	summary, _ := m.runs(platforms)
	if summary.Failed[failure.Permanent] != 1 || summary.Complete() || len(m.signatures[m.List.Digest])+len(m.signatures[m.ARM64.Digest]) != 0 {
		t.Errorf("the index that DCT names: got %+v, want incomplete, one failed with %s, no signature", summary, failure.Permanent)
	}
	m = newMulti(t)
	asked := 0 // for the index: what it lists stays unknown although the second answer is good
	m.Faults["resolve"] = func(d digest.Digest) (bool, error) {
		if d == m.List.Digest {
			if asked++; asked == 1 {
				return false, failure.New(failure.Permanent, errors.New("404"))
			}
		}
		return true, nil
	}
	summary, _ = m.runs(platforms)
	if summary.Failed[failure.Permanent] != 1 || summary.Complete() || len(m.signatures[m.ARM64.Digest]) != 0 {
		t.Errorf("a 404 of a moment for the index: got %+v, want incomplete, one failed with %s, no signature", summary, failure.Permanent)
	}
	for _, before := range []string{"", "sign"} { // the index is signed anew, or an envelope for it was left
		m = newMulti(t)
		if before != "" {
			m.Faults["push"] = func(d digest.Digest) (bool, error) { return false, failure.New(failure.Permanent, errors.New("403")) }
			m.runs(nil)
			m.Heal()
		}
		asked = 0
		m.Faults["resolve"] = func(d digest.Digest) (bool, error) {
			if d == m.List.Digest {
				if asked++; asked == 1 {
					return gone(m.List)(d)
				}
			}
			return true, nil
		}
		m.mutate = platforms
		if before == "" {
			if it := m.plan(App).Repositories[0].Items; !slices.ContainsFunc(it, func(it PlanItem) bool { return it.Digest == m.List.Digest.String() && it.Action == ActionUnknown }) {
				t.Errorf("absent of a moment for the index, plan: got %+v, want %s of %s", it, ActionUnknown, m.List.Digest)
			}
			asked = 0
		}
		summary, _ = m.runs(platforms)
		if summary.Failed[failure.Permanent] != 1 || summary.Complete() || len(m.signatures[m.List.Digest])+len(m.signatures[m.ARM64.Digest]) != 0 {
			t.Errorf("absent of a moment for the index, %q before: got %+v, want incomplete, one failed with %s, no signature", before, summary, failure.Permanent)
		}
		m.Heal()
		if summary, _ = m.runs(platforms); !summary.Complete() {
			t.Errorf("absent of a moment, healed: got %+v, want it complete", summary)
		}
		m.have(1, m.List, m.AMD64, m.ARM64)
	}
	m = newMulti(t)
	below := m.Index(m.Image("s390x", "s390x"))
	outer := m.Index(m.AMD64, below)
	m.SignTag("v2", outer)
	m.Faults["manifest"] = gone(below)
	summary, outcomes := m.runs(platforms)
	if summary.Failed[failure.Permanent] != 1 || summary.Complete() || !slices.ContainsFunc(outcomes, func(o Outcome) bool { return o.Digest == below.Digest.String() && o.Result == ResultFailed }) {
		t.Errorf("an index below: got %+v, %+v, want incomplete, %s failed with %s", summary, outcomes, below.Digest, failure.Permanent)
	}
	m.have(1, outer, m.AMD64, m.ARM64)
	m.have(0, below)
	m.Heal()
	if summary, _ = m.runs(platforms); !summary.Complete() {
		t.Errorf("healed: got %+v, want it complete", summary)
	}
	m.have(1, below)
}

// A plan lists the images of an index and limits a run to them.
func TestPlanBoundsTheImagesOfAnIndex(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	m.mutate = platforms
	p := m.plan(App)
	found := map[string]PlanItem{}
	for _, it := range p.Repositories[0].Items {
		found[it.Digest] = it
	}
	if it := found[m.ARM64.Digest.String()]; it.Action != ActionSign || !slices.Equal(it.Index, []string{m.List.Digest.String()}) || it.Platform != "linux/arm64" || it.Tags == nil || len(it.Tags) != 0 || it.Size != 100 {
		t.Errorf("planned: got %+v, want %s of index %s for linux/arm64, with no tags and size 100", it, ActionSign, m.List.Digest)
	}
	if len(found) != 4 || !noted(found[m.List.Digest.String()].Notes, "attestations") {
		t.Errorf("planned: got %+v, want 4, and attestations noted of %s", found, m.List.Digest)
	}
	raw, err := json.Marshal(p)
	m.Must(err)
	if len(m.operations) != 0 || strings.Contains(string(raw), `"tags":null`) {
		t.Errorf("got %d key operations, plan %s, want none, and tags that are not null", len(m.operations), raw)
	}
	if p.Platforms != "all" {
		t.Errorf("got a plan of platforms %q, want all", p.Platforms)
	}
	// The plan is for AllPlatforms: a run without it is refused.
	if p.Check(&Engine{Keys: []Key{{Signer: m}}}) == nil {
		t.Error("a run of the indexes alone: got no error, want it refused")
	}
	m.Must(p.Check(&Engine{Keys: []Key{{Signer: m}}, AllPlatforms: true}))
	// Since the review, a second index was added. It lists a new image and a planned one.
	s390x := m.Image("s390x", "s390x")
	m.SignTag("v2", m.Index(s390x, m.AMD64))
	bound := func(change func(*Plan)) Summary {
		t.Helper()
		var changed Plan
		m.Must(json.Unmarshal(raw, &changed))
		change(&changed)
		summary, outcomes := m.runs(func(e *Engine) { e.AllPlatforms, e.Plan = true, &changed })
		i := slices.IndexFunc(outcomes, func(o Outcome) bool { return o.Digest == m.AMD64.Digest.String() })
		notes := strings.Join(outcomes[i].Notes, "\n")
		if strings.Count(notes, "plan-changed") != 1 || !strings.Contains(notes, "as listed by index "+m.Tagged["v2"].String()) {
			t.Errorf("got notes %q, want one on the index that is not in the plan", notes)
		}
		return summary
	}
	at := func(p *Plan, d ocispec.Descriptor) *PlanItem {
		i := slices.IndexFunc(p.Repositories[0].Items, func(it PlanItem) bool { return it.Digest == d.Digest.String() })
		return &p.Repositories[0].Items[i]
	}
	summary := bound(func(p *Plan) {
		at(p, m.ARM64).Index = []string{m.Attestation.Digest.String()}
		at(p, m.List).Action = ActionSkip
	})
	if summary.Skipped[failure.NotPlanned] != 5-1 { // arm64, index, v2, s390x
		t.Errorf("got %+v, want 4 %s", summary, failure.NotPlanned)
	}
	m.have(0, m.ARM64, m.List, s390x)
	m.have(1, m.AMD64)
	if got := m.signed[m.signatures[m.AMD64.Digest][0]][MetadataIndex]; got != m.List.Digest.String() {
		t.Errorf("got index %s, want the one of the plan, %s", got, m.List.Digest)
	}
	summary = bound(func(*Plan) {})
	if summary.Skipped[failure.NotPlanned] != 2 {
		t.Errorf("got %+v, want 2 %s", summary, failure.NotPlanned)
	}
	m.have(1, m.ARM64, m.AMD64, m.List)
	m.have(0, s390x)
}

// Promise 3, of the images of an index.
func TestImagesOfAnIndexAreCutAndResumed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step       string
		happens    bool
		operations int
	}{
		"before the look":     {"find", false, 4},
		"before the push":     {"push", false, 4},
		"after the push":      {"push", true, 4},
		"at the confirmation": {"listed", false, 4},
		"at the key":          {"sign", false, 5},
	} {
		m := newMulti(t)
		m.BreakFor(c.step, "arm64", c.happens, failure.New(failure.Permanent, errors.New("cut")))
		summary, _ := m.runs(platforms)
		m.want(summary, map[Result]int{ResultSigned: 3, ResultFailed: 1})
		m.Heal()
		m.runs(platforms)
		m.have(1, m.List, m.AMD64, m.ARM64)
		if len(m.operations) != c.operations {
			t.Errorf("%s: got %d key operations, want %d", name, len(m.operations), c.operations)
		}
	}
	m := newMulti(t)
	m.runs(platforms)
	m.Must(os.Remove(m.ledger))
	summary, _ := m.runs(platforms)
	m.want(summary, map[Result]int{ResultAlready: 4})
}

// Indexes nested below indexes are followed only to a limit.
func TestDeeplyNestedIndexIsNotSigned(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	m.SignTag("deep", m.Index(m.Index(m.Index(m.AMD64))))
	summary, outcomes := m.runs(platforms)
	if summary.Failed[failure.Permanent] != 1 || !slices.ContainsFunc(outcomes, func(o Outcome) bool { return strings.Contains(o.Reason, "--platforms index") }) {
		t.Errorf("got %+v, outcomes %+v, want one failed with %s and a hint at --platforms index", summary, outcomes, failure.Permanent)
	}
}

// The ledger does not vouch: the bytes are read anew, and a forged item signs nothing.
func TestForgedImageOfAnIndexSignsNothing(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	evil := m.Image("evil", "amd64")
	l, err := state.Open(m.ledger, state.Options{})
	m.Must(err)
	_, err = l.Plan([]state.Item{{Key: state.Key{Repository: App, Digest: evil.Digest.String(), KeyName: "release"}, GUN: App, Indexes: []string{m.List.Digest.String()}}})
	m.Must(err)
	m.Must(l.Close())
	m.runs(platforms)
	m.have(0, evil)
}

// The first signal ends the listing of a repository's indexes.
func TestDrainEndsTheListing(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	stop := make(chan struct{})
	close(stop)
	r, err := m.Trust().Read(context.Background(), m.GUNs(App)[0], dct.Known{})
	m.Must(err)
	e := &Engine{Registry: m, Keys: []Key{{Signer: m}}, Workers: 1, AllPlatforms: true}
	work, err := gather(e.Scope, e.Keys, r)
	m.Must(err)
	read := &reading{Repository: r, work: work, place: App}
	if err := read.expand(context.Background(), stop, e.Registry, e.Workers*perWorker); !errors.Is(err, errDrained) {
		t.Errorf("got error %v, want %v", err, errDrained)
	}
}
