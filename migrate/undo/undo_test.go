package undo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/retry"
	"github.com/dct2notation/dct2notation/internal/testing/scenetest"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/state"
)

// remover is the world that undo works on. Remove changes the world's lists; what is not listed is
// not stored.
type remover struct {
	*scene
	removed []string
	lie     string // a signature that differs from the ledger's record
	sticky  string // a signature that stays stored whatever is done
	deleted string // a signature that another tool has deleted but left in the list
	taken   int    // how often an entry was removed from a list alone
}

func (r *remover) Stored(_ context.Context, c Claim) lookup.Answer[Claim] {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	d := digest.Digest(c.Key.Digest)
	if _, err := r.Breaks("stored", d); err != nil {
		return lookup.Unknown[Claim](err)
	}
	if c.Signature == r.lie {
		return lookup.Unknown[Claim](failure.New(failure.Security, errors.New("it is no signature")))
	}
	if c.Signature == r.deleted {
		return lookup.Absent[Claim](lookup.Registry)
	}
	if c.Signature == r.sticky || slices.Contains(r.signatures[d], c.Signature) {
		return lookup.Found(c)
	}
	return lookup.Absent[Claim](lookup.Registry)
}

func (r *remover) Remove(_ context.Context, c Claim) error {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	d := digest.Digest(c.Key.Digest)
	happens, err := r.Breaks("remove", d)
	if happens {
		r.removed = append(r.removed, c.Signature)
		r.signatures[d] = slices.DeleteFunc(r.signatures[d], func(s string) bool { return s == c.Signature })
	}
	return err
}

func (r *remover) Unlist(_ context.Context, c Claim) error {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	if c.Signature != r.deleted {
		r.T.Errorf("taken off the list: got %s, want the one that was deleted, %s", c.Signature, r.deleted)
	}
	r.taken++
	d := digest.Digest(c.Key.Digest)
	happens, err := r.Breaks("unlist", d)
	if happens {
		r.signatures[d] = slices.DeleteFunc(r.signatures[d], func(s string) bool { return s == c.Signature })
	}
	return err
}

// undo is the life of one process.
func (r *remover) undo(set ...func(*Undo)) (Summary, []Undone, error) {
	r.T.Helper()
	l := r.open()
	defer func() { r.Must(l.Close()) }()
	var told []Undone
	u := &Undo{History: l, Remover: r, Workers: 4, Pause: time.Millisecond, Observe: func(u Undone) { told = append(told, u) }}
	for _, s := range set {
		s(u)
	}
	summary, err := u.Run(context.Background(), nil)
	return summary, told, err
}

func (s *scene) open() *state.Ledger {
	s.T.Helper()
	l, err := state.Open(s.ledger, state.Options{})
	s.Must(err)
	return l
}

// items returns the ledger's items by digest, and whether anything is in its outbox.
func (s *scene) items() (byDigest map[digest.Digest]state.Item, outbox bool) {
	s.T.Helper()
	l := s.open()
	defer func() { s.Must(l.Close()) }()
	all, err := l.Items(state.Key{}, 0)
	s.Must(err)
	byDigest = map[digest.Digest]state.Item{}
	for _, it := range all {
		_, kept, err := l.Envelope(it.Key)
		s.Must(err)
		byDigest[digest.Digest(it.Digest)], outbox = it, outbox || kept
	}
	s.Must(l.VerifyEvents())
	return byDigest, outbox
}

func (s *scene) counts(got Summary, want map[Result]int) {
	s.T.Helper()
	for _, r := range []Result{Removable, Removed, Gone, NotOurs, Refused, Failed} {
		if got.Results[r] != want[r] {
			s.T.Errorf("%s: got %d, want %d", r, got.Results[r], want[r])
		}
	}
}

// signedWorld returns a world after one run.
func signedWorld(t *testing.T, tags ...string) *remover {
	t.Helper()
	r := &remover{scene: newScene(t)}
	r.Publish(scenetest.App, tags...)
	_, _, err := r.run(scenetest.App)
	r.Must(err)
	return r
}

func TestUndoRemovesWhatTheLedgerSignedAndNoOther(t *testing.T) {
	t.Parallel()
	r := signedWorld(t, "v1", "v2", "v3")
	r.signatures[of("v1")] = append(r.signatures[of("v1")], "theirs")
	for atOnce := range 3 { // whatever the window size
		summary, told, err := r.undo(func(u *Undo) { u.atOnce = atOnce })
		if err != nil || !summary.Complete() || len(told) != 3 {
			t.Fatalf("%d at once: got %v, %+v, %+v, want complete with 3 told", atOnce, err, summary, told)
		}
		r.counts(summary, map[Result]int{Removed: 3})
		if got := r.signatures[of("v1")]; len(got) != 1 || got[0] != "theirs" || len(r.signatures[of("v2")])+len(r.signatures[of("v3")]) != 0 {
			t.Errorf("%d at once: got %v left, want only theirs of v1", atOnce, r.signatures)
		}
		if u := told[0]; u.Repository != scenetest.App || u.Key != "release" || len(u.Tags) != 1 || u.At.IsZero() || !slices.Contains(r.removed, u.Signature) {
			t.Errorf("told: got %+v, want a removed one of %s with one tag, the key release and a time", u, scenetest.App)
		}
		items, outbox := r.items()
		for d, it := range items {
			if it.Stage != state.Skipped || it.Class != state.ClassUndone || it.Signature != "" || outbox {
				t.Errorf("%s: got %+v, in the outbox %t, want %s as %s without a signature, false", d, it, outbox, state.Skipped, state.ClassUndone)
			}
		}
		again, told, err := r.undo()
		if err != nil || len(told) != 0 || len(again.Results) != 0 {
			t.Errorf("a second time: got %v, %+v, %+v, want nothing told and no results", err, told, again)
		}
		signed, _, err := r.run(scenetest.App)
		r.Must(err)
		r.want(signed, map[migrate.Result]int{migrate.ResultSigned: 3})
		r.once("v2", "v3")
	}
}

// A rebuilt ledger has no proof of who pushed.
func TestUndoLeavesWhatARunOnlyFound(t *testing.T) {
	t.Parallel()
	r := signedWorld(t, "v1", "v2")
	r.Must(os.Remove(r.ledger))
	_, _, err := r.run(scenetest.App)
	r.Must(err)
	summary, told, err := r.undo()
	if err != nil || !summary.Complete() || len(r.removed) != 0 {
		t.Errorf("got %v, %+v, removed %v, want complete, none removed", err, summary, r.removed)
	}
	r.counts(summary, map[Result]int{NotOurs: 2})
	if len(told) != 2 || told[0].Signature != r.signatures[digest.Digest(told[0].Digest)][0] {
		t.Errorf("told: got %+v, want 2, the first with its signature in the registry", told)
	}
	r.once("v1", "v2")
}

func TestUndoRemovesEverySignatureOfAnItem(t *testing.T) {
	t.Parallel()
	for name, rebuilt := range map[string]bool{"by one ledger": false, "the first by another ledger": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &remover{scene: newScene(t)}
			repo := r.Publish(scenetest.App, "v1")
			_, _, err := r.run(scenetest.App)
			r.Must(err)
			first := r.signatures[of("v1")][0]
			if rebuilt {
				r.Must(os.Remove(r.ledger))
				_, _, err := r.run(scenetest.App)
				r.Must(err)
			}
			r.Must(repo.Sign("latest", of("v1").Encoded(), 100))
			r.Must(repo.Publish())
			r.Tagged["latest"] = of("v1")
			r.mutate = func(e *migrate.Engine) { e.Rebind = true }
			_, _, err = r.run(scenetest.App)
			r.Must(err)
			if n := len(r.signatures[of("v1")]); n != 2 {
				t.Fatalf("got %d signatures, want 2", n)
			}
			summary, _, err := r.undo()
			r.Must(err)
			if rebuilt {
				r.counts(summary, map[Result]int{Removed: 1, NotOurs: 1})
				if got := r.signatures[of("v1")]; len(got) != 1 || got[0] != first {
					t.Errorf("left: got %v, want %s", r.signatures, first)
				}
				return
			}
			r.counts(summary, map[Result]int{Removed: 2})
			if items, _ := r.items(); len(r.signatures[of("v1")]) != 0 || items[of("v1")].Stage != state.Skipped {
				t.Errorf("left: got %v, want none of v1, and its item %s", r.signatures, state.Skipped)
			}
		})
	}
}

// After a registry was restored from a backup, a run finds signatures that an earlier run made.
func TestUndoKnowsItsOwnAgain(t *testing.T) {
	t.Parallel()
	r := signedWorld(t, "v1")
	backup := slices.Clone(r.signatures[of("v1")])
	_, _, err := r.undo()
	r.Must(err)
	r.signatures[of("v1")] = backup
	_, _, err = r.run(scenetest.App)
	r.Must(err)
	if items, _ := r.items(); items[of("v1")].Signature != backup[0] {
		t.Fatalf("the run made of it: got %+v, want signature %s", items, backup[0])
	}
	summary, _, err := r.undo()
	r.Must(err)
	r.counts(summary, map[Result]int{Removed: 1})
}

// What is in the outbox may or may not have reached the registry.
func TestUndoEmptiesTheOutbox(t *testing.T) {
	t.Parallel()
	for _, arrived := range []bool{true, false} {
		t.Run(fmt.Sprintf("arrived %v", arrived), func(t *testing.T) {
			t.Parallel()
			r := &remover{scene: newScene(t)}
			r.Publish(scenetest.App, "v1")
			r.BreakFor("push", "v1", arrived, failure.New(failure.Permanent, errors.New("no answer")))
			_, _, err := r.run(scenetest.App)
			r.Must(err)
			if _, outbox := r.items(); !outbox {
				t.Fatal("the outbox: got nothing in it, want the signature")
			}
			r.Heal()
			summary, _, err := r.undo()
			r.Must(err)
			want := Gone
			if arrived {
				want = Removed
			}
			r.counts(summary, map[Result]int{want: 1})
			items, outbox := r.items()
			if outbox || items[of("v1")].Stage != state.Skipped || len(r.signatures[of("v1")]) != 0 {
				t.Errorf("left: got %+v, in the outbox %t, %v, want %s, false, no signature", items, outbox, r.signatures, state.Skipped)
			}
		})
	}
}

// If the ledger is wrong about one signature of an item, nothing of that item is touched.
func TestUndoTouchesNothingOfAnItemThatTheRegistryContradicts(t *testing.T) {
	t.Parallel()
	r := signedWorld(t, "v1", "v2")
	l := r.open()
	items, err := l.Items(state.Key{}, 0)
	r.Must(err)
	for _, it := range items {
		if it.Digest == of("v1").String() { // as somebody would who forges one more signature into the history
			_, err := l.Reopen(it.Key)
			r.Must(err)
			r.Must(l.Sign(it.Key, state.Envelope{MediaType: "x", Blob: []byte("x"), ManifestDigest: of("v2").String()}))
		}
	}
	r.Must(l.Close())
	r.lie = of("v2").String()
	summary, told, err := r.undo()
	if err != nil || summary.Complete() {
		t.Errorf("got %v, %+v, want no error, incomplete", err, summary)
	}
	r.counts(summary, map[Result]int{Removed: 1, Refused: 2})
	r.once("v1")
	for _, u := range told {
		if u.Result == Refused && (u.Class != failure.Security || u.Reason == "") {
			t.Errorf("told: got %+v, want %s and a reason", u, failure.Security)
		}
	}
	if n := len(r.removed); n != 1 {
		t.Errorf("got %d removed, want 1", n)
	}
}

// lossy is a ledger whose disk is full when an item is undone.
type lossy struct{ *state.Ledger }

var errDisk = errors.New("disk full")

func (lossy) Undo(state.Key, string, string) error { return errDisk }

func TestUndoGoesOnWhereItWasKilled(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(r *remover) error{
		"before the removal": func(r *remover) error {
			r.BreakFor("remove", "v1", false, failure.New(failure.Denied, errors.New("no")))
			_, _, err := r.undo()
			return err
		},
		"after it": func(r *remover) error {
			r.BreakFor("remove", "v1", true, failure.New(failure.Denied, errors.New("no answer")))
			_, _, err := r.undo()
			return err
		},
		"before the ledger": func(r *remover) error {
			_, _, err := r.undo(func(u *Undo) { u.History = lossy{u.History.(*state.Ledger)} })
			if !errors.Is(err, errDisk) {
				return fmt.Errorf("the ledger's error is lost: %v", err)
			}
			return nil
		},
	} {
		for _, between := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, a run comes between: %t", name, between), func(t *testing.T) {
				t.Parallel()
				r := signedWorld(t, "v1", "v2")
				r.Must(kill(r))
				r.Heal()
				// An item whose removal had begun does not count as done: a run asks the registry
				// and signs again what is gone.
				items, _ := r.items()
				if it := items[of("v1")]; it.Stage == state.Confirmed && len(r.signatures[of("v1")]) == 0 {
					t.Errorf("v1 after the kill: got %s with its signature gone, want another stage", it.Stage)
				}
				if between {
					summary, _, err := r.run(scenetest.App)
					if r.Must(err); !summary.Complete() {
						t.Errorf("got %+v, want the run complete", summary)
					}
					r.once("v1", "v2")
				}
				summary, _, err := r.undo()
				items, _ = r.items()
				if err != nil || !summary.Complete() || len(r.signatures[of("v1")])+len(r.signatures[of("v2")]) != 0 || items[of("v1")].Stage != state.Skipped || items[of("v2")].Stage != state.Skipped {
					t.Errorf("in the end: got %v, %+v, %v, want complete, both %s, no signatures", err, items, r.signatures, state.Skipped)
				}
			})
		}
	}
}

// A successful answer to a deletion does not prove that the signature is gone.
func TestUndoLooksAfterwards(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]struct {
		step  string
		times int
		gone  bool
	}{
		"the list lags": {"listed", 2, true}, "it stays in the list": {"listed", 1000, false}, "nothing is deleted": {"remove", 1000, false},
		"it is off the list, and stored": {"sticky", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := signedWorld(t, "v1")
			signature := r.signatures[of("v1")][0]
			left := harm.times
			if harm.step == "sticky" {
				r.sticky = signature
			}
			r.Faults[harm.step] = func(digest.Digest) (bool, error) {
				if harm.step == "listed" && len(r.removed) > 0 {
					r.signatures[of("v1")] = nil
					if left--; left >= 0 {
						r.signatures[of("v1")] = []string{signature}
					}
				}
				return harm.step == "listed", nil
			}
			summary, told, err := r.undo()
			r.Must(err)
			items, _ := r.items()
			if harm.gone != (summary.Results[Removed] == 1) || harm.gone != (items[of("v1")].Stage == state.Skipped) || harm.gone != summary.Complete() {
				t.Errorf("got %+v, the item %s, complete %t, want it gone: %t", told, items[of("v1")].Stage, summary.Complete(), harm.gone)
			}
			if harm.gone && len(r.removed) != 1 {
				t.Errorf("got it removed %d times, want once and then only looked at", len(r.removed))
			}
			if !harm.gone && (told[0].Result != Failed || !strings.Contains(told[0].Reason, "has it still")) {
				t.Errorf("told: got %+v, want %s, as the registry has it still", told, Failed)
			}
		})
	}
}

// A signature that another tool has deleted is gone only when no list names it any more.
func TestUndoTakesWhatWasDeletedOffTheList(t *testing.T) {
	t.Parallel()
	broken := failure.New(failure.Permanent, errors.New("no answer that makes sense"))
	for name, c := range map[string]struct {
		change func(*remover)
		taken  int
		result Result
		says   string
	}{
		"it is listed":               {func(*remover) {}, 1, Gone, ""},
		"it is not listed":           {func(r *remover) { r.signatures[of("v1")] = nil }, 0, Gone, ""},
		"it stays listed":            {func(r *remover) { r.BreakFor("unlist", "v1", false, nil) }, retry.MaxTries, Failed, "lists it still"},
		"the list cannot be read":    {func(r *remover) { r.BreakFor("listed", "v1", false, broken) }, 0, Failed, broken.Error()},
		"the list cannot be changed": {func(r *remover) { r.BreakFor("unlist", "v1", false, broken) }, 1, Failed, broken.Error()},
	} {
		r := signedWorld(t, "v1")
		r.deleted = r.signatures[of("v1")][0]
		c.change(r)
		summary, told, err := r.undo()
		r.Must(err)
		items, _ := r.items()
		gone := c.result == Gone
		if len(told) != 1 || told[0].Result != c.result || !strings.Contains(told[0].Reason, c.says) || summary.Complete() != gone || (items[of("v1")].Stage == state.Skipped) != gone {
			t.Errorf("%s: got %+v, the item %s, complete %t, want %s that says %q, complete %t", name, told, items[of("v1")].Stage, summary.Complete(), c.result, c.says, gone)
		}
		if r.taken != c.taken || len(r.removed) != 0 {
			t.Errorf("%s: got it taken off the list %d times, removed %v, want %d, none", name, r.taken, r.removed, c.taken)
		}
	}
}

func TestUndoStopsWhereNothingIsDeleted(t *testing.T) {
	t.Parallel()
	for _, class := range []failure.Class{failure.Unsupported, failure.Denied} {
		var tags []string
		for i := range 40 {
			tags = append(tags, fmt.Sprint("v", i))
		}
		r := signedWorld(t, tags...)
		r.Faults["remove"] = func(digest.Digest) (bool, error) { return false, failure.New(class, errors.New("405")) }
		summary, _, err := r.undo()
		if !errors.Is(err, migrate.ErrStopped) || summary.Complete() || summary.Results[Failed] > 10 {
			t.Errorf("%s: got %v, %+v, want %v, incomplete, at most 10 %s", class, err, summary, migrate.ErrStopped, Failed)
		}
		r.once(tags...)
	}
}

type tampered struct{ *state.Ledger }

func (tampered) VerifyEvents() error { return state.ErrDamaged }

func TestUndoBelievesNoDamagedHistory(t *testing.T) {
	t.Parallel()
	r := signedWorld(t, "v1")
	_, told, err := r.undo(func(u *Undo) { u.History = tampered{u.History.(*state.Ledger)} })
	if !errors.Is(err, state.ErrDamaged) || len(told)+len(r.removed) != 0 {
		t.Errorf("got %v, told %+v, removed %v, want %v, none, none", err, told, r.removed, state.ErrDamaged)
	}
	r.once("v1")
}

func TestUndoOnlyWhatIsMeant(t *testing.T) {
	t.Parallel()
	r := signedWorld(t, "v1", "v2")
	between := time.Now()
	later := r.Publish("registry.example.com/team/later", "v3")
	_, _, err := r.run(later.GUN())
	r.Must(err)
	summary, _, err := r.undo(func(u *Undo) { u.Wanted = func(it state.Item) bool { return it.Repository == "another" } })
	r.Must(err)
	r.counts(summary, nil)
	summary, _, err = r.undo(func(u *Undo) { u.Since = between })
	r.Must(err)
	r.counts(summary, map[Result]int{Removed: 1})
	r.once("v1", "v2")
	summary, _, err = r.undo(func(u *Undo) { u.Wanted = func(it state.Item) bool { return it.Digest == of("v2").String() } })
	r.Must(err)
	r.counts(summary, map[Result]int{Removed: 1})
	r.once("v1")
}

func TestLookingChangesNothing(t *testing.T) {
	t.Parallel()
	r := signedWorld(t, "v1", "v2")
	r.signatures[of("v2")] = nil
	before, _ := r.items()
	l := r.open()
	u := &Undo{History: l, Remover: r, Workers: 1}
	summary, err := u.Look(t.Context(), nil)
	r.Must(err)
	r.Must(l.Close())
	r.counts(summary, map[Result]int{Removable: 1, Gone: 1})
	after, _ := r.items()
	if len(r.removed) != 0 || fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("got %v removed, items\n%v\nwant none removed, items\n%v", r.removed, after, before)
	}
	r.once("v1")
}

func TestUndoFinishesWhatIsInFlightAndBeginsNothingNew(t *testing.T) {
	t.Parallel()
	r := signedWorld(t, "v1", "v2", "v3")
	stop := make(chan struct{})
	r.Faults["remove"] = func(digest.Digest) (bool, error) {
		if len(r.removed) == 0 {
			close(stop)
		}
		return true, nil
	}
	l := r.open()
	summary, err := (&Undo{History: l, Remover: r, Workers: 1}).Run(t.Context(), stop)
	r.Must(err)
	r.Must(l.Close())
	if !summary.Drained || summary.Complete() || summary.Results[Removed] != 1 {
		t.Errorf("got %+v, want drained, incomplete, 1 %s", summary, Removed)
	}
	r.Heal()
	summary, _, err = r.undo()
	r.Must(err)
	r.counts(summary, map[Result]int{Removed: 2})
}

// firstIsLast delays the answer for one image until all others have been answered.
type firstIsLast struct {
	*remover
	first  string
	others chan struct{}
}

func (f *firstIsLast) Stored(ctx context.Context, c Claim) lookup.Answer[Claim] {
	if c.Key.Digest != f.first {
		defer func() { f.others <- struct{}{} }()
		return f.remover.Stored(ctx, c)
	}
	for range cap(f.others) {
		<-f.others
	}
	return f.remover.Stored(ctx, c)
}

// Two outputs for one ledger can be compared, in whatever order the registry answers.
func TestUndoTellsInTheOrderOfTheLedger(t *testing.T) {
	t.Parallel()
	r := signedWorld(t, "v1", "v2", "v3", "v4")
	var want []string
	for _, tag := range []string{"v1", "v2", "v3", "v4"} {
		want = append(want, of(tag).String())
	}
	slices.Sort(want)
	l := r.open()
	var got []string
	u := &Undo{History: l, Remover: &firstIsLast{r, want[0], make(chan struct{}, 3)}, Workers: 4, Observe: func(u Undone) { got = append(got, u.Digest) }}
	_, err := u.Look(t.Context(), nil)
	r.Must(err)
	r.Must(l.Close())
	if !slices.Equal(got, want) {
		t.Errorf("got told of\n%v, want\n%v", got, want)
	}
}
