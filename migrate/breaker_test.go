package migrate

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/failure"
)

// A full repository costs only the key operations in flight, and other repositories go on. Once
// there is room, what was signed is pushed without the key.
func TestFullRepositorySpendsNoMoreKeyOperations(t *testing.T) {
	t.Parallel()
	const roomy = "registry.example.com/roomy"
	s := newScene(t)
	full := map[digest.Digest]bool{}
	var tags []string
	for i := range 100 {
		tags = append(tags, fmt.Sprintf("v%d", i))
		full[digest.FromString("image "+tags[i])] = true
	}
	s.Publish(App, tags...)
	s.Publish(roomy, "w1", "w2")
	s.Faults["push"] = func(d digest.Digest) (bool, error) {
		if full[d] {
			return false, failure.New(failure.Full, errors.New("exceeds the quota"))
		}
		return true, nil
	}
	sum, outcomes, err := s.run(App, roomy)
	if err != nil || sum.Complete() {
		t.Errorf("got error %v, complete %t, want none, false", err, sum.Complete())
	}
	spent := len(s.operations)
	if spent > 4*perWorker+2 {
		t.Errorf("got %d key operations, want at most %d", spent, 4*perWorker+2)
	}
	s.want(sum, map[Result]int{ResultSigned: 2, ResultFailed: 100})
	for _, o := range outcomes {
		if o.Result == ResultFailed && (o.Class != failure.Full || !strings.Contains(o.Reason, "exceeds the quota")) {
			t.Errorf("got %s: %s, want %s: it exceeds the quota", o.Class, o.Reason, failure.Full)
		}
	}
	s.Heal()
	sum, _, err = s.run(App, roomy)
	if err != nil || !sum.Complete() || len(s.operations) != 102 || sum.Results[ResultReplayed] != spent-2 {
		t.Errorf("got error %v, %v after %d and %d key operations, want none, %d replayed and 102 key operations", err, sum.Results, spent, len(s.operations), spent-2)
	}
	s.once(append(tags, "w1", "w2")...)
}

// If one repository after the other is full, the quota covers more than one repository, and the run
// ends.
func TestFullRegistryEndsTheRun(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.mutate = func(e *Engine) { e.Workers = 1 }
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("registry.example.com/r%d", i))
		s.Publish(names[i], fmt.Sprintf("v%d", i))
	}
	s.Faults["push"] = func(digest.Digest) (bool, error) {
		return false, failure.New(failure.Full, errors.New("exceeds the quota"))
	}
	_, _, err := s.run(names...)
	if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "3 repositories in a row are full") {
		t.Errorf("got error %v, want %v: 3 repositories in a row are full", err, ErrStopped)
	}
	if n := len(s.operations); n > patience+perWorker {
		t.Errorf("got %d key operations, want at most %d", n, patience+perWorker)
	}
}

// Somebody who may read but not push is refused for everything to be signed. Already signed images
// in between do not hide that; each refusal costs a key operation.
func TestDeniedPushesEndTheRunWhateverIsSignedBetweenThem(t *testing.T) {
	t.Parallel()
	for _, class := range []failure.Class{failure.Denied, failure.Transient} {
		s := newScene(t)
		var names, signed []string
		for i := range 40 {
			name := fmt.Sprintf("registry.example.com/r%02d", i)
			s.Publish(name, fmt.Sprintf("v%d", i))
			if names = append(names, name); i%2 == 0 {
				signed = append(signed, name)
			}
		}
		_, _, err := s.run(signed...)
		s.Must(err)
		before := len(s.operations)
		s.mutate = func(e *Engine) { e.Workers, e.Recheck, e.outageSpan, e.Pause = 1, true, 1, time.Millisecond }
		s.Faults["push"] = func(digest.Digest) (bool, error) { return false, failure.New(class, errors.New("not today")) }
		_, _, err = s.run(names...)
		if !errors.Is(err, ErrStopped) {
			t.Errorf("%s: got error %v, want %v", class, err, ErrStopped)
		}
		if n := len(s.operations) - before; n > outagePatience+perWorker {
			t.Errorf("%s: got %d key operations, want at most %d", class, n, outagePatience+perWorker)
		}
	}
}
