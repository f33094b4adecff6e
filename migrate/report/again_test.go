package report

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// chance makes results of a seed.
type chance struct{ *rand.Rand }

func (c chance) text() string {
	return []string{"", "a", "registry.example.com/app", "two\nlines", "ü\u202e", "\x1b[31m"}[c.IntN(6)]
}

func (c chance) list() []string {
	var all []string
	for range c.IntN(3) {
		all = append(all, c.text())
	}
	return all
}

func pick[T any](c chance, from []T) T { return from[c.IntN(len(from))] }

// What a verification showed when it ended, its saved result shows too.
func TestVerificationIsShownAgainAsItWas(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		c := chance{rand.New(rand.NewPCG(seed, 1))}
		verbose := c.IntN(2) == 0
		var text, js bytes.Buffer
		live := []Verify{NewVerifyText(&text, verbose, shown.Now), NewVerifyJSON(&js, "dct2notation/test")}
		totals := Totals{}
		var failed error
		if c.IntN(4) == 0 {
			failed = errors.New("ended: " + c.text())
		}
		saved := savedVerification(t, c, live, totals, failed)
		for _, one := range live {
			must(t, one.End(totals, failed))
		}
		o := shown
		o.Verbose = verbose
		for format, want := range map[string]string{"text": text.String(), "json": js.String()} {
			var got bytes.Buffer
			must(t, Render(&got, format, saved, o))
			if got.String() != want {
				t.Fatalf("seed %d as %s:\n%s\nwas\n%s", seed, format, got.String(), want)
			}
		}
		if saved.End.Well != (failed == nil && !totals.Disagree() && !totals.Unknown()) {
			t.Errorf("seed %d: well is %t: %v, %v", seed, saved.End.Well, totals, failed)
		}
	}
}

func savedVerification(t *testing.T, c chance, live []Verify, totals Totals, failed error) *Saved {
	var all []verify.Repository
	for i := range 1 + c.IntN(4) {
		all = append(all, randomRepository(c, i))
	}
	for _, r := range all {
		totals.Add(r)
		for _, one := range live {
			must(t, one.Repository(r))
		}
	}
	end := End{Complete: failed == nil, Well: failed == nil && !totals.Disagree() && !totals.Unknown()}
	if failed != nil {
		end.Error = failed.Error()
	}
	return loaded(t, recorded(t, OfVerify, func(to Sink) {
		for _, r := range all {
			must(t, Verified(to, r))
		}
	}, end))
}

func randomRepository(c chance, i int) verify.Repository {
	r := verify.Repository{GUN: fmt.Sprintf("registry.example.com/%d%s", i, c.text()), Place: c.text()}
	if c.IntN(4) == 0 {
		r.Class, r.Reason = pick(c, []verify.Class{verify.Unknown, verify.Untrusted, verify.Expired}), "x"+c.text()
		return r
	}
	r.PinnedBy, r.Expired, r.Totals = c.text(), c.list(), map[verify.Class]int{}
	if c.IntN(3) == 0 {
		r.Reason = "not looked at: " + c.text()
		r.Totals[verify.Unknown]++
	}
	if c.IntN(2) == 0 {
		r.Expiries, r.Judged = expiriesOf(), dct.Judged{Roles: []string{c.text()}, At: began, By: c.text()}
	}
	for range 1 + c.IntN(4) {
		tag := verify.Row{Tag: c.text(), Class: pick(c, classes), Reason: c.text(), Role: c.text(), Bound: c.IntN(2) == 0, Flags: c.list()}
		if c.IntN(2) == 0 {
			tag.DCT, tag.CertificateExpires = digestOf(c.text()), began.AddDate(0, 0, c.IntN(100))
		}
		if c.IntN(2) == 0 {
			tag.Registry = digestOf(c.text())
		}
		if c.IntN(3) > 0 {
			tag.Class = verify.Agree
		}
		if tag.Classes = []verify.Class{tag.Class}; !tag.Class.Agrees() && c.IntN(3) == 0 {
			tag.Classes = append(tag.Classes, verify.Unknown)
		}
		r.Tags = append(r.Tags, tag)
		r.Totals[tag.Class]++
	}
	return r
}

// What a run showed when it ended, its saved result shows too.
func TestRunIsShownAgainAsItWas(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		c := chance{rand.New(rand.NewPCG(seed, 2))}
		live := Run{Started: began}
		var failed error
		if c.IntN(4) == 0 {
			failed = errors.New("ended: " + c.text())
		}
		sum := migrate.Summary{Unread: map[failure.Class]int{}, Results: map[migrate.Result]int{}, Failed: map[failure.Class]int{}, Skipped: map[failure.Class]int{}, Drained: c.IntN(5) == 0}
		var pieces []func(Sink) error
		for range c.IntN(8) {
			pieces = append(pieces, randomPiece(c, &live, &sum))
		}
		if failed != nil || sum.Drained {
			sum.Items += c.IntN(3)
		}
		live.Close(sum, failed, ended)
		end := End{Well: live.Complete, Complete: failed == nil && !sum.Drained, Stopped: sum.Drained, Items: sum.Items, Error: live.Error}
		saved := loaded(t, recorded(t, OfRun, func(to Sink) {
			for _, p := range pieces {
				must(t, p(to))
			}
		}, end))
		var text, js bytes.Buffer
		must(t, errors.Join(RunText(&text, &live), JSON(&js, &live)))
		for format, want := range map[string]string{"text": text.String(), "json": js.String()} {
			if got := rendered(t, format, saved); got != want {
				t.Fatalf("seed %d as %s:\n%s\nwas\n%s", seed, format, got, want)
			}
		}
		if saved.End.Well != live.Complete {
			t.Errorf("seed %d: well is %t", seed, saved.End.Well)
		}
	}
}

// randomPiece is a repository or an item, told to the live report and to be told again.
func randomPiece(c chance, live *Run, sum *migrate.Summary) func(Sink) error {
	if c.IntN(3) == 0 {
		n := &migrate.TrustNews{GUN: "registry.example.com/" + c.text(), PinnedBy: c.text()}
		if c.IntN(3) == 0 {
			n.Class, n.Err = pick(c, []failure.Class{failure.Transient, failure.Security, failure.Unsigned}), errors.New("x"+c.text())
			sum.Unread[n.Class]++
			live.AddUnread(n)
		} else {
			sum.Repositories++
			for range c.IntN(3) {
				n.Findings = append(n.Findings, dct.Finding{Class: "f" + c.text()})
			}
			live.AddFindings(n)
		}
		return func(to Sink) error { return Read(to, n) }
	}
	o := &migrate.Outcome{
		Repository: c.text(), Digest: c.text(), Key: c.text(), Tags: c.list(), Index: c.list(), Platform: c.text(), Notes: c.list(),
		Result: pick(c, []migrate.Result{migrate.ResultSigned, migrate.ResultAlready, migrate.ResultReplayed, migrate.ResultSkipped, migrate.ResultFailed}),
	}
	if o.Result == migrate.ResultSigned || o.Result == migrate.ResultAlready {
		o.Leaf, o.Wasted = c.text(), c.IntN(3) == 0
	}
	switch o.Result {
	case migrate.ResultSkipped:
		o.Class, o.Reason = pick(c, []failure.Class{failure.Missing, failure.Unsignable, failure.NotPlanned, failure.PlanUnknown, failure.NotAsked}), c.text()
		sum.Skipped[o.Class]++
	case migrate.ResultFailed:
		o.Class, o.Reason = pick(c, []failure.Class{failure.Transient, failure.Denied, failure.Security}), c.text()
		sum.Failed[o.Class]++
	}
	sum.Items++
	sum.Results[o.Result]++
	live.Add(o)
	return func(to Sink) error { return Settled(to, o) }
}
