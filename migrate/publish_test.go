package migrate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// late lists signatures only from the given lookup on.
type late struct {
	*scene
	mu    sync.Mutex
	looks int
	from  int
	saw   func()
}

func (l *late) Listed(ctx context.Context, image Image) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looks++
	l.saw()
	if l.looks < l.from {
		return nil, nil
	}
	return l.scene.Listed(ctx, image)
}

// An answered push is not yet a signature: an item is signed when the registry lists it. What the
// registry does not list is not reported as signed.
func TestOnlyAListedSignatureIsConfirmed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1")
	never := &late{scene: s, from: 1000, saw: func() {}}
	s.mutate = func(e *Engine) { e.Registry, e.Pause = never, time.Microsecond }
	summary, _, err := s.run(App)
	s.Must(err)
	if summary.Failed[failure.Transient] != 1 || summary.Results[ResultSigned] != 0 || summary.Complete() {
		t.Errorf("never listed: got %+v, want incomplete, one failed with %s, none signed", summary, failure.Transient)
	}
	if it := s.item("v1"); it.Stage != state.Failed || !strings.Contains(it.Reason, "does not list it") {
		t.Errorf("in the ledger: got %+v, want %s, as the registry does not list it", it, state.Failed)
	}
	s.mutate = nil
	summary, _, err = s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultReplayed: 1})
	s.once("v1")
}

// A signal that arrives while a pushed signature is looked up, or before a push is retried, is not
// a failure. The item stays in its stage, and the next run goes on from there.
func TestSignalLeavesItemsInTheirStage(t *testing.T) {
	t.Parallel()
	for _, ends := range []string{"the first signal", "the second"} {
		for stage, failing := range map[state.Stage]bool{state.Pushed: false, state.Signed: true} {
			s := newScene(t)
			s.Publish(App, "v1")
			ctx, cancel := context.WithCancel(context.Background())
			stop := make(chan struct{})
			signal := sync.OnceFunc(func() { close(stop) })
			if ends == "the second" {
				signal = cancel
			}
			never := &late{scene: s, from: 1000, saw: signal}
			s.mutate = func(e *Engine) { e.Registry, e.Pause = never, time.Hour } // the test does not wait for the pauses
			if failing {
				s.Faults["push"] = func(digest.Digest) (bool, error) {
					signal()
					return false, failure.New(failure.Transient, errors.New("busy"))
				}
			}
			summary, outcomes, err := s.runCtx(ctx, stop, App)
			if (ends == "the second") != errors.Is(err, context.Canceled) || summary.Failed[failure.Transient] != 0 || len(outcomes) != 0 || summary.Complete() {
				t.Errorf("%s, %s: got %+v, %+v, %v, want incomplete, none failed, no outcomes, canceled %t", ends, stage, summary, outcomes, err, ends == "the second")
			}
			if it := s.item("v1"); it.Stage != stage {
				t.Errorf("%s: in the ledger: got %+v, want it %s", ends, it, stage)
			}
			s.mutate, s.Faults = nil, map[string]func(digest.Digest) (bool, error){}
			summary, _, err = s.run(App)
			s.Must(err)
			s.want(summary, map[Result]int{ResultReplayed: 1})
			s.once("v1")
			cancel()
		}
	}
}

// Lists that lag behind are requested again, and nothing is pushed twice because of them.
func TestListThatLagsIsAskedAgain(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1")
	pushes := 0
	s.Faults["push"] = func(digest.Digest) (bool, error) { pushes++; return true, nil }
	s.mutate = func(e *Engine) { e.Registry = &late{scene: s, from: 2, saw: func() {}} }
	summary, _, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultSigned: 1})
	if pushes != 1 || len(s.operations) != 1 {
		t.Errorf("got %d pushes, %d key operations, want 1, 1", pushes, len(s.operations))
	}
}

// A tag that the registry no longer has is reported. Its digest is signed all the same.
func TestTagThatIsGoneIsReported(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1")
	delete(s.Tagged, "v1")
	summary, outcomes, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultSigned: 1})
	if len(outcomes) != 1 || len(outcomes[0].Notes) != 1 || !strings.HasPrefix(outcomes[0].Notes[0], "tag-gone: ") {
		t.Errorf("got %+v, want one with the note tag-gone", outcomes)
	}
}

// Promise 5: if the image of an earlier run's envelope cannot be looked up now, the envelope is not
// pushed and the item is not reported as done.
func TestResumedItemThatCannotBeLookedUpIsNotDone(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1")
	down := failure.New(failure.Permanent, errors.New("no answer that makes sense"))
	s.BreakFor("push", "v1", false, down)
	summary, _, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultFailed: 1})
	delete(s.Faults, "push")
	s.BreakFor("resolve", "v1", false, down)
	summary, _, err = s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultFailed: 1})
	if summary.Complete() {
		t.Error("got a complete run, want one that is not")
	}
	delete(s.Faults, "resolve")
	summary, _, err = s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultReplayed: 1})
	s.once("v1")
}

// A waiting envelope that binds a tag which DCT has since given to another digest is not pushed:
// two digests would be bound to one tag.
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

// Promise 5: if an earlier run's envelope must not be pushed, and nobody can tell whether it was,
// the item is not done.
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

// An item that the plan could not look up leaves the run incomplete.
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

// A waiting envelope that names an index which DCT no longer vouches for is not pushed. It is made
// anew with what DCT says now.
func TestEnvelopeOfAnIndexThatIsNotVouchedForIsNotPushed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(m *multi)
		signed string // the index in the new signature's metadata; "": none, as the image has a tag
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

// If the registry's answer to the push confirms that it took a signature for the image, its list is
// not requested again. The event says what confirmed the item. What an earlier run has pushed is
// looked up as usual.
func TestPushThatIsToldNeedsNoList(t *testing.T) {
	t.Parallel()
	for _, tells := range []bool{true, false} {
		s := newScene(t)
		s.tells = tells
		s.Publish(App, "v1")
		s.Faults["listed"] = func(digest.Digest) (bool, error) {
			if tells {
				t.Error("got asked for the list after a push that was told, want no request")
			}
			return true, nil
		}
		summary, _, err := s.run(App)
		s.Must(err)
		s.want(summary, map[Result]int{ResultSigned: 1})
		want := ""
		if tells {
			want = "by OCI-Subject"
		}
		if got := s.confirmedBy(); !slices.Equal(got, []string{want}) {
			t.Errorf("told %t: got events of confirmation with %q, want one with %q", tells, got, want)
		}
	}
	s := newScene(t)
	s.tells = true
	s.Publish(App, "v1")
	s.BreakFor("push", "v1", true, failure.New(failure.Permanent, errors.New("the answer is lost")))
	s.Must(func() error { _, _, err := s.run(App); return err }())
	s.Heal()
	summary, _, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultReplayed: 1})
	if len(s.operations) != 1 {
		t.Errorf("got %d key operations, want 1", len(s.operations))
	}
}

// confirmedBy returns what the events of confirmed items say.
func (s *scene) confirmedBy() (by []string) {
	s.T.Helper()
	l, err := state.Open(s.ledger, state.Options{})
	s.Must(err)
	events, err := l.Events(0, 0)
	s.Must(errors.Join(err, l.Close()))
	for _, e := range events {
		if e.Kind == state.EventConfirmed {
			by = append(by, e.Reason)
		}
	}
	return by
}
