package migrate

import (
	"context"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"
)

// A run whose budget is spent leaves the rest as it is, and the next run goes on. Each image is
// signed once.
func TestSpentRunGoesOn(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var tags []string
	for i := range 20 {
		tags = append(tags, fmt.Sprintf("v%d", i))
	}
	s.Publish(App, tags...)
	for done := 0; done < 20; done += 7 {
		budget := NewBudget(7)
		s.Faults["sign"] = func(digest.Digest) (bool, error) { return true, budget.Take() }
		sum, _, err := s.run(App)
		s.Must(err)
		left := max(20-done-7, 0)
		if sum.Results[ResultSigned] != min(7, 20-done) || len(sum.Failed) > 0 {
			t.Errorf("after %d: got %+v, want 7 signed at most, none failed", done, sum)
		}
		if sum.Spent != (left > 0) || sum.Drained != sum.Spent || sum.Complete() != (left == 0) {
			t.Errorf("after %d: got spent %t, drained %t, complete %t with %d left", done, sum.Spent, sum.Drained, sum.Complete(), left)
		}
	}
	s.once(tags...)
}

// The same holds if the budget does not allow the key's proof: nothing has failed, and nothing is
// pushed.
func TestSpentBeforeTheProof(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1", "v2")
	s.signatures[of("v1")], s.signedBy["ours"] = []string{"ours"}, "release"
	budget := NewBudget(0)
	s.mutate = func(e *Engine) { e.Keys[0].Prove = func(context.Context) error { return budget.Take() } }
	s.Faults["sign"] = func(digest.Digest) (bool, error) { return true, budget.Take() }
	sum, _, err := s.run(App)
	s.Must(err)
	if !sum.Spent || len(sum.Results) > 0 {
		t.Errorf("got %+v, want it spent and nothing done", sum)
	}
	if n := len(s.signatures[of("v2")]); n != 0 {
		t.Errorf("got %d signatures pushed, want none", n)
	}
}
