package migrate

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
	"github.com/dct2notation/dct2notation/state"
)

// plan makes a plan without a ledger.
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
			t.Errorf("%s: got %s without a reason, want one", it.Tags[0].Tag, it.Action)
		}
		if it.Tags[0].Tag == "moved" && (it.Tags[0].Now != TagMoved || it.Tags[0].MovedTo != old.String()) {
			t.Errorf("moved: got %+v, want %s to %s", it.Tags[0], TagMoved, old)
		}
	}
	for tag, want := range map[string]Action{"sign": ActionSign, "done": ActionDone, "gone": ActionSkip, "schema1": ActionSkip, "moved": ActionSign, "unknown": ActionUnknown} {
		if got[tag] != want {
			t.Errorf("%s: got %s, want %s", tag, got[tag], want)
		}
	}
	if e := p.Repositories[1].Error; e == nil || e.Class != failure.Unsigned {
		t.Errorf("unsigned repository: got %+v, want error %s", p.Repositories[1], failure.Unsigned)
	}
	if len(s.operations) != 0 {
		t.Errorf("a plan: got %d key operations, want none", len(s.operations))
	}
}

// A plan states the cost of its run: what is signed, the keys' proofs, and the time at the known
// rate.
func TestPlanSaysWhatItCosts(t *testing.T) {
	t.Parallel()
	proofs := func(made int, proven bool) func() (int, bool) { return func() (int, bool) { return made, proven } }
	for name, c := range map[string]struct {
		key  Key
		last float64
		want PlanCost
	}{
		"a key in files":        {Key{}, 0, PlanCost{Operations: 2}},
		"opened with a proof":   {Key{Proofs: proofs(1, true)}, 0, PlanCost{Operations: 3, Proofs: 1}},
		"with two":              {Key{Proofs: proofs(2, true)}, 0, PlanCost{Operations: 4, Proofs: 2}},
		"known without":         {Key{Proofs: proofs(0, true)}, 0, PlanCost{Operations: 2}},
		"at the user's rate":    {Key{Rate: 0.1}, 50, PlanCost{Operations: 2, Minutes: 0.4, RateFrom: RateSet}},
		"at the last run's":     {Key{}, 0.02, PlanCost{Operations: 2, Minutes: 1.7, RateFrom: RateSeen}},
		"at a rate that is odd": {Key{}, 1e-300, PlanCost{Operations: 2}},
	} {
		s := newScene(t)
		s.Publish(App, "v1", "v2", "done", "gone")
		s.signatures[digest.FromString("image done")], s.signedBy["ours"] = []string{"ours"}, "release"
		delete(s.Images, digest.FromString("image gone"))
		c.key.Signer = s
		s.mutate = func(e *Engine) { e.Keys, e.LastRate = []Key{c.key}, c.last }
		p := s.plan(App)
		if p.Cost != c.want || p.Keys[0].Operations != c.want.Operations {
			t.Errorf("%s: got %+v, and %d of the key, want %+v", name, p.Cost, p.Keys[0].Operations, c.want)
		}
	}
	two := newScene(t)
	two.Publish(App, "v1", "v2")
	two.mutate = func(e *Engine) {
		e.Keys = []Key{{Signer: two, Rate: 1}, {Signer: &named{scene: two, name: "second"}, Rate: 0.01}}
	}
	p := two.plan(App)
	if want := (PlanCost{Operations: 4, Minutes: 3.4, RateFrom: RateSet}); p.Cost != want || p.Keys[1].Operations != 2 {
		t.Errorf("two keys: got %+v, %+v, want %+v, 2 of the second", p.Cost, p.Keys[1], want)
	}
}

// run --plan signs nothing and binds no tag outside the plan, and reports what has changed since.
func TestRunIsBoundToItsPlan(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := s.Publish(App, "v1", "v2", "v3")
	p := s.plan(App)
	// Since the review, v4 was added, latest was given v1's digest, v2 was signed anew, and v3 was
	// removed.
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
		t.Errorf("got %+v, key operations %v, want two %s and one key operation", summary, s.operations, failure.NotPlanned)
	}
	s.once("v1")
	if _, ok := bound[MetadataTag+"latest"]; ok || bound[MetadataTag+"v1"] != "targets" {
		t.Errorf("got metadata %v, want v1 of targets and no latest", bound)
	}
	if len(changed) != 2 { // the digests of v2 and v3
		t.Errorf("changed: got %v, want the 2 digests of v2 and v3", changed)
	}
	i := slices.IndexFunc(outcomes, func(o Outcome) bool { return o.Result == ResultSigned })
	if len(outcomes[i].Notes) != 1 || !strings.Contains(outcomes[i].Notes[0], "latest") {
		t.Errorf("got notes %v, want one, of latest", outcomes[i].Notes)
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
			t.Errorf("%s: got no error, want it refused", name)
		}
	}
	// Root keys changed since the review.
	p.Repositories[0].RootKeys = []string{"other"}
	s.mutate = func(e *Engine) { e.Plan = p }
	summary, _, err := s.run(App)
	if err != nil || summary.Done() || summary.Unread[failure.PlanChanged] != 1 || len(s.operations) != 0 {
		t.Errorf("got error %v, summary %+v, %d key operations, want none, one %s, none", err, summary, len(s.operations), failure.PlanChanged)
	}
}

// bound makes a run that is limited to a plan.
func (s *scene) bound(p *Plan, names ...string) (Summary, []Outcome, error) {
	s.T.Helper()
	s.mutate = func(e *Engine) { e.Plan = p }
	return s.run(names...)
}

// A repository that is not in the plan is not signed, whatever the arguments say.
func TestRepositoryOutsideThePlanIsNotSigned(t *testing.T) {
	t.Parallel()
	const other = "registry.example.com/team/other"
	s := newScene(t)
	s.Publish(App, "v1")
	p := s.plan(App)
	s.Publish(other, "o1")
	summary, _, err := s.bound(p, App, other)
	s.Must(err)
	if summary.Unread[failure.PlanChanged] != 1 || summary.Complete() || len(s.operations) != 1 {
		t.Errorf("got key operations %v, summary %+v, want one, incomplete, one %s", s.operations, summary, failure.PlanChanged)
	}
	s.once("v1")
}

// What the plan skips, could not look up, or assigns to the tag by another role stays unsigned,
// although a run without the plan would sign it.
func TestPlanSignsOnlyWhatItSaysItSigns(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(it *PlanItem){
		"skipped":         func(it *PlanItem) { it.Action = ActionSkip },
		"unknown":         func(it *PlanItem) { it.Action = ActionUnknown },
		"an unknown word": func(it *PlanItem) { it.Action = "later" },
		"another role":    func(it *PlanItem) { it.Tags[0].Role = "targets/releases" },
		"another tag":     func(it *PlanItem) { it.Tags[0].Tag = "v9" },
		"no tag":          func(it *PlanItem) { it.Tags = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.Publish(App, "v1")
			p := s.plan(App)
			change(&p.Repositories[0].Items[0])
			summary, _, err := s.bound(p, App)
			s.Must(err)
			s.want(summary, map[Result]int{ResultSkipped: 1})
			if len(s.operations) != 0 || summary.Skipped[failure.NotPlanned] != 1 {
				t.Errorf("got %d key operations, summary %+v, want none, one %s", len(s.operations), summary, failure.NotPlanned)
			}
		})
	}
}

// A plan that was reviewed before something expired does not cover what has expired since.
func TestPlanDoesNotCoverWhatExpiredSince(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := s.Publish(App, "v1")
	p := s.plan(App)
	s.Must(r.Expire("targets"))
	s.mutate = func(e *Engine) {
		trust := s.Trust()
		trust.AllowExpired = []string{"targets"}
		e.Trust, e.Plan = trust, p
	}
	summary, _, err := s.run(App)
	if err != nil || summary.Done() || summary.Unread[failure.PlanChanged] != 1 || len(s.operations) != 0 {
		t.Errorf("got error %v, summary %+v, %d key operations, want none, one %s, none", err, summary, len(s.operations), failure.PlanChanged)
	}
	p.Repositories[0].Expired = []string{"targets"}
	if _, _, err := s.run(App); err != nil || len(s.signatures[digest.FromString("image v1")]) != 1 {
		t.Errorf("reviewed as expired: got error %v, %d signatures, want none, 1", err, len(s.signatures[digest.FromString("image v1")]))
	}
}

// An expired target that was signed in an earlier snapshot is signed only if it was reviewed with
// the plan. The ledger's item says so.
func TestPlanCoversWhatWasJudgedEarlier(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := s.Publish(App, "v1")
	fresh := s.plan(App)
	s.Must(r.Expire("targets"))
	seen := time.Now().AddDate(0, 0, -2)
	s.Witness = func(context.Context, dct.GUN) (dct.ValidAt, error) { return dct.ValidAt{At: seen, By: "leaf"}, nil }
	summary, _, err := s.bound(fresh, App)
	if err != nil || summary.Done() || summary.Unread[failure.PlanChanged] != 1 || len(s.operations) != 0 {
		t.Errorf("got key operations %v, error %v, summary %+v, want none, none, one %s", s.operations, err, summary, failure.PlanChanged)
	}
	p := s.plan(App)
	if got := p.Repositories[0].Judged; strings.Join(got.Roles, " ") != "targets" || got.By != "leaf" {
		t.Errorf("judged in the plan: got %s, want targets by leaf", got)
	}
	summary, outcomes, err := s.bound(p, App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultSigned: 1})
	if notes := strings.Join(outcomes[0].Notes, " "); !strings.Contains(notes, "judged-earlier: targets at ") {
		t.Errorf("got notes %s, want judged-earlier of targets", notes)
	}
}

// With a ledger, plan reports which signatures are already made and wait only for the registry.
func TestPlanKnowsWhatTheLedgerHas(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "done", "signed", "new")
	cut := failure.New(failure.Permanent, errors.New("cut"))
	s.BreakFor("push", "signed", false, cut)
	s.BreakFor("find", "new", false, cut)
	_, _, err := s.run(App)
	s.Must(err)
	s.Heal()
	l, err := state.Open(s.ledger, state.Options{})
	s.Must(err)
	defer func() { s.Must(l.Close()) }()
	// As at the start of the next run, failed items go on from the stage where they ended.
	var items []state.Item
	for _, tag := range []string{"done", "signed", "new"} {
		items = append(items, state.Item{Key: state.Key{Repository: App, Digest: digest.FromString("image " + tag).String(), KeyName: "release"}, GUN: App})
	}
	_, err = l.Plan(items)
	s.Must(err)
	before := len(s.operations)
	unproven := func() (int, bool) { return 0, false }
	e := &Engine{Trust: s.Trust(), Registry: s, Keys: []Key{{Signer: s, Proofs: unproven}}, Ledger: l, Workers: 4, Tool: "test/1"}
	p, err := e.MakePlan(context.Background(), s.GUNs(App))
	s.Must(err)
	if want := (PlanCost{Operations: 2, Proofs: 1}); p.Cost != want {
		t.Errorf("got %+v, want %+v: what is pushed needs a proven key", p.Cost, want)
	}
	want := map[string]Action{"done": ActionDone, "signed": ActionPush, "new": ActionSign}
	for _, it := range p.Repositories[0].Items {
		if it.Action != want[it.Tags[0].Tag] {
			t.Errorf("%s: got %s, want %s", it.Tags[0].Tag, it.Action, want[it.Tags[0].Tag])
		}
	}
	if len(s.operations) != before {
		t.Errorf("after a plan: got %d key operations, want %d", len(s.operations), before)
	}
}

// Promise 1: targets of two repositories do not vouch for one signature, although they name the
// same digest.
func TestTargetsOfTwoRepositoriesDoNotVouchTogether(t *testing.T) {
	t.Parallel()
	const other = "registry.example.com/team/other"
	s := newScene(t)
	s.Publish(App, "v1")
	s.Publish(other, "w1")
	var targets []dct.Target
	for _, gun := range s.GUNs(App, other) {
		r, err := s.Trust().Read(context.Background(), gun, dct.Known{})
		s.Must(err)
		targets = append(targets, r.Targets()...)
	}
	d := digest.FromString("image v1")
	e := &Engine{Keys: []Key{{Signer: s}}}
	_, err := Work{key: &e.Keys[0], Targets: targets}.vouch(context.Background(), ocispec.Descriptor{Digest: d, Size: 100}, e.now(), e.Tool)
	if failure.Of(err) != failure.Security || len(s.operations) != 0 || !strings.Contains(fmt.Sprint(err), "tag w1 is of "+other+", and tag v1 of "+App) {
		t.Errorf("got error %v, %d key operations, want %s that names both tags, none", err, len(s.operations), failure.Security)
	}
}

// A signature that was pushed but not seen in the list is looked up first, and pushed again only if
// it is missing.
func TestPushedSignatureIsLookedForBeforeItIsPushedAgain(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		s := newScene(t)
		s.Publish(App, "v1")
		ctx, cancel := context.WithCancel(context.Background())
		s.Faults["listed"] = func(digest.Digest) (bool, error) { cancel(); return false, ctx.Err() }
		_, _, err := s.runCtx(ctx, nil, App)
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		s.Heal()
		if lost {
			delete(s.signatures, digest.FromString("image v1"))
		}
		pushes := 0
		s.Faults["push"] = func(digest.Digest) (bool, error) { pushes++; return true, nil }
		summary, _, err := s.run(App)
		s.Must(err)
		s.want(summary, map[Result]int{ResultReplayed: 1})
		s.once("v1")
		if (pushes == 1) != lost || len(s.operations) != 1 {
			t.Errorf("lost %t: got %d pushes, %d key operations, want exactly one push only if lost, and 1 key operation", lost, pushes, len(s.operations))
		}
	}
}
