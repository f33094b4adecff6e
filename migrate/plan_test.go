package migrate

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
)

// plan makes a plan as a person would, without a ledger.
func (s *scene) plan(names ...string) *Plan {
	s.T.Helper()
	e := &Engine{Trust: s.Trust(), Registry: s, Keys: []Key{{Signer: s}}, Workers: 4, Tool: "test/1"}
	if s.mutate != nil {
		s.mutate(e)
	}
	e.Plan = nil
	p, err := e.MakePlan(context.Background(), s.GUNs(names...))
	s.Must(err)
	return p
}

func TestPlanSaysWhatAndWhyNot(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "sign", "done", "gone", "schema1", "moved", "unknown")
	s.signatures[digest.FromString("image done")] = []string{"ours"}
	s.signedBy["ours"] = "release"
	delete(s.Images, digest.FromString("image gone"))
	old := digest.FromString("image schema1")
	s.Images[old] = ocispec.Descriptor{MediaType: "application/vnd.docker.distribution.manifest.v1+json", Digest: old, Size: 100}
	s.Tagged["moved"] = old
	s.BreakFor("find", "unknown", false, failure.New(failure.Transient, context.DeadlineExceeded))
	p := s.plan(App, "registry.example.com/unsigned")
	got := map[string]Action{}
	for _, it := range p.Repositories[0].Items {
		got[it.Tags[0].Tag] = it.Action
		if it.Action != ActionSign && it.Action != ActionDone && it.Reason == nil {
			t.Errorf("%s: %s without a reason", it.Tags[0].Tag, it.Action)
		}
		if it.Tags[0].Tag == "moved" && (it.Tags[0].Now != TagMoved || it.Tags[0].MovedTo != old.String()) {
			t.Errorf("moved: %+v", it.Tags[0])
		}
	}
	for tag, want := range map[string]Action{"sign": ActionSign, "done": ActionDone, "gone": ActionSkip, "schema1": ActionSkip, "moved": ActionSign, "unknown": ActionUnknown} {
		if got[tag] != want {
			t.Errorf("%s: %s, want %s", tag, got[tag], want)
		}
	}
	if e := p.Repositories[1].Error; e == nil || e.Class != failure.Unsigned {
		t.Errorf("unsigned repository: %+v", p.Repositories[1])
	}
	if len(s.operations) != 0 {
		t.Errorf("a plan spent %d key operations", len(s.operations))
	}
}

// run --plan signs nothing outside the plan, binds no tag outside it, and tells what
// changed since.
func TestRunIsBoundToItsPlan(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := s.Publish(App, "v1", "v2", "v3")
	p := s.plan(App)
	// Since the review: v4 is new, latest joined v1's digest, v2 was signed anew, v3 is gone.
	s.Must(r.Sign("v4", s.Put("v4").Encoded(), 100))
	s.Must(r.Sign("latest", digest.FromString("image v1").Encoded(), 100))
	s.Must(r.Sign("v2", s.Put("v2new").Encoded(), 100))
	s.Must(r.Remove("v3"))
	s.Must(r.Publish())
	var bound map[string]string
	var changed []string
	s.mutate = func(e *Engine) {
		e.Plan = p
		e.Keys = []Key{{Signer: signerFunc{s, func(m map[string]string) { bound = m }}}}
		observe := e.Observe
		e.Observe = func(ev Event) {
			if ev.Trust != nil {
				changed = ev.Trust.Changed
			}
			observe(ev)
		}
	}
	summary, outcomes, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultSigned: 1, ResultSkipped: 2})
	if summary.Skipped[failure.NotPlanned] != 2 || len(s.operations) != 1 {
		t.Errorf("summary %+v, key operations %v", summary, s.operations)
	}
	s.once("v1")
	if _, ok := bound[MetadataTag+"latest"]; ok || bound[MetadataTag+"v1"] != "targets" {
		t.Errorf("metadata %v", bound)
	}
	if len(changed) != 2 { // the digests of v2 and v3
		t.Errorf("changed %v", changed)
	}
	i := slices.IndexFunc(outcomes, func(o Outcome) bool { return o.Result == ResultSigned })
	if len(outcomes[i].Notes) != 1 || !strings.Contains(outcomes[i].Notes[0], "latest") {
		t.Errorf("notes %v", outcomes[i].Notes)
	}
}

func TestPlanIsRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1")
	p := s.plan(App)
	e := &Engine{Keys: []Key{{Signer: s}}}
	s.Must(p.Check(e))
	for name, bad := range map[string]func(p Plan) error{
		"another key":         func(p Plan) error { p.Keys[0].Name = "other"; return p.Check(e) },
		"another certificate": func(p Plan) error { p.Keys[0].Leaf = "other"; return p.Check(e) },
		"another role":        func(p Plan) error { p.Keys[0].Roles = []string{"targets/alice"}; return p.Check(e) },
		"another repository":  func(p Plan) error { p.Keys[0].Repositories = []string{"**"}; return p.Check(e) },
		"one key more":        func(p Plan) error { p.Keys = append(p.Keys, p.Keys[0]); return p.Check(e) },
		"another version":     func(p Plan) error { p.Version = 2; return p.Check(e) },
		"another file":        func(p Plan) error { p.Kind = ""; return p.Check(e) },
	} {
		changed := *p
		changed.Keys = slices.Clone(p.Keys)
		if bad(changed) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// Root keys that changed since the review.
	p.Repositories[0].RootKeys = []string{"other"}
	s.mutate = func(e *Engine) { e.Plan = p }
	summary, _, err := s.run(App)
	if err == nil || summary.Unread[failure.PlanChanged] != 1 || len(s.operations) != 0 {
		t.Errorf("error %v, summary %+v", err, summary)
	}
}
