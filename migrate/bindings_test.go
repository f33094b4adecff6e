package migrate

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/state"
)

// joined returns a scene in which v1 is signed and latest was given its digest afterwards.
func joined(t *testing.T) (*scene, *notarytest.Repository) {
	t.Helper()
	s := newScene(t)
	r := s.Publish(App, "v1", "v2")
	s.Must(func() error { _, _, err := s.run(App); return err }())
	s.Tagged["latest"] = digest.FromString("image v1")
	s.Must(r.Sign("latest", digest.FromString("image v1").Encoded(), 100))
	s.Must(r.Publish())
	return s, r
}

// runs makes a run with the options that mutate sets.
func (s *scene) runs(mutate func(*Engine)) (Summary, []Outcome) {
	s.T.Helper()
	s.mutate = mutate
	summary, outcomes, err := s.run(App)
	s.Must(err)
	s.mutate = nil
	return summary, outcomes
}

func rebind(e *Engine)  { e.Rebind = true }
func recheck(e *Engine) { e.Recheck = true }

// counted returns how many items have a note of a kind.
func counted(outcomes []Outcome, kind string) (n int) {
	for _, o := range outcomes {
		if noted(o.Notes, kind) {
			n++
		}
	}
	return n
}

// A tag that was given a digest after it was signed is reported by a run that reads the ledger, by
// one that asks the registry, and by a plan. Nothing is signed for it.
func TestTagThatJoinedLaterIsReportedAsUnbound(t *testing.T) {
	t.Parallel()
	s, _ := joined(t)
	_, outcomes := s.runs(nil)
	if counted(outcomes, "unbound") != 1 {
		t.Errorf("by the ledger: got %+v, want one unbound", outcomes)
	}
	_, outcomes = s.runs(recheck)
	if counted(outcomes, "unbound") != 1 {
		t.Errorf("by the registry: got %+v, want one unbound", outcomes)
	}
	for _, it := range s.plan(App).Repositories[0].Items {
		if it.Action != ActionDone || noted(it.Notes, "unbound") != (len(it.Tags) == 2) {
			t.Errorf("plan: got %+v, want %s, and unbound only with two tags", it, ActionDone)
		}
	}
	s.ledger += ".new"
	for range 2 { // found in the registry, and then recorded in the ledger
		if _, outcomes = s.runs(nil); counted(outcomes, "unbound") != 1 {
			t.Errorf("with a new ledger: got %+v, want one unbound", outcomes)
		}
	}
	if len(s.operations) != 2 {
		t.Errorf("got %d key operations, want 2", len(s.operations))
	}
}

// --rebind signs once more, with all tags, but not a third time, neither with this ledger nor with
// a new one.
func TestRebindSignsOnceMore(t *testing.T) {
	t.Parallel()
	s, r := joined(t)
	d := digest.FromString("image v1")
	p := func() *Plan { s.mutate = rebind; defer func() { s.mutate = nil }(); return s.plan(App) }
	for _, it := range p().Repositories[0].Items {
		if (it.Action == ActionRebind) != (len(it.Tags) == 2) {
			t.Errorf("plan: got %+v, want %s only with two tags", it, ActionRebind)
		}
	}
	summary, outcomes := s.runs(rebind)
	s.want(summary, map[Result]int{ResultSigned: 1, ResultAlready: 1})
	if counted(outcomes, "rebound") != 1 || counted(outcomes, "unbound") != 0 || len(s.signatures[d]) != 2 {
		t.Errorf("got signatures %v, outcomes %+v, want 2 signatures, one rebound and none unbound", s.signatures[d], outcomes)
	}
	last := s.signed[s.signatures[d][1]]
	if last[MetadataTag+"v1"] != "targets" || last[MetadataTag+"latest"] != "targets" {
		t.Errorf("the last signature binds: got %v, want v1 and latest of targets", last)
	}
	again := func(when string, options ...func(*Engine)) {
		t.Helper()
		for _, o := range options {
			summary, outcomes := s.runs(o)
			s.want(summary, map[Result]int{ResultAlready: 2})
			if counted(outcomes, "unbound") != 0 || len(s.operations) != 3 {
				t.Errorf("%s: got %d key operations, outcomes %+v, want 3 and none unbound", when, len(s.operations), outcomes)
			}
		}
	}
	again("again", rebind, recheck, nil)
	s.ledger += ".new"
	again("with a new ledger", rebind, rebind, nil)
	for _, it := range p().Repositories[0].Items {
		if it.Action != ActionDone {
			t.Errorf("plan afterwards: got %+v, want %s", it, ActionDone)
		}
	}
	// Its role changed, so it is another binding.
	s.Must(r.AddSigner("alice"))
	s.Must(r.Sign("v1", d.Encoded(), 100))
	s.Must(r.Publish())
	role := ""
	for _, it := range s.plan(App).Repositories[0].Items {
		for _, tag := range it.Tags {
			if tag.Tag == "v1" {
				role = tag.Role
			}
		}
	}
	if role == "targets" {
		t.Fatalf("role: got %q, want another", role)
	}
	if _, outcomes := s.runs(nil); counted(outcomes, "unbound") != 1 {
		t.Errorf("another role: got %+v, want one unbound", outcomes)
	}
	s.runs(rebind)
	if s.runs(rebind); len(s.operations) != 4 {
		t.Errorf("another role: got %d key operations, want 4", len(s.operations))
	}
}

// Several signatures together may bind the tags.
func TestTagsMayBeBoundByAnySignatureOfOurs(t *testing.T) {
	t.Parallel()
	s, _ := joined(t)
	d := digest.FromString("image v1")
	s.signatures[d] = append(s.signatures[d], "second")
	s.signedBy["second"], s.signed["second"] = "release", map[string]string{MetadataGUN: App, MetadataTag + "latest": "targets"}
	summary, outcomes := s.runs(rebind)
	s.want(summary, map[Result]int{ResultAlready: 2})
	if counted(outcomes, "unbound") != 0 || len(s.operations) != 2 {
		t.Errorf("got %d key operations, outcomes %+v, want 2 and none unbound", len(s.operations), outcomes)
	}
	// A signature of another repository or by another key binds nothing here.
	for name, harm := range map[string]func(){
		"another repository": func() { s.signed["second"][MetadataGUN] = "registry.example.com/other" },
		"another key":        func() { s.signedBy["second"] = "other" },
	} {
		harm()
		if _, outcomes := s.runs(recheck); counted(outcomes, "unbound") != 1 {
			t.Errorf("%s: got %+v, want one unbound", name, outcomes)
		}
	}
}

// Promise 3, of signing again: interrupted at any of these points, a rebind ends with exactly two
// signatures.
func TestRebindIsCutAndResumed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step       string
		happens    bool
		operations int // for v1, in total
	}{
		"cut before the look":     {"find", false, 2},
		"cut at the key":          {"sign", false, 3},
		"cut before the push":     {"push", false, 2},
		"cut after the push":      {"push", true, 2},
		"cut at the confirmation": {"listed", false, 2},
	} {
		for next, option := range map[string]func(*Engine){"rebind": rebind, "without": nil} {
			t.Run(name+", "+next, func(t *testing.T) {
				t.Parallel()
				s, _ := joined(t)
				d := digest.FromString("image v1")
				s.BreakFor(c.step, "v1", c.happens, failure.New(failure.Permanent, errors.New("cut")))
				summary, _ := s.runs(rebind)
				s.want(summary, map[Result]int{ResultFailed: 1, ResultAlready: 1})
				s.Heal()
				s.runs(option)
				s.runs(rebind)
				s.runs(rebind)
				n := len(slices.DeleteFunc(slices.Clone(s.operations), func(o digest.Digest) bool { return o != d }))
				if len(s.signatures[d]) != 2 || n != c.operations {
					t.Errorf("got %d signatures after %d key operations, want 2 after %d", len(s.signatures[d]), n, c.operations)
				}
			})
		}
	}
}

// After a kill between reopening an item and recording its envelope, the next run asks the registry
// first.
func TestItemThatWasTakenBackIsLookedAtBeforeItIsSigned(t *testing.T) {
	t.Parallel()
	s, _ := joined(t)
	l, err := state.Open(s.ledger, state.Options{})
	s.Must(err)
	_, err = l.Reopen(state.Key{Repository: App, Digest: digest.FromString("image v1").String(), KeyName: "release"})
	s.Must(err)
	s.Must(l.Close())
	summary, outcomes := s.runs(nil)
	s.want(summary, map[Result]int{ResultAlready: 2})
	if counted(outcomes, "unbound") != 1 || len(s.operations) != 2 {
		t.Errorf("got %d key operations, outcomes %+v, want 2 and one unbound", len(s.operations), outcomes)
	}
}

// With --recheck, a signature that somebody deleted from the registry is made again, once. The plan
// says so beforehand.
func TestRecheckSignsAgainWhatTheRegistryLost(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1", "v2")
	s.runs(nil)
	delete(s.signatures, digest.FromString("image v1"))
	if summary, _ := s.runs(nil); summary.Results[ResultAlready] != 2 {
		t.Errorf("without the signature: got %+v, want 2 %s", summary, ResultAlready)
	}
	actions := func(want Action, note bool, mutate func(*Engine)) {
		t.Helper()
		l, err := state.Open(s.ledger, state.Options{})
		s.Must(err)
		defer func() { s.Must(l.Close()) }()
		s.mutate = func(e *Engine) {
			e.Ledger = l
			if mutate != nil {
				mutate(e)
			}
		}
		defer func() { s.mutate = nil }()
		for _, it := range s.plan(App).Repositories[0].Items {
			if it.Tags[0].Tag == "v1" && (it.Action != want || noted(it.Notes, "signature-gone") != note) {
				t.Errorf("plan: got %+v, want %s, signature-gone %t", it, want, note)
			}
		}
	}
	actions(ActionDone, true, nil)
	actions(ActionSign, false, recheck)
	s.BreakFor("push", "v1", false, failure.New(failure.Permanent, errors.New("cut")))
	summary, _ := s.runs(recheck)
	s.want(summary, map[Result]int{ResultFailed: 1, ResultAlready: 1})
	s.Heal()
	for range 3 {
		s.runs(recheck)
	}
	s.once("v1", "v2")
	if len(s.operations) != 3 {
		t.Errorf("got %d key operations, want 3", len(s.operations))
	}
}

// What --recheck finds is recorded where the ledger says otherwise. Where the ledger agrees,
// nothing is written.
func TestRecheckRecordsWhatIsNew(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	now := time.Now()
	s.now = func() time.Time { return now } // so that all signatures are equal
	s.Publish(App, "v1")
	s.runs(nil)
	before := s.item("v1")
	s.runs(recheck)
	if got := s.item("v1"); !reflect.DeepEqual(got, before) {
		t.Errorf("nothing new: got %+v, want %+v", got, before)
	}
	d := digest.FromString("image v1")
	e, err := s.Sign(t.Context(), s.Images[d], s.signed[before.Signature])
	s.Must(err)
	s.signatures[d] = []string{e.ManifestDigest} // another of ours is there instead
	s.runs(recheck)
	if got := s.item("v1"); got.Signature != e.ManifestDigest || got.Stage != state.Confirmed {
		t.Errorf("another signature: got %+v, want %s", got, e.ManifestDigest)
	}
}

// Promise 4, of finished items: a failed lookup is reported. It signs nothing and reopens nothing.
func TestRecheckThatFailedTakesNothingBack(t *testing.T) {
	t.Parallel()
	for name, option := range map[string]func(*Engine){"recheck": recheck, "rebind": rebind} {
		s, _ := joined(t)
		s.BreakFor("find", "v1", false, failure.New(failure.Denied, errors.New("403")))
		summary, _ := s.runs(option)
		s.want(summary, map[Result]int{ResultFailed: 1, ResultAlready: 1})
		if it := s.item("v1"); summary.Complete() || len(s.operations) != 2 || it.Stage != state.Confirmed {
			t.Errorf("%s: got %d key operations, complete %t, item %+v, want 2, false, stage %s", name, len(s.operations), summary.Complete(), it, state.Confirmed)
		}
	}
}

// An image that is gone no longer counts as done.
func TestRecheckOfAMissingImage(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1", "v2")
	s.runs(nil)
	delete(s.Images, digest.FromString("image v1"))
	// A 404 for the image is not believed where the server does not answer for the repository.
	s.Faults["answers"] = func(digest.Digest) (bool, error) { return false, failure.New(failure.Permanent, errors.New("404")) }
	summary, _ := s.runs(recheck)
	s.want(summary, map[Result]int{ResultFailed: 1, ResultAlready: 1})
	if it := s.item("v1"); summary.Complete() || it.Stage != state.Confirmed {
		t.Errorf("got summary %+v, item %+v, want it unknown: incomplete, and the item %s", summary, it, state.Confirmed)
	}
	s.Heal()
	summary, _ = s.runs(recheck)
	s.want(summary, map[Result]int{ResultSkipped: 1, ResultAlready: 1})
	if it := s.item("v1"); summary.Skipped[failure.Missing] != 1 || it.Stage != state.Skipped {
		t.Errorf("got summary %+v, item %+v, want one missing, and the item %s", summary, it, state.Skipped)
	}
}

// The same holds for an image whose signature waits to be pushed.
func TestImageThatIsMissingBeforeThePush(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1")
	s.BreakFor("push", "v1", false, failure.New(failure.Permanent, errors.New("cut")))
	s.runs(nil)
	s.Heal()
	delete(s.Images, digest.FromString("image v1"))
	s.Faults["answers"] = func(digest.Digest) (bool, error) { return false, failure.New(failure.Permanent, errors.New("404")) }
	if summary, _ := s.runs(nil); summary.Complete() || summary.Skipped[failure.Missing] != 0 {
		t.Errorf("got %+v, want it unknown: incomplete and none missing", summary)
	}
	s.Heal()
	if summary, _ := s.runs(nil); !summary.Complete() || summary.Skipped[failure.Missing] != 1 {
		t.Errorf("got %+v, want it complete with one missing", summary)
	}
}

// Right before the key is used, the run checks again where signatures are listed.
func TestNothingIsSignedWhereTheListMayBeElsewhere(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1")
	d, finds := digest.FromString("image v1"), 0
	s.Faults["check"] = func(digest.Digest) (bool, error) { // the first time: what is listed elsewhere is found then
		delete(s.Faults, "check")
		s.signatures[d] = []string{"ours"}
		s.signedBy["ours"], s.world.by["ours"] = "release", state.SignedBy{Identity: s.leaf, Leaf: s.leaf, ChainEnds: s.now().AddDate(1, 0, 0)}
		return false, failure.New(failure.Transient, errors.New("the list is elsewhere"))
	}
	s.Faults["find"] = func(digest.Digest) (bool, error) { finds++; return true, nil }
	summary, _ := s.runs(nil)
	if s.want(summary, map[Result]int{ResultAlready: 1}); len(s.operations) != 0 || finds != 2 {
		t.Errorf("got %d key operations after %d looks, want none after 2", len(s.operations), finds)
	}
}

// many lists signatures that were not inspected.
type many struct{ *scene }

func (m many) Find(ctx context.Context, image Image, key string) (Found, error) {
	f, err := m.scene.Find(ctx, image, key)
	f.Unread = 50
	return f, err
}

// Promise 4: a signature that was not inspected may bind the tag.
func TestRebindOfWhatWasNotLookedAtIsUnknown(t *testing.T) {
	t.Parallel()
	s, _ := joined(t)
	crowd := func(e *Engine) { e.Rebind, e.Registry = true, many{s} }
	summary, _ := s.runs(crowd)
	s.want(summary, map[Result]int{ResultFailed: 1, ResultAlready: 1})
	if len(s.operations) != 2 {
		t.Errorf("got %d key operations, want 2", len(s.operations))
	}
	s.mutate = crowd
	if it := s.plan(App).Repositories[0].Items; !slices.ContainsFunc(it, func(it PlanItem) bool { return it.Action == ActionUnknown }) {
		t.Errorf("plan: got %+v, want one %s", it, ActionUnknown)
	}
}

// With a plan that was made without --rebind, no digest is signed again.
func TestPlanWithoutRebindRefusesIt(t *testing.T) {
	t.Parallel()
	s, _ := joined(t)
	p := s.plan(App)
	e := &Engine{Keys: []Key{{Signer: s}}, Rebind: true}
	if p.Check(e) == nil {
		t.Error("a plan without rebind for a run with it: got no error, want it refused")
	}
	s.mutate = rebind
	p = s.plan(App)
	s.Must(p.Check(e))
	summary, _ := s.runs(func(e *Engine) { e.Rebind, e.Plan = true, p })
	s.want(summary, map[Result]int{ResultSigned: 1, ResultAlready: 1})
}

// An envelope that was never pushed and lacks a tag is pushed as it is, and reported. With --rebind
// it is made anew before anything is pushed.
func TestEnvelopeThatLacksATagIsMadeAnewWhereThatIsWanted(t *testing.T) {
	t.Parallel()
	for name, option := range map[string]func(*Engine){"rebind": rebind, "without": nil} {
		s := newScene(t)
		r := s.Publish(App, "v1")
		s.BreakFor("push", "v1", false, failure.New(failure.Permanent, errors.New("cut")))
		s.runs(nil)
		s.Heal()
		s.Must(r.Sign("latest", digest.FromString("image v1").Encoded(), 100))
		s.Must(r.Publish())
		_, outcomes := s.runs(option)
		s.once("v1")
		if wanted := option != nil; (counted(outcomes, "unbound") == 0) != wanted || (len(s.operations) == 2) != wanted {
			t.Errorf("%s: got %d key operations, outcomes %+v, want 2 and none unbound: %t", name, len(s.operations), outcomes, wanted)
		}
	}
}
