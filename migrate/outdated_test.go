package migrate

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
)

// An envelope that waits to be pushed and binds a tag that DCT has given to another digest
// since is not pushed: two digests would be bound to one tag.
func TestEnvelopeWithAnOldBindingIsNotPushed(t *testing.T) {
	t.Parallel()
	for name, happened := range map[string]bool{"not pushed": false, "pushed already": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			r := s.Publish(App, "v1", "v2")
			s.Must(r.Sign("stable", digest.FromString("image v1").Encoded(), 100))
			s.Must(r.Publish())
			s.BreakFor("push", "v1", happened, failure.New(failure.Permanent, errors.New("cut")))
			_, _, err := s.run(App)
			s.Must(err)
			s.Heal()
			s.Must(r.Sign("stable", digest.FromString("image v2").Encoded(), 100))
			s.Must(r.Publish())
			bound := 0
			s.mutate = func(e *Engine) {
				e.Keys = []Key{{Signer: signerFunc{s, func(m map[string]string) {
					if _, ok := m[MetadataTag+"stable"]; ok {
						bound++
					}
				}}}}
			}
			summary, _, err := s.run(App)
			s.Must(err)
			s.once("v1", "v2")
			if !summary.Complete() || bound != 0 {
				t.Errorf("got stable bound %d times more, summary %+v, want 0, complete", bound, summary)
			}
			want := 3 // v1 again
			if happened {
				want = 2
			}
			if len(s.operations) != want {
				t.Errorf("got %d key operations, want %d", len(s.operations), want)
			}
		})
	}
}

// Promise 5: an envelope of an earlier run that must not be pushed, and of which nobody can tell
// whether it was, does not make the item done.
func TestOutdatedEnvelopeThatCannotBeLookedForIsNotDone(t *testing.T) {
	t.Parallel()
	for step, outdate := range map[string]func(*renewal){
		"recorded": func(s *renewal) { s.renew(second) },
		"listed": func(s *renewal) {
			s.Must(s.repo.Sign("stable", digest.FromString("image v2").Encoded(), 100))
			s.Must(s.repo.Publish())
		},
	} {
		s := newRenewal(t, "v1", "v2")
		s.Must(s.repo.Sign("stable", digest.FromString("image v1").Encoded(), 100))
		s.Must(s.repo.Publish())
		s.BreakFor("push", "v1", false, failure.New(failure.Permanent, errors.New("cut")))
		s.runs("cut off", 2, false, map[string]int{first: 1})
		s.Heal()
		outdate(s)
		s.BreakFor(step, "v1", false, failure.New(failure.Permanent, errors.New("no answer that makes sense")))
		s.runs(step+" cannot be asked", 0, false, map[string]int{first: 1})
		if n := len(s.signatures[digest.FromString("image v1")]); n != 0 {
			t.Errorf("%s cannot be asked: got %d signatures pushed, want none", step, n)
		}
	}
}

// What the plan could not look at leaves the run incomplete.
func TestWhatThePlanLeftUnknownLeavesTheRunIncomplete(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1", "v2")
	s.BreakFor("find", "v2", false, failure.New(failure.Throttled, errors.New("429")))
	p := s.plan(App)
	s.Heal()
	s.mutate = func(e *Engine) { e.Plan = p }
	summary, _, err := s.run(App)
	s.Must(err)
	if summary.Complete() || summary.Skipped[failure.PlanUnknown] != 1 || len(s.operations) != 1 {
		t.Errorf("got %d key operations, summary %+v, want 1, incomplete, one %s", len(s.operations), summary, failure.PlanUnknown)
	}
}

// An envelope that waits to be pushed and says that an image is listed by an index, which DCT does
// not vouch for any more, is not pushed: it is made anew with what DCT says now.
func TestEnvelopeOfAnIndexThatIsNotVouchedForIsNotPushed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(m *multi)
		signed string // what the new signature's metadata has of the index; "": none, as it has a tag
	}{
		"another index lists it now": {func(m *multi) { m.SignTag("v1", m.Index(m.ARM64)) }, "index"},
		"it has a tag of its own": {func(m *multi) {
			m.SignTag("v1", m.Index(m.AMD64))
			m.SignTag("arm", m.ARM64)
		}, ""},
		"one of two indexes is gone": {func(m *multi) { m.Must(m.Repo.Remove("v2")); m.Must(m.Repo.Publish()) }, "index"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMulti(t)
			if strings.HasPrefix(name, "one of two") {
				m.SignTag("v2", m.Index(m.ARM64))
			}
			m.Faults["push"] = func(d digest.Digest) (bool, error) {
				if d == m.ARM64.Digest {
					return false, failure.New(failure.Permanent, errors.New("cut"))
				}
				return true, nil
			}
			if summary, _ := m.runs(platforms); summary.Failed[failure.Permanent] != 1 {
				t.Fatalf("got %+v, want one failed with %s", summary, failure.Permanent)
			}
			m.Heal()
			c.change(m)
			m.runs(platforms)
			m.have(1, m.ARM64)
			signed := m.signed[m.signatures[m.ARM64.Digest][0]]
			for _, index := range strings.Split(signed[MetadataIndex], ",") {
				vouched := index == ""
				for _, d := range m.Tagged {
					vouched = vouched || d.String() == index && m.vouchedFor(d)
				}
				if !vouched {
					t.Errorf("got it bound to %s, want an index for which DCT vouches", index)
				}
			}
			if (signed[MetadataIndex] != "") != (c.signed != "") {
				t.Errorf("got metadata %v, want an index in it: %t", signed, c.signed != "")
			}
		})
	}
}

// vouchedFor reports whether DCT has a tag with the digest.
func (m *multi) vouchedFor(d digest.Digest) bool {
	m.T.Helper()
	r, err := m.Trust().Read(m.T.Context(), m.GUNs(App)[0], dct.Known{})
	m.Must(err)
	return slices.ContainsFunc(r.Targets(), func(t dct.Target) bool { return t.Digest() == d })
}
