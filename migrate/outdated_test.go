package migrate

import (
	"errors"
	"testing"

	"github.com/opencontainers/go-digest"
)

// An envelope that waits to be pushed and binds a tag that DCT has given to another digest
// since is not pushed: two digests would be bound to one tag.
func TestEnvelopeWithAnOldBindingIsNotPushed(t *testing.T) {
	t.Parallel()
	for name, happened := range map[string]bool{"not pushed": false, "pushed already": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			r := s.publish(app, "v1", "v2")
			s.must(r.Sign("stable", digest.FromString("image v1").Encoded(), 100))
			s.must(r.Publish())
			s.breakFor("push", "v1", happened, &Failure{Permanent, errors.New("cut")})
			_, _, err := s.run(app)
			s.must(err)
			s.heal()
			s.must(r.Sign("stable", digest.FromString("image v2").Encoded(), 100))
			s.must(r.Publish())
			bound := 0
			s.mutate = func(e *Engine) {
				e.Keys = []Key{{Signer: signerFunc{s.world, func(m map[string]string) {
					if _, ok := m[MetadataTag+"stable"]; ok {
						bound++
					}
				}}}}
			}
			summary, _, err := s.run(app)
			s.must(err)
			s.once("v1", "v2")
			if !summary.Complete() || bound != 0 {
				t.Errorf("stable bound %d times more, summary %+v", bound, summary)
			}
			want := 3 // v1 again
			if happened {
				want = 2
			}
			if len(s.operations) != want {
				t.Errorf("%d key operations, want %d", len(s.operations), want)
			}
		})
	}
}

// What the plan could not look at leaves the run incomplete.
func TestWhatThePlanLeftUnknownLeavesTheRunIncomplete(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.publish(app, "v1", "v2")
	s.breakFor("find", "v2", false, &Failure{Throttled, errors.New("429")})
	p := s.plan(app)
	s.heal()
	s.mutate = func(e *Engine) { e.Plan = p }
	summary, _, err := s.run(app)
	s.must(err)
	if summary.Complete() || summary.Skipped[PlanUnknown] != 1 || len(s.operations) != 1 {
		t.Errorf("%d key operations, summary %+v", len(s.operations), summary)
	}
}
