package migrate

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
)

// bound runs in the bounds of a plan.
func (s *scene) bound(p *Plan, names ...string) (Summary, []Outcome, error) {
	s.T.Helper()
	s.mutate = func(e *Engine) { e.Plan = p }
	return s.run(names...)
}

// A repository that the plan does not have is not signed, whatever the arguments say.
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
		t.Errorf("key operations %v, summary %+v", s.operations, summary)
	}
	s.once("v1")
}

// What the plan skips, could not look at, or gives to the tag by another role stays
// unsigned, although a run without the plan would sign it.
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
				t.Errorf("%d key operations, summary %+v", len(s.operations), summary)
			}
		})
	}
}

// A plan that was reviewed while all was in date does not cover what has expired since.
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
	if !errors.Is(err, dct.ErrNothingRead) || summary.Unread[failure.PlanChanged] != 1 || len(s.operations) != 0 {
		t.Errorf("error %v, summary %+v", err, summary)
	}
	p.Repositories[0].Expired = []string{"targets"}
	if _, _, err := s.run(App); err != nil || len(s.signatures[digest.FromString("image v1")]) != 1 {
		t.Errorf("reviewed as expired: %v", err)
	}
}

// What was past its date, and had been signed in a snapshot before, was reviewed with the
// plan, or is not signed; the ledger's item says so.
func TestPlanCoversWhatWasJudgedEarlier(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := s.Publish(App, "v1")
	fresh := s.plan(App)
	s.Must(r.Expire("targets"))
	seen := time.Now().AddDate(0, 0, -2)
	s.Witness = func(context.Context, dct.GUN) (dct.Sight, error) { return dct.Sight{At: seen, By: "leaf"}, nil }
	summary, _, err := s.bound(fresh, App)
	if !errors.Is(err, dct.ErrNothingRead) || summary.Unread[failure.PlanChanged] != 1 || len(s.operations) != 0 {
		t.Errorf("key operations %v, error %v, summary %+v", s.operations, err, summary)
	}
	p := s.plan(App)
	if got := p.Repositories[0].Judged; strings.Join(got.Roles, " ") != "targets" || got.By != "leaf" {
		t.Errorf("the plan says %s", got)
	}
	summary, outcomes, err := s.bound(p, App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultSigned: 1})
	if notes := strings.Join(outcomes[0].Notes, " "); !strings.Contains(notes, "judged-earlier: targets at ") {
		t.Errorf("notes %s", notes)
	}
}
