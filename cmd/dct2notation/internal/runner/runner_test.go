package runner

import (
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate"
)

// The feed is followed from a pass only if the pass left nothing undone that it was asked to do.
func TestAnIncompletePassDoesNotAdvance(t *testing.T) {
	t.Parallel()
	well := func() migrate.Summary {
		return migrate.Summary{Repositories: 1, Items: 2, Results: map[migrate.Result]int{migrate.ResultSigned: 1, migrate.ResultSkipped: 1}}
	}
	if m := (made{summary: well()}); !m.done() {
		t.Error("a pass that did all: got not done, want done")
	}
	for name, harm := range map[string]func(m *made){
		"a repository not read": func(m *made) { m.summary.Unread = map[failure.Class]int{failure.Transient: 1} },
		"an item failed":        func(m *made) { m.summary.Failed = map[failure.Class]int{failure.Transient: 1} },
		"unknown in the plan":   func(m *made) { m.summary.Skipped = map[failure.Class]int{failure.PlanUnknown: 1} },
		"stopped":               func(m *made) { m.summary.Drained = true },
		"one item less":         func(m *made) { m.summary.Results = map[migrate.Result]int{migrate.ResultSigned: 1} },
		"an error":              func(m *made) { m.err, m.missed = session.ErrNoTags, session.ErrNoTags },
	} {
		m := made{summary: well()}
		harm(&m)
		if m.done() {
			t.Errorf("%s: got the pass done, want it not done", name)
		}
	}
}

// A pass that left out what it was not asked to do is incomplete.
func TestPartialPassIsNotComplete(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]struct {
		err  error
		left bool
	}{"complete": {nil, false}, "partial": {nil, true}, "incomplete": {cli.Exit(cli.ExitFailures), true}} {
		if got := outcome(c.err, c.left); got != want {
			t.Errorf("%+v: got %s, want %s", c, got, want)
		}
	}
}

// Only a watch goes on from what it has read, for a day, and not if it is asked to recheck finished
// items.
func TestOnlyAWatchFollowsTheFeed(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		harm    func(r *Runner)
		follows bool
	}{
		"after a complete pass": {func(*Runner) {}, true},
		"before one":            {func(r *Runner) { r.feeds, r.whole = nil, time.Time{} }, false},
		"within a day":          {func(r *Runner) { r.whole = now.Add(1 - wholeEvery) }, true},
		"after a day":           {func(r *Runner) { r.whole = now.Add(-wholeEvery) }, false},
		"--recheck":             {func(r *Runner) { r.Recheck = true }, false},
		"--rebind":              {func(r *Runner) { r.Rebind = true }, false},
		"--plan":                {func(r *Runner) { r.Plan = &migrate.Plan{} }, false},
		"--only":                {func(r *Runner) { r.Filter = &Filter{} }, false},
	} {
		r := &Runner{feeds: session.Feeds{"a": &dct.Feed{}}, whole: now}
		c.harm(r)
		if got := r.since(now) != nil; got != c.follows {
			t.Errorf("%s: follows the feed: got %v, want %v", name, got, c.follows)
		}
	}
}
