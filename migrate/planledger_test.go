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
	s.Publish(App, "done", "signed", "new")
	cut := failure.New(failure.Permanent, errors.New("cut"))
	s.BreakFor("push", "signed", false, cut)
	s.BreakFor("find", "new", false, cut)
	_, _, err := s.run(App)
	s.Must(err)
	s.Heal()
	l, err := state.Open(s.ledger, state.Options{})
	s.Must(err)
	defer func() { s.Must(l.Close()) }()
	// As the next run would begin: what failed is taken up where it ended.
	var items []state.Item
	for _, tag := range []string{"done", "signed", "new"} {
		items = append(items, state.Item{Key: state.Key{Repository: App, Digest: digest.FromString("image " + tag).String(), KeyName: "release"}, GUN: App})
	}
	_, err = l.Plan(items)
	s.Must(err)
	before := len(s.operations)
	e := &Engine{Trust: s.Trust(), Registry: s, Keys: []Key{{Signer: s}}, Ledger: l, Workers: 4, Tool: "test/1"}
	p, err := e.MakePlan(context.Background(), s.GUNs(App))
	s.Must(err)
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
	s.Publish(App, "v1")
	s.Publish(other, "w1")
	var targets []dct.Target
	for _, gun := range s.GUNs(App, other) {
		r, err := s.Trust().Read(context.Background(), gun, dct.Known{})
		s.Must(err)
		targets = append(targets, r.Targets()...)
	}
	d := digest.FromString("image v1")
	e := &Engine{Keys: []Key{{Signer: s}}}
	_, err := e.vouch(context.Background(), Work{key: e.Keys[0], Targets: targets}, ocispec.Descriptor{Digest: d, Size: 100})
	if failure.Of(err) != failure.Security || len(s.operations) != 0 || !strings.Contains(fmt.Sprint(err), "tag w1 is of "+other+", and tag v1 of "+App) {
		t.Errorf("error %v, %d key operations", err, len(s.operations))
	}
}

// What was pushed and not seen to be listed is looked for first, and pushed again only if
// it is not there.
func TestPushedSignatureIsLookedForBeforeItIsPushedAgain(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		s := newScene(t)
		s.Publish(App, "v1")
		ctx, cancel := context.WithCancel(context.Background())
		s.Faults["listed"] = func(digest.Digest) (bool, error) { cancel(); return false, ctx.Err() }
		_, _, err := s.runCtx(ctx, nil, App)
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		s.Heal()
		if lost {
			delete(s.signatures, digest.FromString("image v1"))
		}
		pushes := 0
		s.Faults["push"] = func(digest.Digest) (bool, error) { pushes++; return true, nil }
		summary, _, err := s.run(App)
		s.Must(err)
		s.want(summary, map[Result]int{ResultReplayed: 1})
		s.once("v1")
		if (pushes == 1) != lost || len(s.operations) != 1 {
			t.Errorf("lost %t: %d pushes, %d key operations", lost, pushes, len(s.operations))
		}
	}
}
