package migrate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/state"
)

// renewal is a scene whose key gets new certificates, and whose clock can be set.
type renewal struct {
	*scene
	repo   *notarytest.Repository
	key    Key
	resign bool
	proofs int // how often the key had to prove its identity
}

func newRenewal(t *testing.T, tags ...string) *renewal {
	t.Helper()
	s := &renewal{scene: newScene(t)}
	s.repo = s.Publish(App, tags...)
	s.mutate = func(e *Engine) {
		s.key.Signer, s.key.Accepted, s.key.Expiry, s.key.Timestamped = s.scene, s.accepted, s.expiry, s.stamped
		e.Keys, e.Resign, e.Now = []Key{s.key}, s.resign, s.now
		// A year later the trust data of these tests would have expired; the signatures have not.
		e.Trust = s.Trust()
	}
	return s
}

// renew gives the key another certificate and accepts it. The ledger has the previous one.
func (s *renewal) renew(leaf string) {
	s.key.Earlier = append(s.key.Earlier, s.leaf)
	s.leaf = leaf
}

// runs makes a run. It checks how many key operations it cost and which certificates signed the
// items.
func (s *renewal) runs(what string, operations int, complete bool, by map[string]int) []Outcome {
	s.T.Helper()
	before := len(s.operations)
	summary, outcomes, err := s.run(App)
	s.Must(err)
	if got := len(s.operations) - before; got != operations || summary.Complete() != complete {
		s.T.Errorf("%s: got %d key operations, complete %t, want %d, %t", what, got, summary.Complete(), operations, complete)
	}
	for _, o := range outcomes {
		if o.Leaf != "" && !s.stamped && !o.Expires.After(s.now()) {
			s.T.Errorf("%s: %s: got a signature that verifies until %s, want it to be valid now, %s", what, o.Digest, o.Expires, s.now())
		}
	}
	for leaf, n := range by {
		if summary.Certificates[leaf] != n {
			s.T.Errorf("%s: got %v by certificate, want %v", what, summary.Certificates, by)
		}
	}
	if len(summary.Certificates) != len(by) {
		s.T.Errorf("%s: got %v by certificate, want %v", what, summary.Certificates, by)
	}
	return outcomes
}

const first, second = "leaf of release", "renewed leaf"

// Signatures by a previously accepted certificate stay done: a renewal does not sign everything
// twice. --resign renews them, each once.
func TestRenewalSignsNothingTwiceUnlessAsked(t *testing.T) {
	t.Parallel()
	s := newRenewal(t, "v1", "v2", "v3")
	s.runs("the first run", 3, true, map[string]int{first: 3})
	s.renew(second)
	s.Faults["resolve"] = func(digest.Digest) (bool, error) { return false, errors.New("asked") }
	s.runs("after the renewal, with a registry that must not be asked", 0, true, map[string]int{first: 3})
	s.Heal()
	s.Publish(App+"2", "w1")
	s.Must(func() error { _, _, err := s.run(App + "2"); return err }())
	s.resign = true
	s.BreakFor("sign", "v2", false, failure.New(failure.Permanent, errors.New("not this one")))
	s.runs("asked to renew, with one that fails", 3, false, map[string]int{second: 2})
	s.Heal()
	outcomes := s.runs("asked to renew again", 1, true, map[string]int{second: 3})
	for _, o := range outcomes {
		if want := o.Result == ResultSigned; slices.Contains(o.Notes, "resigned: it has a signature by certificate "+first) != want {
			t.Errorf("%s: got notes %v, want the certificate before: %t", o.Result, o.Notes, want)
		}
	}
	s.runs("and once more", 0, true, map[string]int{second: 3})
	s.resign = false
	s.runs("afterwards", 0, true, map[string]int{second: 3})
	for _, tag := range []string{"v1", "v2", "v3"} {
		if n := len(s.signatures[digest.FromString("image "+tag)]); n != 2 {
			t.Errorf("%s: got %d signatures, want 2", tag, n)
		}
	}
}

// An item counts by its best signature, wherever that is in the list.
func TestItemIsCountedByItsBestSignature(t *testing.T) {
	t.Parallel()
	w := Work{key: &Key{Signer: newWorld(nil), Expiry: time.Hour}}
	signature := func(name, leaf string, expiry int64) Signature {
		return Signature{Digest: name, By: state.SignedBy{Identity: leaf, Leaf: leaf, Expiry: expiry}}
	}
	earlier, known, other := signature("earlier", "old", 3600), signature("known", "old", 3600), signature("other options", first, 0)
	now, also := signature("as now", first, 3600), signature("as now, too", first, 3600)
	for _, c := range []struct {
		of    []Signature
		known string
		want  string
	}{
		{[]Signature{earlier}, "", "earlier"},
		{[]Signature{earlier, known}, "", "earlier"},
		{[]Signature{earlier, known}, "known", "known"},
		{[]Signature{known, other}, "known", "other options"},
		{[]Signature{other, known, now}, "other options", "as now"},
		{[]Signature{other, now, also}, "", "as now"},
		{[]Signature{other, now, also}, "as now, too", "as now, too"},
	} {
		for range 2 {
			if got := w.best(c.of, c.known); got.Digest != c.want {
				t.Errorf("of %v, knowing %q: got %q, want %q", c.of, c.known, got.Digest, c.want)
			}
			if c.want == "as now" || c.want == "earlier" {
				break // the first of equals
			}
			slices.Reverse(c.of)
		}
	}
}

// With --recheck, an item signed by an accepted certificate is looked up in the registry, and
// signed again if the signature is gone.
func TestRecheckAfterARenewalFindsTheEarlierSignature(t *testing.T) {
	t.Parallel()
	s := newRenewal(t, "v1", "v2")
	s.runs("the first run", 2, true, map[string]int{first: 2})
	s.renew(second)
	mutate := s.mutate
	s.mutate = func(e *Engine) { mutate(e); e.Recheck = true }
	s.BreakFor("recorded", "v1", false, failure.New(failure.Throttled, errors.New("429")))
	s.runs("while it is unknown", 0, false, map[string]int{first: 1})
	s.Heal()
	s.runs("looked up again", 0, true, map[string]int{first: 2})
	s.signatures[digest.FromString("image v1")] = nil
	s.runs("after one was deleted", 1, true, map[string]int{first: 1, second: 1})
}

// Whatever happens to an item later, its signature is not forgotten. As long as the registry lists
// it, a renewed certificate does not sign a second one.
func TestSignatureOfAnItemThatIsNotDoneAnyMoreIsKnown(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(*renewal){
		"undo could not remove it": func(s *renewal) {
			key := s.item("v1").Key
			l, err := state.Open(s.ledger, state.Options{})
			s.Must(err)
			_, err = l.Reopen(key) // as undo does before it tries
			s.Must(err)
			s.Must(l.Close())
		},
		"the image was away": func(s *renewal) {
			d := digest.FromString("image v1")
			image, mutate := s.Images[d], s.mutate
			delete(s.Images, d)
			s.mutate = func(e *Engine) { mutate(e); e.Recheck = true }
			s.runs("without the image", 0, true, map[string]int{})
			s.Images[d], s.mutate = image, mutate
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRenewal(t, "v1")
			s.runs("the first run", 1, true, map[string]int{first: 1})
			harm(s)
			s.Heal()
			if it := s.item("v1"); it.Stage == state.Confirmed {
				t.Fatalf("got %+v, want it not done", it)
			}
			s.renew(second)
			s.runs("after the renewal", 0, true, map[string]int{first: 1})
			s.signatures[digest.FromString("image v1")] = nil
			mutate := s.mutate
			s.mutate = func(e *Engine) { mutate(e); e.Recheck = true }
			s.runs("and when it is gone", 1, true, map[string]int{second: 1})
		})
	}
}

// An envelope that an earlier run left is not pushed if the image was signed since. The referrers
// API loses no entries, but the envelope may have waited for long. If it also lacks requested
// options, the other signature still counts.
func TestEnvelopeOfAnEarlierRunIsNotPushedBesideAnother(t *testing.T) {
	t.Parallel()
	for name, expiry := range map[string]time.Duration{"as made now": 0, "neither is": time.Hour} {
		s := newRenewal(t, "v1")
		s.BreakFor("push", "v1", false, failure.New(failure.Permanent, errors.New("cut")))
		s.runs(name+", cut off", 1, false, map[string]int{})
		s.Heal()
		ledger := s.ledger
		s.ledger += ".other"
		s.runs(name+", another machine", 1, true, map[string]int{first: 1})
		s.ledger, s.expiry = ledger, expiry
		s.runs(name+", the next run", 0, true, map[string]int{first: 1})
		s.once("v1")
	}
}

// An envelope that was made because the list seemed empty is not pushed beside a signature that is
// listed after all, although it binds one more tag. If this is requested, it is pushed.
func TestEnvelopeThatOverlookedASignatureIsNotPushed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rebind, accepted bool
		want             int
	}{"": {want: 1}, "by an accepted certificate": {accepted: true, want: 1}, "with --rebind": {rebind: true, want: 2}} {
		s := newRenewal(t, "v1")
		s.runs(name+", the first run", 1, true, map[string]int{first: 1})
		by := first
		if c.accepted {
			s.accepted, s.leaf = []string{first}, second
		} else {
			by = s.leaf
		}
		d := digest.FromString("image v1")
		s.Must(s.repo.Sign("latest", d.Encoded(), 100))
		s.Must(s.repo.Publish())
		list := s.signatures[d]
		s.signatures[d], s.ledger = nil, s.ledger+".new"
		s.BreakFor("push", "v1", false, failure.New(failure.Permanent, errors.New("cut")))
		s.runs(name+", the list seems empty", 1, false, map[string]int{})
		s.Heal()
		s.signatures[d] = list
		mutate := s.mutate
		s.mutate = func(e *Engine) { mutate(e); e.Rebind = c.rebind }
		s.runs(name+", it is back", 0, true, map[string]int{by: 1})
		if n := len(s.signatures[d]); n != c.want {
			t.Errorf("%s: got %d signatures, want %d", name, n, c.want)
		}
	}
}

// An identity that nobody has accepted does not count, whatever the ledger says of the item.
func TestIdentityThatIsNotAcceptedIsSignedAgain(t *testing.T) {
	t.Parallel()
	s := newRenewal(t, "v1")
	s.runs("the first run", 1, true, map[string]int{first: 1})
	s.leaf, s.key.Earlier = second, []string{"another that was accepted"} // first was not accepted
	s.runs("by a stranger", 1, true, map[string]int{second: 1})
	s.runs("again", 0, true, map[string]int{second: 1})
}

// A lost ledger knows no earlier certificate; the configuration may name it.
func TestLostLedgerAfterARenewal(t *testing.T) {
	t.Parallel()
	for name, accepted := range map[string][]string{"named": {first}, "not named": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRenewal(t, "v1", "v2")
			s.runs("the first run", 2, true, map[string]int{first: 2})
			s.leaf, s.accepted, s.ledger = second, accepted, s.ledger+".new"
			if accepted != nil {
				s.runs("with a new ledger", 0, true, map[string]int{first: 2})
				s.runs("again", 0, true, map[string]int{first: 2})
				return
			}
			s.runs("with a new ledger", 2, true, map[string]int{second: 2})
		})
	}
}

// docs/howto/migrate.md: a signature that has expired is signed again, once.
func TestExpiredSignatureIsSignedAgainOnce(t *testing.T) {
	t.Parallel()
	s := newRenewal(t, "v1", "v2")
	start := time.Now()
	s.now = func() time.Time { return start }
	s.expiry = time.Hour
	s.runs("the first run", 2, true, map[string]int{first: 2})
	s.now = func() time.Time { return start.Add(time.Hour - 1) }
	s.runs("the moment before", 0, true, map[string]int{first: 2})
	s.now = func() time.Time { return start.Add(time.Hour) }
	s.runs("at the expiry", 2, true, map[string]int{first: 2})
	s.runs("again", 0, true, map[string]int{first: 2})
}

// A run of selected images counts the others as done only while their signatures verify.
func TestExpiredSignatureOfWhatIsNotAskedForIsNotDone(t *testing.T) {
	t.Parallel()
	s := newRenewal(t, "asked", "other")
	start := time.Now()
	s.now = func() time.Time { return start }
	s.expiry = time.Hour
	s.runs("the first run", 2, true, map[string]int{first: 2})
	all := s.mutate
	s.mutate = func(e *Engine) {
		all(e)
		e.Filter = func(a FilterItem) bool { return slices.Contains(a.Tags, "asked") }
	}
	s.now = func() time.Time { return start.Add(time.Hour - 1) }
	s.runs("the moment before", 0, true, map[string]int{first: 2})
	s.now = func() time.Time { return start.Add(time.Hour) }
	s.runs("at the expiry", 1, false, map[string]int{first: 1})
	s.mutate = all
	s.runs("of all", 1, true, map[string]int{first: 2})
}

// Without a timestamp, a signature expires with its chain, also one by an earlier certificate. With
// a timestamp it stays valid.
func TestSignatureEndsWithItsChainUnlessTimestamped(t *testing.T) {
	t.Parallel()
	for name, stamped := range map[string]bool{"timestamped": true, "not timestamped": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRenewal(t, "v1")
			start := time.Now().AddDate(-1, 0, 0).Add(time.Minute) // so that the chain ends in a minute
			s.now, s.stamped = func() time.Time { return start }, stamped
			if _, _, err := s.run(App); err != nil { // the trust data is valid at present
				t.Log(err)
			}
			s.now = func() time.Time { return start.AddDate(1, 0, 1) }
			s.renew(second)
			if stamped {
				s.runs("a year later", 0, true, map[string]int{first: 1})
				return
			}
			s.runs("a year later", 1, true, map[string]int{second: 1})
			s.runs("again", 0, true, map[string]int{second: 1})
		})
	}
}

// A signature that lacks options requested now is inspected and reported. It stays until --resign.
func TestOtherOptionsAreToldAndRenewedWhenAsked(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*renewal){
		"a timestamp is asked for": func(s *renewal) { s.stamped = true },
		"an expiry is asked for":   func(s *renewal) { s.expiry = time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRenewal(t, "v1")
			s.runs("the first run", 1, true, map[string]int{first: 1})
			change(s)
			outcomes := s.runs("with the option", 0, true, map[string]int{first: 1})
			if len(outcomes) != 1 || !strings.Contains(strings.Join(outcomes[0].Notes, " "), "other-options: ") {
				t.Errorf("got %+v, want a note", outcomes)
			}
			s.resign = true
			s.runs("asked to renew", 1, true, map[string]int{first: 1})
			s.resign = false
			if outcomes := s.runs("afterwards", 0, true, map[string]int{first: 1}); len(outcomes[0].Notes) != 0 {
				t.Errorf("got %+v, want no note", outcomes)
			}
		})
	}
}

// If the run was killed between key and push, and the certificate was renewed, the envelope is made
// anew unless the registry lists it.
func TestEnvelopeByAnEarlierCertificateIsNotPushed(t *testing.T) {
	t.Parallel()
	for name, listed := range map[string]bool{"not pushed": false, "pushed already": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRenewal(t, "v1")
			s.BreakFor("push", "v1", listed, failure.New(failure.Permanent, errors.New("cut")))
			s.runs("cut off", 1, false, map[string]int{})
			s.Heal()
			s.renew(second)
			if listed {
				s.runs("after the renewal", 0, true, map[string]int{first: 1})
			} else {
				s.runs("after the renewal", 1, true, map[string]int{second: 1})
			}
			s.once("v1")
			s.runs("again", 0, true, map[string]int{map[bool]string{true: first, false: second}[listed]: 1})
		})
	}
}

// What replaces such an envelope makes the item done only if an accepted certificate made it and
// the registry lists it. If the key then fails, the ledger has nothing as done that is not.
func TestEnvelopeByAnotherCertificateMakesNothingDone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ listed, accepted bool }{
		"accepted and not pushed": {false, true}, "pushed and not accepted": {true, false}, "neither": {false, false},
	} {
		s := newRenewal(t, "v1")
		s.BreakFor("push", "v1", c.listed, failure.New(failure.Permanent, errors.New("cut")))
		s.runs(name+", cut off", 1, false, map[string]int{})
		s.Heal()
		if s.renew(second); !c.accepted {
			s.key.Earlier = nil
		}
		s.BreakFor("sign", "v1", false, failure.New(failure.Permanent, errors.New("not now")))
		s.runs(name+", with a key that fails", 1, false, map[string]int{})
		if it := s.item("v1"); it.Stage != state.Failed {
			t.Errorf("%s: got %+v, want it failed", name, it)
		}
		s.Heal()
		s.runs(name+", healed", 1, true, map[string]int{second: 1})
	}
}

// A certificate that is known only from the ledger is proven right before a signature counts as the
// key's or an envelope of an earlier run is pushed. If nothing is left to do, it is not proven.
func TestKeyIsProvenBeforeAnythingCountsAsItsOwn(t *testing.T) {
	t.Parallel()
	astray := failure.New(failure.Security, errors.New("it signs with another certificate"))
	for name, c := range map[string]struct {
		prepare func(*renewal)
		proof   error
		proofs  int
		fails   bool
	}{
		"nothing is left to do":          {func(*renewal) {}, astray, 0, false},
		"found in the registry":          {func(s *renewal) { s.ledger += ".new" }, nil, 1, false},
		"found, and not the key's":       {func(s *renewal) { s.ledger += ".new" }, astray, 1, true},
		"an envelope, and not the key's": {cut(false), astray, 1, true},
		"pushed, and not the key's":      {cut(true), astray, 1, true},
		"an envelope":                    {cut(false), nil, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRenewal(t, "v1")
			s.runs("the first run", 1, true, map[string]int{first: 1})
			c.prepare(s)
			listed := len(s.signatures[digest.FromString("image v1")])
			s.key.Prove = func(context.Context) error { s.proofs++; return c.proof }
			summary, _, err := s.run(App)
			if s.proofs != c.proofs || errors.Is(err, ErrKeyAstray) != c.fails {
				t.Errorf("got %d proofs, %v, summary %+v, want %d proofs, failing %t", s.proofs, err, summary, c.proofs, c.fails)
			}
			if n := len(s.signatures[digest.FromString("image v1")]); c.fails && n != listed {
				t.Errorf("got %d signatures in the registry, want %d: nothing is pushed", n, listed)
			}
			if c.fails && summary.Results[ResultAlready]+summary.Results[ResultReplayed] != 0 {
				t.Errorf("got %+v, want that it does not count", summary)
			}
		})
	}
}

// cut leaves an envelope that was not pushed, or one that was pushed but not confirmed.
func cut(pushed bool) func(*renewal) {
	return func(s *renewal) {
		s.signatures[digest.FromString("image v1")], s.ledger = nil, s.ledger+".cut"
		step := "push"
		if pushed {
			step = "listed"
		}
		s.BreakFor(step, "v1", false, failure.New(failure.Permanent, errors.New("cut")))
		s.runs("cut off", 1, false, map[string]int{})
		s.Heal()
	}
}

// Two machines sign one repository with one key. With Shared, what the other has signed since this
// one looked is seen before the push. Where lists are kept in tags, this is always so.
func TestAnotherMachineSignedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ inTag, shared, seen bool }{
		"list in a tag": {inTag: true, seen: true},
		"shared":        {shared: true, seen: true},
		"neither":       {seen: false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRenewal(t, "v1", "v2")
			d := digest.FromString("image v1")
			s.inTag = c.inTag
			mutate := s.mutate
			s.mutate = func(e *Engine) { mutate(e); e.Shared = c.shared; e.Registry = &other{s.scene, d, t} }
			summary, outcomes, err := s.run(App)
			s.Must(err)
			want := map[bool]int{true: 1, false: 2}[c.seen]
			if n := len(s.signatures[d]); n != want || !summary.Complete() {
				t.Errorf("got %d signatures, complete %t, want %d", n, summary.Complete(), want)
			}
			if wasted := map[bool]int{true: 1}[c.seen]; summary.Wasted != wasted || summary.Results[ResultAlready] != wasted || len(outcomes) != 2 {
				t.Errorf("got %+v, want %d wasted", summary, wasted)
			}
			s.mutate = mutate
			s.runs("afterwards", 0, true, map[string]int{first: 2})
			l, err := state.Open(s.ledger, state.Options{ReadOnly: true})
			s.Must(err)
			defer l.Close()
			it, _, err := l.Item(state.Key{Repository: App, Digest: d.String(), KeyName: "release"})
			s.Must(err)
			if _, left, err := l.Envelope(it.Key); it.Stage != state.Confirmed || left || err != nil {
				t.Errorf("got %+v, envelope left %t, %v, want %s and none left", it, left, err, state.Confirmed)
			}
		})
	}
}

// other is a registry where another machine signs an image between the first lookup and the next.
type other struct {
	*scene
	image digest.Digest
	t     *testing.T
}

func (o *other) Find(ctx context.Context, image Image, key string) (Found, error) {
	found, err := o.scene.Find(ctx, image, key)
	if image.Descriptor.Digest == o.image && len(found.Ours) == 0 && err == nil {
		tag := map[string]string{MetadataGUN: App, MetadataTag + "v1": "targets"}
		e, err := o.signAs("release", image.Descriptor, tag)
		if err == nil {
			_, err = o.scene.Push(ctx, image, e, o.inTag)
		}
		if err != nil {
			o.t.Error(err)
		}
	}
	return found, err
}

// An envelope that expired before it was seen in the registry does not make an item done. Whether
// it was pushed or not, the image is signed anew at the moment of expiry, and not before.
func TestExpiredEnvelopeIsNotReplayed(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"push", "listed"} {
		for name, c := range map[string]struct {
			after      time.Duration
			operations int
		}{"the moment before": {time.Hour - 1, 0}, "at the expiry": {time.Hour, 1}} {
			t.Run(step+" fails, and "+name, func(t *testing.T) {
				t.Parallel()
				s := newRenewal(t, "v1")
				start := time.Now()
				s.now, s.expiry = func() time.Time { return start }, time.Hour
				s.Faults[step] = func(digest.Digest) (bool, error) { return false, failure.New(failure.Permanent, errors.New("no")) }
				s.runs("the first run", 1, false, nil)
				delete(s.Faults, step)
				s.now = func() time.Time { return start.Add(c.after) }
				s.runs("the second run", c.operations, true, map[string]int{first: 1})
				good := 0
				for _, signature := range s.signatures[s.Tagged["v1"]] {
					if s.world.by[signature].Verifies(s.now()) {
						good++
					}
				}
				if good != 1 {
					t.Errorf("got %d signatures that verify, want 1", good)
				}
			})
		}
	}
}
