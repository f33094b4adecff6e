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
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/state"
)

func platforms(e *Engine) { e.AllPlatforms = true }

// index makes an index of members in the registry, whose bytes have its digest.
func (w *world) index(members ...ocispec.Descriptor) ocispec.Descriptor {
	raw, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: members})
	if err != nil {
		panic(err)
	}
	return w.bytes(ocispec.MediaTypeImageIndex, raw)
}

func (w *world) bytes(mediaType string, raw []byte) ocispec.Descriptor {
	w.mu.Lock()
	defer w.mu.Unlock()
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	w.images[desc.Digest], w.manifests[desc.Digest] = desc, raw
	return desc
}

// image makes an untagged image for a platform.
func (w *world) image(name, architecture string) ocispec.Descriptor {
	w.put(name)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.tags, name)
	desc := w.images[digest.FromString("image "+name)]
	desc.Platform = &ocispec.Platform{OS: "linux", Architecture: architecture}
	return desc
}

// multi is a scene in which DCT names an index of two images, an attestation and another
// image.
type multi struct {
	*scene
	repo                *notarytest.Repository
	index, amd64, arm64 ocispec.Descriptor
	attestation         ocispec.Descriptor
}

func newMulti(t *testing.T) *multi {
	t.Helper()
	m := &multi{scene: newScene(t)}
	m.repo = m.publish(app, "plain")
	m.amd64, m.arm64, m.attestation = m.image("amd64", "amd64"), m.image("arm64", "arm64"), m.image("attestation", "unknown")
	m.attestation.Platform.OS = "unknown"
	m.attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	m.index = m.world.index(m.amd64, m.arm64, m.attestation)
	m.name("v1", m.index)
	return m
}

// name gives a digest a tag, in DCT and in the registry.
func (m *multi) name(tag string, d ocispec.Descriptor) {
	m.t.Helper()
	m.tags[tag] = d.Digest
	m.must(m.repo.Sign(tag, d.Digest.Encoded(), d.Size))
	m.must(m.repo.Publish())
}

// have checks how many signatures the images have.
func (m *multi) have(want int, images ...ocispec.Descriptor) {
	m.t.Helper()
	for _, d := range images {
		if n := len(m.signatures[d.Digest]); n != want {
			m.t.Errorf("%s has %d signatures, want %d", d.Digest, n, want)
		}
	}
}

// The default signs what DCT names; all platforms are signed when that is asked for, once.
func TestImagesOfAnIndexAreSignedWhereThatIsWanted(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	summary, _ := m.runs(nil)
	m.want(summary, map[Result]int{ResultSigned: 2})
	m.have(0, m.amd64, m.arm64)
	summary, outcomes := m.runs(platforms)
	m.want(summary, map[Result]int{ResultSigned: 2, ResultAlready: 2})
	m.have(1, m.index, m.amd64, m.arm64)
	m.have(0, m.attestation)
	for _, o := range outcomes {
		isChild := o.Digest == m.amd64.Digest.String() || o.Digest == m.arm64.Digest.String()
		if isChild != (len(o.Index) == 1 && o.Index[0] == m.index.Digest.String() && strings.HasPrefix(o.Platform, "linux/a") && len(o.Tags) == 0) {
			t.Errorf("outcome %+v", o)
		}
		if noted(o.Notes, "attestations") != (o.Digest == m.index.Digest.String()) {
			t.Errorf("notes %+v", o)
		}
	}
	signed := m.signed[m.signatures[m.arm64.Digest][0]]
	want := map[string]string{
		MetadataGUN: app, MetadataTool: "test/1", MetadataRootKeys: strings.Join(m.repo.RootKeyIDs(), ","), MetadataIndex: m.index.Digest.String(),
	}
	if fmt.Sprint(signed) != fmt.Sprint(want) {
		t.Errorf("metadata %v, want %v", signed, want)
	}
	l, err := state.Open(m.ledger, state.Options{})
	m.must(err)
	it, _, err := l.Item(state.Key{Repository: app, Digest: m.arm64.Digest.String(), KeyName: "release"})
	m.must(err)
	m.must(l.Close())
	if len(it.Tags) != 0 || !slices.Equal(it.Indexes, []string{m.index.Digest.String()}) || it.Stage != state.Confirmed {
		t.Errorf("in the ledger %+v", it)
	}
	for _, ledger := range []string{m.ledger, m.ledger + ".new"} {
		m.scene.ledger = ledger
		for _, option := range []func(*Engine){platforms, func(e *Engine) { e.AllPlatforms, e.Rebind = true, true }} {
			summary, _ := m.runs(option)
			m.want(summary, map[Result]int{ResultAlready: 4})
		}
	}
	if len(m.operations) != 4 {
		t.Errorf("%d key operations", len(m.operations))
	}
}

// An image that several indexes list, one that DCT names besides, and one that is listed
// through another index, are signed once each.
func TestSharedAndNestedImagesAreSignedOnce(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	s390x := m.image("s390x", "s390x")
	inner := m.world.index(s390x, m.arm64)
	second := m.world.index(m.amd64, inner)
	m.name("v2", second)
	m.name("v1-arm64", m.arm64)
	summary, outcomes := m.runs(platforms)
	m.want(summary, map[Result]int{ResultSigned: 7}) // plain, two indexes, inner, three images
	m.have(1, m.index, second, inner, m.amd64, m.arm64, s390x)
	if len(m.operations) != 7 {
		t.Errorf("%d key operations", len(m.operations))
	}
	both := []string{m.index.Digest.String(), second.Digest.String()}
	slices.Sort(both)
	metadata := func(d ocispec.Descriptor) map[string]string { return m.signed[m.signatures[d.Digest][0]] }
	if got := metadata(m.amd64)[MetadataIndex]; got != strings.Join(both, ",") {
		t.Errorf("shared: %s", got)
	}
	if got := metadata(s390x)[MetadataIndex]; got != second.Digest.String() {
		t.Errorf("nested: %s", got)
	}
	if got := metadata(m.arm64); got[MetadataIndex] != "" || got[MetadataTag+"v1-arm64"] != "targets" {
		t.Errorf("named by DCT itself: %v", got)
	}
	if len(outcomes) != 7 {
		t.Errorf("%d outcomes", len(outcomes))
	}
}

// Promise 1, of the images of an index: only what the bytes list whose digest DCT names, and
// as they list it.
func TestNeverASignatureThatDCTDidNotVouchFor_OfAnIndex(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	evil := m.image("evil", "amd64")
	m.name("v1-arm64", m.arm64)
	outside := m.world.index(evil, m.amd64)
	inner := m.world.index(evil)
	below := m.world.index(m.amd64)
	between := m.world.index(below)
	deep := m.world.index(between)
	m.name("deep", deep)
	r, err := m.trust().Read(context.Background(), m.guns(app)[0], dct.Known{})
	m.must(err)
	e := &Engine{Keys: []Key{{Signer: m}}}
	target := func(tag string) dct.Target {
		i := slices.IndexFunc(r.Targets(), func(t dct.Target) bool { return t.Tag() == tag })
		return r.Targets()[i]
	}
	raw := m.manifests[m.index.Digest]
	other := func(d ocispec.Descriptor, change func(*ocispec.Descriptor)) ocispec.Descriptor { change(&d); return d }
	for name, c := range map[string]struct {
		image   ocispec.Descriptor
		targets []dct.Target
		chains  []chain
	}{
		"an image that the bytes do not list":    {evil, []dct.Target{target("v1")}, []chain{{raw}}},
		"the bytes of another index":             {evil, []dct.Target{target("v1")}, []chain{{m.manifests[outside.Digest]}}},
		"bytes of that index and of another":     {m.amd64, []dct.Target{target("v1")}, []chain{{raw}, {m.manifests[outside.Digest]}}},
		"no bytes":                               {m.amd64, []dct.Target{target("v1")}, []chain{{}}},
		"trailing data":                          {m.amd64, []dct.Target{target("v1")}, []chain{{append(slices.Clone(raw), ' ')}}},
		"a target of the image's own digest":     {m.arm64, []dct.Target{target("v1-arm64")}, []chain{{raw}}},
		"a target of another digest beside it":   {m.amd64, []dct.Target{target("v1"), target("plain")}, []chain{{raw}}},
		"the index itself":                       {m.index, []dct.Target{target("v1")}, []chain{{raw}}},
		"another index below, which none lists":  {evil, []dct.Target{target("v1")}, []chain{{raw, m.manifests[inner.Digest]}}},
		"a chain that is too long":               {m.amd64, []dct.Target{target("deep")}, []chain{{m.manifests[deep.Digest], m.manifests[between.Digest], m.manifests[below.Digest]}}},
		"another size":                           {other(m.amd64, func(d *ocispec.Descriptor) { d.Size++ }), []dct.Target{target("v1")}, []chain{{raw}}},
		"another media type":                     {other(m.amd64, func(d *ocispec.Descriptor) { d.MediaType = "application/x" }), []dct.Target{target("v1")}, []chain{{raw}}},
		"no target":                              {m.amd64, nil, []chain{{raw}}},
		"the zero target":                        {m.amd64, []dct.Target{{}}, []chain{{raw}}},
		"an image that is listed, without bytes": {m.amd64, []dct.Target{target("v1")}, nil},
	} {
		w := Work{Targets: c.targets, chains: c.chains, listed: c.image, key: e.Keys[0]}
		if _, err := e.vouch(context.Background(), w, c.image); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	good := Work{Targets: []dct.Target{target("v1")}, chains: []chain{{raw}}, listed: m.amd64, key: e.Keys[0]}
	stranger := good
	stranger.key.Roles = []string{"targets/alice"}
	if _, err := e.vouch(context.Background(), stranger, m.amd64); err == nil {
		t.Error("a key of another role: signed")
	}
	e.Now = func() time.Time { return time.Now().Add(30 * 24 * time.Hour) }
	if _, err := e.vouch(context.Background(), good, m.amd64); !errors.Is(err, dct.ErrExpired) {
		t.Errorf("expired: %v", err)
	}
	if len(m.operations) != 0 {
		t.Errorf("%d key operations", len(m.operations))
	}
	e.Now = nil
	if _, err := e.vouch(context.Background(), good, m.amd64); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// Promise 1: bytes that two readers could read in two ways vouch for nothing, although DCT
// names their digest, and neither the index nor an image is signed.
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
			m := &multi{scene: newScene(t)}
			m.repo = m.publish(app, "plain")
			good, evil := m.image("good", "amd64"), m.image("evil", "amd64")
			index := m.bytes(ocispec.MediaTypeImageIndex, []byte(text))
			m.name("v1", index)
			summary, _ := m.runs(platforms)
			m.want(summary, map[Result]int{ResultSigned: 1, ResultFailed: 1})
			m.have(0, good, evil, index)
			if len(m.operations) != 1 || summary.Complete() {
				t.Errorf("%d key operations, summary %+v", len(m.operations), summary)
			}
			m.runs(nil) // without, the index alone is signed, as DCT names it
			m.have(1, index)
		})
	}
}

// A registry that describes an image in another way than the index gets no signature of it.
func TestImageThatIsNotAsListedIsNotSigned(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	m.images[m.arm64.Digest] = ocispec.Descriptor{MediaType: "application/vnd.docker.distribution.manifest.v2+json", Digest: m.arm64.Digest, Size: 100}
	summary, _ := m.runs(platforms)
	m.want(summary, map[Result]int{ResultSigned: 3, ResultFailed: 1})
	m.have(0, m.arm64)
	if summary.Failed[failure.Security] != 1 {
		t.Errorf("summary %+v", summary)
	}
}

// Promise 4: an index that cannot be listed leaves it unknown what is to be signed. The run is
// not complete, and the next one does the rest.
func TestIndexThatCannotBeListedIsReported(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{false, true} {
		m := newMulti(t)
		if before {
			m.runs(nil) // the ledger has the index as done
		}
		broken := func(d digest.Digest) (bool, error) {
			if d == m.index.Digest {
				return false, failure.New(failure.Throttled, errors.New("429"))
			}
			return true, nil
		}
		m.fault["manifest"] = broken
		m.mutate = platforms
		p := m.plan(app)
		summary, _ := m.runs(platforms)
		if summary.Failed[failure.Throttled] != 1 || summary.Complete() || len(m.signatures[m.arm64.Digest]) != 0 {
			t.Errorf("summary %+v", summary)
		}
		m.heal()
		for _, it := range p.Repositories[0].Items {
			if (it.Action == ActionUnknown) != (it.Digest == m.index.Digest.String()) {
				t.Errorf("plan: %+v", it)
			}
		}
		// A run that is bound to that plan is not complete either.
		summary, _ = m.runs(func(e *Engine) { e.AllPlatforms, e.Plan = true, p })
		if summary.Skipped[failure.PlanUnknown] != 3 || summary.Complete() {
			t.Errorf("bound: %+v", summary)
		}
		summary, _ = m.runs(platforms)
		m.have(1, m.index, m.amd64, m.arm64)
		if !summary.Complete() {
			t.Errorf("healed: %+v", summary)
		}
	}
}

// An image that the registry has lost is missing, and the others are signed. An index that is
// missing is so for itself.
func TestMissingImageOfAnIndex(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	delete(m.images, m.arm64.Digest)
	summary, outcomes := m.runs(platforms)
	m.want(summary, map[Result]int{ResultSigned: 3, ResultSkipped: 1})
	if summary.Skipped[failure.Missing] != 1 || !summary.Complete() || !slices.ContainsFunc(outcomes, func(o Outcome) bool { return o.Class == failure.Missing && o.Platform == "linux/arm64" }) {
		t.Errorf("summary %+v, outcomes %+v", summary, outcomes)
	}
	m = newMulti(t)
	delete(m.images, m.index.Digest)
	summary, _ = m.runs(platforms)
	m.want(summary, map[Result]int{ResultSigned: 1, ResultSkipped: 1})
}

// What an index lists is not left out for a 404: of the index that DCT names, once the registry
// has described it, nothing is signed; an index below it fails for itself, and no other image
// does. Neither run is complete.
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
	m.fault["manifest"] = gone(m.index)
	summary, _ := m.runs(platforms)
	if summary.Failed[failure.Permanent] != 1 || summary.Complete() || len(m.signatures[m.index.Digest])+len(m.signatures[m.arm64.Digest]) != 0 {
		t.Errorf("the index that DCT names: %+v", summary)
	}
	m = newMulti(t)
	asked := 0 // about the index: what it lists stays unknown though the second answer is good
	m.fault["resolve"] = func(d digest.Digest) (bool, error) {
		if d == m.index.Digest {
			if asked++; asked == 1 {
				return false, failure.New(failure.Permanent, errors.New("404"))
			}
		}
		return true, nil
	}
	summary, _ = m.runs(platforms)
	if summary.Failed[failure.Permanent] != 1 || summary.Complete() || len(m.signatures[m.arm64.Digest]) != 0 {
		t.Errorf("a 404 of a moment for the index: %+v", summary)
	}
	m = newMulti(t)
	below := m.world.index(m.image("s390x", "s390x"))
	outer := m.world.index(m.amd64, below)
	m.name("v2", outer)
	m.fault["manifest"] = gone(below)
	summary, outcomes := m.runs(platforms)
	if summary.Failed[failure.Permanent] != 1 || summary.Complete() || !slices.ContainsFunc(outcomes, func(o Outcome) bool { return o.Digest == below.Digest.String() && o.Result == ResultFailed }) {
		t.Errorf("an index below: %+v, %+v", summary, outcomes)
	}
	m.have(1, outer, m.amd64, m.arm64)
	m.have(0, below)
	m.heal()
	if summary, _ = m.runs(platforms); !summary.Complete() {
		t.Errorf("healed: %+v", summary)
	}
	m.have(1, below)
}

// A plan lists the images of an index, and bounds a run to them.
func TestPlanBoundsTheImagesOfAnIndex(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	m.mutate = platforms
	p := m.plan(app)
	found := map[string]PlanItem{}
	for _, it := range p.Repositories[0].Items {
		found[it.Digest] = it
	}
	if it := found[m.arm64.Digest.String()]; it.Action != ActionSign || !slices.Equal(it.Index, []string{m.index.Digest.String()}) || it.Platform != "linux/arm64" || it.Tags == nil || len(it.Tags) != 0 || it.Size != 100 {
		t.Errorf("planned %+v", it)
	}
	if len(found) != 4 || !noted(found[m.index.Digest.String()].Notes, "attestations") {
		t.Errorf("planned %+v", found)
	}
	raw, err := json.Marshal(p)
	m.must(err)
	if len(m.operations) != 0 || strings.Contains(string(raw), `"tags":null`) {
		t.Errorf("%d key operations; %s", len(m.operations), raw)
	}
	if p.Platforms != "all" {
		t.Errorf("got a plan of platforms %q, want all", p.Platforms)
	}
	// The plan is for this part: a run with another is refused.
	if p.Check(&Engine{Keys: []Key{{Signer: m}}}) == nil {
		t.Error("a run of the indexes alone is accepted")
	}
	m.must(p.Check(&Engine{Keys: []Key{{Signer: m}}, AllPlatforms: true}))
	// Since the review: a second index lists another image, and one that is planned.
	s390x := m.image("s390x", "s390x")
	m.name("v2", m.world.index(s390x, m.amd64))
	bound := func(change func(*Plan)) Summary {
		t.Helper()
		var changed Plan
		m.must(json.Unmarshal(raw, &changed))
		change(&changed)
		summary, outcomes := m.runs(func(e *Engine) { e.AllPlatforms, e.Plan = true, &changed })
		i := slices.IndexFunc(outcomes, func(o Outcome) bool { return o.Digest == m.amd64.Digest.String() })
		notes := strings.Join(outcomes[i].Notes, "\n")
		if strings.Count(notes, "plan-changed") != 1 || !strings.Contains(notes, "as listed by index "+m.tags["v2"].String()) {
			t.Errorf("got notes %q, want one on the index that is not in the plan", notes)
		}
		return summary
	}
	at := func(p *Plan, d ocispec.Descriptor) *PlanItem {
		i := slices.IndexFunc(p.Repositories[0].Items, func(it PlanItem) bool { return it.Digest == d.Digest.String() })
		return &p.Repositories[0].Items[i]
	}
	summary := bound(func(p *Plan) {
		at(p, m.arm64).Index = []string{m.attestation.Digest.String()}
		at(p, m.index).Action = ActionSkip
	})
	if summary.Skipped[failure.NotPlanned] != 5-1 { // arm64, index, v2, s390x
		t.Errorf("summary %+v", summary)
	}
	m.have(0, m.arm64, m.index, s390x)
	m.have(1, m.amd64)
	if got := m.signed[m.signatures[m.amd64.Digest][0]][MetadataIndex]; got != m.index.Digest.String() {
		t.Errorf("it names %s, and the plan has the one index", got)
	}
	summary = bound(func(*Plan) {})
	if summary.Skipped[failure.NotPlanned] != 2 {
		t.Errorf("summary %+v", summary)
	}
	m.have(1, m.arm64, m.amd64, m.index)
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
		m.breakFor(c.step, "arm64", c.happens, failure.New(failure.Permanent, errors.New("cut")))
		summary, _ := m.runs(platforms)
		m.want(summary, map[Result]int{ResultSigned: 3, ResultFailed: 1})
		m.heal()
		m.runs(platforms)
		m.have(1, m.index, m.amd64, m.arm64)
		if len(m.operations) != c.operations {
			t.Errorf("%s: %d key operations", name, len(m.operations))
		}
	}
	m := newMulti(t)
	m.runs(platforms)
	m.must(os.Remove(m.ledger))
	summary, _ := m.runs(platforms)
	m.want(summary, map[Result]int{ResultAlready: 4})
}

// An index that lists indexes below indexes is not followed without end.
func TestDeeplyNestedIndexIsNotSigned(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	m.name("deep", m.world.index(m.world.index(m.world.index(m.amd64))))
	summary, outcomes := m.runs(platforms)
	if summary.Failed[failure.Permanent] != 1 || !slices.ContainsFunc(outcomes, func(o Outcome) bool { return strings.Contains(o.Reason, "--platforms index") }) {
		t.Errorf("summary %+v, outcomes %+v", summary, outcomes)
	}
}

// The ledger does not vouch: bytes are read anew, and a forged item signs nothing.
func TestForgedImageOfAnIndexSignsNothing(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	evil := m.image("evil", "amd64")
	l, err := state.Open(m.ledger, state.Options{})
	m.must(err)
	_, err = l.Plan([]state.Item{{Key: state.Key{Repository: app, Digest: evil.Digest.String(), KeyName: "release"}, GUN: app, Indexes: []string{m.index.Digest.String()}}})
	m.must(err)
	m.must(l.Close())
	m.runs(platforms)
	m.have(0, evil)
}

// The first signal ends the listing of a repository's indexes.
func TestDrainEndsTheListing(t *testing.T) {
	t.Parallel()
	m := newMulti(t)
	stop := make(chan struct{})
	close(stop)
	r, err := m.trust().Read(context.Background(), m.guns(app)[0], dct.Known{})
	m.must(err)
	e := &Engine{Registry: m, Keys: []Key{{Signer: m}}, Workers: 1, AllPlatforms: true}
	work, err := e.gather(r)
	m.must(err)
	read := &reading{Repository: r, work: work, place: app}
	if err := e.expand(context.Background(), stop, read); !errors.Is(err, errDrained) {
		t.Errorf("error %v", err)
	}
}
