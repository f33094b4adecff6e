package migrate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/retry"
	"github.com/dct2notation/dct2notation/state"
)

// If the key is denied, it is denied for all items: the run ends instead of trying ten thousand
// times.
func TestBreakerEndsTheRunWhenTheKeyIsDenied(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var tags []string
	for i := range 200 {
		tags = append(tags, fmt.Sprintf("v%d", i))
	}
	s.Publish(App, tags...)
	s.Faults["sign"] = func(digest.Digest) (bool, error) {
		return false, failure.New(failure.Denied, errors.New("ACCESS_DENIED"))
	}
	_, _, err := s.run(App)
	if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "ACCESS_DENIED") {
		t.Errorf("got error %v, want %v with ACCESS_DENIED", err, ErrStopped)
	}
	if n := len(s.operations); n > patience+4 { // those in flight
		t.Errorf("got %d key operations, want at most %d", n, patience+4)
	}
}

// A key that signs something else ends the run at once.
func TestBreakerEndsTheRunWhenTheKeySignsSomethingElse(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9")
	s.Faults["sign"] = func(digest.Digest) (bool, error) {
		return false, failure.New(failure.Security, errors.New("wrong payload"))
	}
	_, _, err := s.run(App)
	if !errors.Is(err, ErrKeyAstray) || len(s.operations) > 4 {
		t.Errorf("got error %v after %d key operations, want %v after at most 4", err, len(s.operations), ErrKeyAstray)
	}
}

// After the first signal, the run finishes what is in flight and starts nothing new.
func TestDrainFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var tags []string
	for i := range 100 {
		tags = append(tags, fmt.Sprintf("v%d", i))
	}
	s.Publish(App, tags...)
	stop := make(chan struct{})
	var once sync.Once
	s.Faults["push"] = func(digest.Digest) (bool, error) { once.Do(func() { close(stop) }); return true, nil }
	summary, _, err := s.runCtx(context.Background(), stop, App)
	s.Must(err)
	signed := summary.Results[ResultSigned]
	if !summary.Drained || summary.Complete() || signed == 0 || signed == 100 || len(s.operations) != signed || len(summary.Failed) != 0 {
		t.Errorf("got %d key operations, summary %+v, want drained, some signed, none failed, and as many key operations", len(s.operations), summary)
	}
	if _, _, err := s.run(App); err != nil {
		t.Fatal(err)
	}
	s.once(tags...)
	if len(s.operations) != 100 {
		t.Errorf("got %d key operations in both runs, want 100", len(s.operations))
	}
}

// The number of workers limits the key operations in flight, and all workers are used.
func TestWorkersBoundTheKey(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var tags []string
	for i := range 64 {
		tags = append(tags, fmt.Sprintf("v%d", i))
	}
	s.Publish(App, tags...)
	k := &slowKey{scene: s}
	s.mutate = func(e *Engine) { e.Keys = []Key{{Signer: k}} }
	summary, _, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultSigned: 64})
	if k.most != 4 {
		t.Errorf("got %d key operations at the same time, want 4", k.most)
	}
}

// A server that is down, or is no Notary server, is not asked for each of ten thousand
// repositories.
func TestHostIsGivenUpAfterAFewFailures(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Notary.SetHook(func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write([]byte("<html>"))
		return true
	})
	var names []string
	for i := range 50 {
		names = append(names, fmt.Sprintf("registry.example.com/r%d", i))
	}
	before := s.Notary.Requests()
	summary, _, err := s.run(names...)
	if !errors.Is(err, dct.ErrNothingRead) || summary.Unread[failure.NotNotary] != 50 {
		t.Errorf("got error %v, summary %+v, want %v, 50 %s", err, summary, dct.ErrNothingRead, failure.NotNotary)
	}
	if n := s.Notary.Requests() - before; n != 3 {
		t.Errorf("got %d requests, want 3", n)
	}
}

// down is a Notary server that is down for one host. It counts the requests.
type down struct {
	Trust
	host  string
	asked atomic.Int64
}

func (d *down) Read(ctx context.Context, gun dct.GUN, known dct.Known) (*dct.Repository, error) {
	if gun.Registry() != d.host {
		return d.Trust.Read(ctx, gun, known)
	}
	d.asked.Add(1)
	return nil, &dct.Error{GUN: gun.String(), Role: "root", Kind: dct.ErrUnavailable, Err: errors.New("answered 503")}
}

// Each repository of a server that is down costs minutes of retries. A few are enough to show that
// it is down, also if several are read at the same time. Other servers are still asked.
func TestServerThatIsDownIsAskedForAFewRepositories(t *testing.T) {
	t.Parallel()
	for _, readers := range []int{1, 8} {
		s := newScene(t)
		s.Publish(App, "v1")
		var names []string
		for i := range 1000 {
			names = append(names, fmt.Sprintf("down.example.com/r%d", i))
		}
		trust := func() *down { return &down{Trust: s.Trust(), host: "down.example.com"} }
		few := func(what string, d *down) {
			if n := d.asked.Load(); n > int64(3+readers) {
				t.Errorf("%d readers: %s: got %d repositories asked for, want at most %d", readers, what, n, 3+readers)
			}
		}
		d := trust()
		s.mutate = func(e *Engine) { e.Trust, e.Readers = d, readers }
		summary, _, err := s.run(append(names, App)...)
		s.Must(err)
		few("run", d)
		s.once("v1")
		if summary.Unread[failure.Transient] != len(names) || summary.Complete() {
			t.Errorf("%d readers: got %+v, want incomplete, %d unread", readers, summary, len(names))
		}
		d = trust()
		s.plan(append(names, App)...)
		few("plan", d)
		d = trust()
		if _, _, err := s.run(names...); !errors.Is(err, dct.ErrNothingRead) {
			t.Errorf("%d readers: all down: got %v, want %v", readers, err, dct.ErrNothingRead)
		}
		few("run of these alone", d)
	}
}

func TestAllUnsignedAsksForTheURL(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, _, err := s.run("registry.example.com/a", "registry.example.com/b")
	if !errors.Is(err, dct.ErrNothingRead) || !strings.Contains(err.Error(), "check the Notary URL") {
		t.Errorf("got error %v, want %v that asks for the URL", err, dct.ErrNothingRead)
	}
}

type slowKey struct {
	*scene
	mu        sync.Mutex
	now, most int
}

func (k *slowKey) Sign(ctx context.Context, subject ocispec.Descriptor, m map[string]string) (state.Envelope, error) {
	k.mu.Lock()
	k.now++
	k.most = max(k.most, k.now)
	k.mu.Unlock()
	time.Sleep(5 * time.Millisecond)
	defer func() {
		k.mu.Lock()
		k.now--
		k.mu.Unlock()
	}()
	return k.scene.Sign(ctx, subject, m)
}

// An image that disappears before its signature is pushed is skipped, as any missing image. Once it
// is back, the envelope of the first run is pushed: the run is complete, and the key is used once.
func TestImageThatIsGoneBeforeThePushIsSkipped(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1")
	d := s.Tagged["v1"]
	s.Faults["push"] = func(digest.Digest) (bool, error) { return false, failure.New(failure.Permanent, errors.New("no")) }
	summary, _, err := s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultFailed: 1})
	delete(s.Faults, "push")
	image := s.Images[d]
	delete(s.Images, d)
	for range 2 {
		summary, outcomes, err := s.run(App)
		s.Must(err)
		if s.want(summary, map[Result]int{ResultSkipped: 1}); !summary.Complete() || len(outcomes) != 1 || outcomes[0].Class != failure.Missing {
			t.Errorf("got %+v, %+v, want it complete, and the image missing", summary, outcomes)
		}
	}
	s.Images[d] = image
	summary, _, err = s.run(App)
	s.Must(err)
	s.want(summary, map[Result]int{ResultReplayed: 1})
	if s.once("v1"); len(s.operations) != 1 {
		t.Errorf("got %d key operations, want 1", len(s.operations))
	}
}

// Promise 2, from run to run: the ledger records what a run saw of the trust data, and the next run
// refuses anything older. Nothing but the ledger distinguishes these from a first sight.
func TestNeverASilentDowngrade_FromRunToRun(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(s *scene) error{
		"a delegation withheld": func(s *scene) error {
			r := s.delegated()
			_, _, err := s.run(App)
			s.Must(err)
			return r.DropFromSnapshot("targets/releases")
		},
		"an older delegation": func(s *scene) error {
			r := s.delegated()
			old := s.Notary.Raw(App, "targets/releases")
			s.Must(r.Sign("v3", s.Put("v3").Encoded(), 100))
			s.Must(r.Publish())
			_, _, err := s.run(App)
			s.Must(err)
			return r.Replace("targets/releases", old)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.Must(harm(s))
			before := len(s.operations)
			summary, _, err := s.run(App)
			if !errors.Is(err, dct.ErrNothingRead) || summary.Unread[failure.Security] != 1 || len(s.operations) != before {
				t.Errorf("got error %v, %d more key operations, summary %+v, want %v, none, one unread with %s", err, len(s.operations)-before, summary, dct.ErrNothingRead, failure.Security)
			}
		})
	}
}

// delegated publishes a tag whose digest in targets is older than that in releases.
func (s *scene) delegated() interface {
	Sign(tag, sha256hex string, size int64, roles ...string) error
	Publish() error
	DropFromSnapshot(role string) error
	Replace(role string, raw []byte) error
} {
	s.T.Helper()
	r := s.Publish(App, "v1")
	s.Must(r.AddSigner("alice"))
	s.Must(r.Sign("v1", s.Put("v2").Encoded(), 100))
	s.Must(r.Publish())
	return r
}

// A root that was accepted at first sight is the one that the next run requires.
func TestRootOfFirstSightIsRemembered(t *testing.T) {
	t.Parallel()
	s, attacker := newScene(t), newScene(t)
	s.Publish(App, "v1")
	attacker.Publish(App, "evil")
	s.Pins = dct.Pins{TOFU: true}
	_, _, err := s.run(App)
	s.Must(err)
	s.Pins = dct.Pins{}
	_, _, err = s.run(App)
	s.Must(err)
	l, err := state.Open(s.ledger, state.Options{})
	s.Must(err)
	kept, ok, err := l.Repository(App)
	s.Must(errors.Join(err, l.Close()))
	if !ok || kept.Pin != state.PinTOFU || len(kept.Roles) != 4 {
		t.Errorf("kept: got %+v, %t, want pin %v and 4 roles", kept, ok, state.PinTOFU)
	}
	s.Notary, s.Pins = attacker.Notary, dct.Pins{TOFU: true}
	s.Put("evil")
	summary, _, _ := s.run(App)
	if summary.Unread[failure.Security] != 1 || len(s.signatures[digest.FromString("image evil")]) != 0 {
		t.Errorf("another root: got %+v, want one unread with %s, and nothing signed", summary, failure.Security)
	}
}

// Promise 5: each single thing that was not done makes a run incomplete.
func TestRunIsCompleteOnlyWithoutFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		s    Summary
		want bool
	}{
		"nothing wrong":          {Summary{Skipped: map[failure.Class]int{failure.Missing: 1}}, true},
		"a failed item":          {Summary{Failed: map[failure.Class]int{failure.Permanent: 1}}, false},
		"an unread repo":         {Summary{Unread: map[failure.Class]int{failure.Unsigned: 1}}, false},
		"an item without an end": {Summary{Items: 2, Results: map[Result]int{ResultSigned: 1}}, false},
		"all items ended":        {Summary{Items: 2, Results: map[Result]int{ResultSigned: 1, ResultSkipped: 1}}, true},
		"drained on a signal":    {Summary{Drained: true}, false},
		"left out by the plan":   {Summary{Items: 1, Results: map[Result]int{ResultSkipped: 1}, Skipped: map[failure.Class]int{failure.NotPlanned: 1}}, false},
		"left out by a choice":   {Summary{Items: 1, Results: map[Result]int{ResultSigned: 1}, LeftOut: 1}, false},
	} {
		if c.s.Complete() != c.want {
			t.Errorf("%s: got complete %t, want %t", name, c.s.Complete(), c.want)
		}
	}
}

// A run of selected tags is complete if everything it leaves out is signed under another tag.
func TestChosenTagsAreAllOrTheRunIsNotComplete(t *testing.T) {
	t.Parallel()
	for wanted, leftOut := range map[string]int{"v1 v2": 0, "also v2": 0, "v2": 2, "v1 also": 1} {
		s := newScene(t)
		repo := s.Publish(App, "v1", "v2")
		s.Must(repo.Sign("also", of("v1").Encoded(), 100))
		s.Must(repo.Publish())
		s.mutate = func(e *Engine) {
			e.Scope.Wanted = func(tag string) bool { return slices.Contains(strings.Fields(wanted), tag) }
		}
		summary, _, err := s.run(App)
		s.Must(err)
		if summary.LeftOut != leftOut || summary.Complete() != (leftOut == 0) || !summary.Done() {
			t.Errorf("%s: got %d left out, complete %t, done %t, want %d, %t, true", wanted, summary.LeftOut, summary.Complete(), summary.Done(), leftOut, leftOut == 0)
		}
	}
}

// Promise 4: a registry that does not answer has not said that the digest is missing.
func TestUnresolvedIsNotMissing(t *testing.T) {
	t.Parallel()
	for _, class := range []failure.Class{failure.Denied, failure.Permanent, failure.Security} {
		s := newScene(t)
		s.Publish(App, "v1")
		s.BreakFor("resolve", "v1", false, failure.New(class, errors.New("no answer")))
		summary, _, err := s.run(App)
		s.Must(err)
		if summary.Failed[class] != 1 || summary.Complete() {
			t.Errorf("%s: got %+v, want incomplete, one failed", class, summary)
		}
		if it := s.item("v1"); it.Stage != state.Failed || it.Class != string(class) || it.Attempts != 1 {
			t.Errorf("%s: in the ledger: got %+v, want %s after 1 attempt", class, it, state.Failed)
		}
	}
}

// item returns the ledger's item of a tag's image.
func (s *scene) item(tag string) state.Item {
	s.T.Helper()
	l, err := state.Open(s.ledger, state.Options{})
	s.Must(err)
	it, _, err := l.Item(state.Key{Repository: App, Digest: digest.FromString("image " + tag).String(), KeyName: "release"})
	s.Must(errors.Join(err, l.Close()))
	return it
}

// What --only does not name counts as the ledger records it. A run of the failed items can
// therefore end as complete, and one that leaves anything undone cannot. An image that was missing
// may be back by now.
func TestWhatIsNotAskedForCountsAsTheLedgerHasIt(t *testing.T) {
	t.Parallel()
	for _, missing := range []bool{false, true} {
		notAskedFor(t, missing)
	}
}

func notAskedFor(t *testing.T, missing bool) {
	t.Helper()
	s := newScene(t)
	s.Publish(App, "done", "other", "failed")
	other := 0
	if missing {
		delete(s.Images, digest.FromString("image other"))
		other = 1
	}
	s.BreakFor("sign", "failed", false, failure.New(failure.Permanent, errors.New("not this one")))
	s.Must(func() error { _, _, err := s.run(App); return err }())
	s.Heal()
	s.Faults["resolve"] = func(d digest.Digest) (bool, error) {
		if d != digest.FromString("image failed") {
			t.Errorf("got %s asked for, want only %s", d, digest.FromString("image failed"))
		}
		return true, nil
	}
	for _, asked := range []bool{false, true} {
		s.mutate = func(e *Engine) {
			e.Filter = func(a FilterItem) bool { return asked && slices.Contains(a.Tags, "failed") }
		}
		summary, outcomes, err := s.run(App)
		s.Must(err)
		want := map[Result]int{ResultAlready: 2 - other, ResultSkipped: 1 + other}
		if asked {
			want = map[Result]int{ResultAlready: 2 - other, ResultSigned: 1}
			if missing {
				want[ResultSkipped] = 1
			}
		}
		s.want(summary, want)
		if complete := asked && !missing; summary.Skipped[failure.Missing] != 0 || (summary.Skipped[failure.NotAsked] == 0) != complete || summary.Complete() != complete || !summary.Done() || len(outcomes) != 3 {
			t.Errorf("asked %t, one missing %t: got %+v with %d outcomes, want done with 3, none missing by the ledger's word, and complete %t", asked, missing, summary, len(outcomes), complete)
		}
	}
}

func TestSkippedItemIsInTheLedger(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Publish(App, "v1")
	delete(s.Images, digest.FromString("image v1"))
	_, _, err := s.run(App)
	s.Must(err)
	if it := s.item("v1"); it.Stage != state.Skipped || it.Class != string(failure.Missing) {
		t.Errorf("in the ledger: got %+v, want %s as %s", it, state.Skipped, failure.Missing)
	}
}

// A transient error is retried in the same run. Once the envelope exists, retrying spends no
// further key operation.
func TestPassingTroubleIsTriedAgain(t *testing.T) {
	t.Parallel()
	for step, operations := range map[string]int{"resolve": 1, "find": 1, "sign": 2, "push": 1, "listed": 1} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.Publish(App, "v1")
			var calls atomic.Int32
			s.Faults[step] = func(digest.Digest) (bool, error) {
				if calls.Add(1) == 1 {
					return false, failure.New(failure.Throttled, errors.New("429"))
				}
				return true, nil
			}
			summary, _, err := s.run(App)
			s.Must(err)
			s.want(summary, map[Result]int{ResultSigned: 1})
			s.once("v1")
			if len(s.operations) != operations || !summary.Complete() {
				t.Errorf("got %d key operations, summary %+v, want %d, complete", len(s.operations), summary, operations)
			}
		})
	}
}

// Promise 5: a key service that is unavailable for all images at once stops the run. The run
// reports it, although no item has failed often enough to be given up.
func TestKeyServiceAwayIsNoCompleteRun(t *testing.T) {
	t.Parallel()
	for _, class := range []failure.Class{failure.Transient, failure.Throttled} {
		s := newScene(t)
		s.Publish(App, strings.Fields("a b c d e f g h i j k l m n o p q r s t u v w x")...)
		s.Faults["sign"] = func(digest.Digest) (bool, error) { return false, failure.New(class, errors.New("no answer")) }
		s.mutate = func(e *Engine) { e.Pause = time.Millisecond }
		summary, outcomes, err := s.run(App)
		if !errors.Is(err, ErrStopped) || summary.Complete() || summary.Failed[class] == 0 || len(outcomes) == 0 {
			t.Errorf("%s: got %v, complete %t, %d outcomes, %+v, want %v, false, some, some failed", class, err, summary.Complete(), len(outcomes), summary, ErrStopped)
		}
		// Each of the ten was retried; the others were in flight.
		if n := len(s.operations); n > retry.MaxTries*(outagePatience+4*perWorker) {
			t.Errorf("%s: got %d key operations, want at most %d", class, n, retry.MaxTries*(outagePatience+4*perWorker))
		}
		s.Heal()
		summary, _, err = s.run(App)
		s.Must(err)
		s.want(summary, map[Result]int{ResultSigned: 24})
	}
}

// The breaker counts consecutive refusals. Only if the key itself signed something else is the key
// blamed.
func TestBreakerCountsInARow(t *testing.T) {
	t.Parallel()
	var b Breaker
	denied := errors.New("denied")
	for range 3 {
		for range patience - 1 {
			b.Failure("key", failure.Denied, denied)
		}
		b.Success("other")
		b.Success("key")
	}
	b.Failure("", failure.Security, errors.New("a registry that lies"))
	if err := b.Open(); err != nil {
		t.Errorf("a registry that lies: got %v, want no error", err)
	}
	for range patience {
		b.Failure("key", failure.Denied, denied)
		b.Success("")
		b.Success("other")
	}
	if err := b.Open(); !errors.Is(err, ErrStopped) || !errors.Is(err, denied) {
		t.Errorf("after %d in a row: got %v, want %v of %v", patience, err, ErrStopped, denied)
	} else if want := ErrStopped.Error() + ": refused 3 times in a row, last: denied"; err.Error() != want {
		t.Errorf("after %d in a row: got %q, want %q", patience, err, want)
	}
	var full Breaker
	for round := range 2 {
		for i := range patience - 1 {
			full.fill(fmt.Sprint(round, "-", i), errors.New("full"))
		}
		full.pushed()
	}
	for i := range patience - 1 {
		full.fill(fmt.Sprint("more", i), errors.New("full"))
	}
	if err := full.Open(); err != nil {
		t.Errorf("before the last full one: got %v, want no error", err)
	}
	if full.fill("last", errors.New("full")); !errors.Is(full.Open(), ErrStopped) {
		t.Errorf("%d full ones in a row: got %v, want %v", patience, full.Open(), ErrStopped)
	}
	var broken Breaker
	for range outagePatience {
		broken.Failure("", failure.Permanent, errors.New("a registry's answer"))
	}
	if err := broken.Open(); err != nil {
		t.Errorf("%d bad answers of a registry: got %v, want no error", outagePatience, err)
	}
	for range outagePatience {
		broken.Failure("key", failure.Permanent, &keyError{errors.New("no JSON")})
	}
	if err := broken.Open(); !errors.Is(err, ErrStopped) {
		t.Errorf("a broken plugin: got %v, want %v", err, ErrStopped)
	}
	// Ten items of many workers can fail within a second. That is not yet an outage.
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	away := Breaker{now: func() time.Time { return at }}
	fail := func(n int) error {
		for range n {
			away.Failure("key", failure.Transient, errors.New("no answer"))
		}
		return away.Open()
	}
	if err := fail(2 * outagePatience); err != nil {
		t.Errorf("away for a moment: got %v, want no error", err)
	}
	at = at.Add(outageSpan - 1)
	if err := fail(1); err != nil {
		t.Errorf("away for less than %s: got %v, want no error", outageSpan, err)
	}
	away.Success("key")
	at = at.Add(time.Hour)
	if err := fail(outagePatience); err != nil {
		t.Errorf("anew after a success: got %v, want no error", err)
	}
	at = at.Add(outageSpan)
	if err := fail(1); !errors.Is(err, ErrStopped) {
		t.Errorf("away for %s: got %v, want %v", outageSpan, err, ErrStopped)
	}
	var key Breaker
	key.Failure("key", failure.Security, fmt.Errorf("signing: %w", &keyError{errors.New("other payload")}))
	if err := key.Open(); !errors.Is(err, ErrKeyAstray) {
		t.Errorf("the key: got %v, want %v", err, ErrKeyAstray)
	} else if want := ErrKeyAstray.Error() + ": signing: other payload"; err.Error() != want {
		t.Errorf("the key: got %q, want %q", err, want)
	}
}

// A registry that refuses pushes ends the run before it spends all key operations.
func TestBreakerEndsTheRunWhenPushesAreDenied(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var tags []string
	for i := range 100 {
		tags = append(tags, fmt.Sprintf("v%d", i))
	}
	s.Publish(App, tags...)
	s.Faults["push"] = func(digest.Digest) (bool, error) { return false, failure.New(failure.Denied, errors.New("403")) }
	_, _, err := s.run(App)
	if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "403") || len(s.operations) > 4*perWorker+patience {
		t.Errorf("got error %v after %d key operations, want %v with 403 after at most %d", err, len(s.operations), ErrStopped, 4*perWorker+patience)
	}
}

// Images that are already signed do not count as a success of a key that is refused, or broken, for
// all the rest.
func TestItemsThatNeedNoKeyAreNoSuccessOfIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		most int
	}{
		"refused":         {failure.New(failure.Denied, errors.New("the key is disabled")), patience + 1},
		"answers rubbish": {failure.New(failure.Permanent, errors.New("no JSON")), outagePatience + 1},
	} {
		s := newScene(t)
		s.mutate = func(e *Engine) { e.Workers, e.Recheck = 1, true }
		var tags []string
		for i := range 14 * c.most {
			tags = append(tags, fmt.Sprintf("v%d", i))
		}
		// In the order of the run, with as many signed images between two new ones as are inspected
		// together.
		slices.SortFunc(tags, func(a, b string) int { return strings.Compare(of(a).String(), of(b).String()) })
		repo := s.Publish(App)
		for _, isNew := range []bool{false, true} {
			for i, tag := range tags {
				if isNew == (i%(perWorker+1) == perWorker) {
					s.Must(repo.Sign(tag, s.Put(tag).Encoded(), 100))
				}
			}
			s.Must(repo.Publish())
			if !isNew {
				_, _, err := s.run(App)
				s.Must(err)
			}
		}
		s.Faults["sign"] = func(digest.Digest) (bool, error) { return false, c.err }
		before := len(s.operations)
		if _, _, err := s.run(App); !errors.Is(err, ErrStopped) || len(s.operations)-before > c.most {
			t.Errorf("%s: got %v after %d key operations, want %v after at most %d", name, err, len(s.operations)-before, ErrStopped, c.most)
		}
	}
}

// Promise 5: repositories whose timestamp the server can no longer sign do not prevent others from
// being read, however many of them come first.
func TestBrokenRepositoriesDoNotCloseTheirHost(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var names []string
	for i := range 2 * 3 {
		names = append(names, fmt.Sprintf("registry.example.com/broken%d", i))
		s.Publish(names[i], "b")
	}
	s.Publish(App, "v1")
	s.Notary.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/timestamp.json") || !strings.Contains(r.URL.Path, "broken") {
			return false
		}
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	summary, _, err := s.run(append(names, App)...)
	s.Must(err)
	s.once("v1")
	if summary.Unread[failure.Transient] != len(names) || summary.Complete() {
		t.Errorf("got %+v, want incomplete, %d unread", summary, len(names))
	}
}
