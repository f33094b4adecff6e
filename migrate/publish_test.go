package migrate

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// late lists signatures only from the given look on.
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

// A push that was answered is no signature yet: an item is signed when the registry lists
// it, and what it does not list is not reported as signed.
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

// A signal that comes while the registry is asked for a pushed signature, or before a push is tried
// again, is no failure: the item stays in its stage, and the next run goes on from there.
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
			s.mutate = func(e *Engine) { e.Registry, e.Pause = never, time.Hour } // the pauses are not waited for
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

// Lists that lag behind are asked again, and nothing is pushed twice for it.
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

// A tag that the registry no longer has is reported, and its digest signed all the same.
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

// Promise 5: an envelope of an earlier run whose image cannot be looked up now is not pushed, and
// the item is not reported as done.
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
