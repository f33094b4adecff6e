package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// With a ledger, plan says which signatures are made already and only wait for the
// registry.
func TestPlanKnowsWhatTheLedgerHas(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.publish(app, "done", "signed", "new")
	cut := failure.New(failure.Permanent, errors.New("cut"))
	s.breakFor("push", "signed", false, cut)
	s.breakFor("find", "new", false, cut)
	_, _, err := s.run(app)
	s.must(err)
	s.heal()
	l, err := state.Open(s.ledger, state.Options{})
	s.must(err)
	defer func() { s.must(l.Close()) }()
	// As the next run would begin: what failed is taken up where it ended.
	var items []state.Item
	for _, tag := range []string{"done", "signed", "new"} {
		items = append(items, state.Item{Key: state.Key{Repository: app, Digest: digest.FromString("image " + tag).String(), KeyName: "release"}, GUN: app})
	}
	_, err = l.Plan(items)
	s.must(err)
	before := len(s.operations)
	e := &Engine{Trust: s.trust(), Registry: s, Keys: []Key{{Signer: s}}, Ledger: l, Workers: 4, Tool: "test/1"}
	p, err := e.MakePlan(context.Background(), s.guns(app))
	s.must(err)
	want := map[string]Action{"done": ActionDone, "signed": ActionPush, "new": ActionSign}
	for _, it := range p.Repositories[0].Items {
		if it.Action != want[it.Tags[0].Tag] {
			t.Errorf("%s: %s, want %s", it.Tags[0].Tag, it.Action, want[it.Tags[0].Tag])
		}
	}
	if len(s.operations) != before {
		t.Error("a plan spent a key operation")
	}
}

// Promise 1: targets of two repositories do not vouch for one signature, though they name
// the same digest.
func TestTargetsOfTwoRepositoriesDoNotVouchTogether(t *testing.T) {
	t.Parallel()
	const other = "registry.example.com/team/other"
	s := newScene(t)
	s.publish(app, "v1")
	s.publish(other, "w1")
	var targets []dct.Target
	for _, gun := range s.guns(app, other) {
		r, err := s.trust().Read(context.Background(), gun, dct.Known{})
		s.must(err)
		targets = append(targets, r.Targets()...)
	}
	d := digest.FromString("image v1")
	e := &Engine{Keys: []Key{{Signer: s}}}
	_, err := e.vouch(context.Background(), Work{key: e.Keys[0], Targets: targets}, ocispec.Descriptor{Digest: d, Size: 100})
	if failure.Of(err) != failure.Security || len(s.operations) != 0 || !strings.Contains(fmt.Sprint(err), "tag w1 is of "+other+", and tag v1 of "+app) {
		t.Errorf("error %v, %d key operations", err, len(s.operations))
	}
}

// What was pushed and not seen to be listed is looked for first, and pushed again only if
// it is not there.
func TestPushedSignatureIsLookedForBeforeItIsPushedAgain(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		s := newScene(t)
		s.publish(app, "v1")
		ctx, cancel := context.WithCancel(context.Background())
		s.fault["listed"] = func(digest.Digest) (bool, error) { cancel(); return false, ctx.Err() }
		_, _, err := s.runCtx(ctx, nil, app)
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		s.heal()
		if lost {
			delete(s.signatures, digest.FromString("image v1"))
		}
		pushes := 0
		s.fault["push"] = func(digest.Digest) (bool, error) { pushes++; return true, nil }
		summary, _, err := s.run(app)
		s.must(err)
		s.want(summary, map[Result]int{ResultReplayed: 1})
		s.once("v1")
		if (pushes == 1) != lost || len(s.operations) != 1 {
			t.Errorf("lost %t: %d pushes, %d key operations", lost, pushes, len(s.operations))
		}
	}
}
