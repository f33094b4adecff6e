// Package undo removes signatures that runs have made. The ledger's history says where to look; what the registry
// proves decides what is deleted.
package undo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/retry"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/state"
)

// Undo removes signatures that, by the history of a ledger, were made by its runs, if the registry proves it. Its
// fields are set before the first call and do not change.
//
// A history can be forged, so it only says where to look. What is deleted is what the registry proves: see Remover.
// Signatures that a run found in the registry and did not make, as after the ledger was rebuilt, are listed and left
// alone.
type Undo struct {
	History History
	Remover Remover
	Wanted  func(state.Item) bool // nil: every item
	Since   time.Time             // only what was signed then or later
	Workers int                   // items processed at the same time; at least 1
	Observe func(Undone)          // receives each signature, in the order of the ledger; one call at a time
	Pause   time.Duration         // as Engine's

	atOnce int // items in memory; 0: maxWindow
}

// History is the part of [state.Ledger] that undoing uses.
type History interface {
	VerifyEvents() error
	Items(after state.Key, limit int) ([]state.Item, error)
	Events(after uint64, limit int) ([]state.Event, error)
	Reopen(k state.Key) (state.Stage, error)
	Undo(k state.Key, signature, reason string) error
}

// A Remover removes signatures from registries. Its methods are called from several goroutines at once.
type Remover interface {
	// Stored returns the claim if the registry has the signature and it is what is claimed: a Notation signature of
	// exactly this image, by this certificate, made by this tool for this GUN. It is absent only if the registry
	// itself says that it has nothing under the digest. A failure of class security says that it has something else
	// there.
	Stored(ctx context.Context, c Claim) lookup.Answer[Claim]
	// Remove removes the signature from the image's list and deletes it; the lists keep all others. Call it after
	// Stored has found the signature. Repeating it is harmless, and after an error something may have been done.
	Remove(ctx context.Context, c Claim) error
	// Unlist removes from the list what Stored did not find. It deletes nothing: what was not seen may be anything.
	Unlist(ctx context.Context, c Claim) error
	// Listed is Registry's.
	Listed(ctx context.Context, image migrate.Image) ([]string, error)
}

// Claim is what the history says about one signature.
type Claim struct {
	Key       state.Key
	GUN       string
	Signature string    // digest of its manifest
	Leaf      string    // SHA-256 of the signing certificate, in hex
	At        time.Time // when it was signed
}

func (c Claim) image() migrate.Image {
	return migrate.Image{Repository: c.Key.Repository, Descriptor: ocispec.Descriptor{Digest: digest.Digest(c.Key.Digest)}}
}

// Result says what became of one signature.
type Result string

// The results of undoing.
const (
	Removable Result = "removable" // Look: Run would remove it
	Removed   Result = "removed"
	Gone      Result = "gone"     // the registry no longer had it; now the ledger records that
	NotOurs   Result = "not-ours" // found in the registry by a run, and not made by this ledger's runs
	Refused   Result = "refused"  // the registry has something other than the ledger says
	Failed    Result = "failed"
)

// Undone is the result for one signature.
type Undone struct {
	Repository string        `json:"repository"`
	Digest     string        `json:"digest"`
	Tags       []string      `json:"tags"`
	Key        string        `json:"key"`
	Signature  string        `json:"signature"`
	At         time.Time     `json:"at"` // when it was signed or, if not-ours, found
	Result     Result        `json:"result"`
	Class      failure.Class `json:"class,omitempty"`
	Reason     string        `json:"reason,omitempty"`
}

// Summary counts the results of undoing.
type Summary struct {
	Results map[Result]int
	Drained bool // ended by a signal before everything was tried
}

// Complete reports whether no signature is left that is ours by the history.
func (s Summary) Complete() bool {
	return s.Results[Failed]+s.Results[Refused] == 0 && !s.Drained
}

// undoing is one call of Undo.Run or Undo.Look.
type undoing struct {
	*Undo
	stop    <-chan struct{} // closed: begin nothing new
	settle  func(context.Context, *owned) error
	breaker migrate.Breaker

	mu      sync.Mutex
	summary Summary // guarded by mu, as is Observe
	told    int     // how many items of the window were passed to Observe; guarded by mu
}

// Look reports what Run would do. It changes nothing.
func (u *Undo) Look(ctx context.Context, stop <-chan struct{}) (Summary, error) {
	r := &undoing{Undo: u, stop: stop}
	r.settle = r.look
	return r.run(ctx)
}

// Run removes the signatures; their items are skipped until the next run plans them again. When stop is closed, it
// finishes what is in flight and returns with Summary.Drained; when ctx ends, it returns as soon as it can. In both
// cases the next Run goes on.
//
// The error is nil even if signatures are left: see Summary. It is ErrStopped, ctx's, or the ledger's.
func (u *Undo) Run(ctx context.Context, stop <-chan struct{}) (Summary, error) {
	r := &undoing{Undo: u, stop: stop}
	r.settle = r.undo
	return r.run(ctx)
}

func (r *undoing) run(ctx context.Context) (Summary, error) {
	r.summary.Results = map[Result]int{}
	if r.Workers < 1 {
		return r.summary, fmt.Errorf("workers: %d is less than 1", r.Workers)
	}
	err := r.windows(ctx)
	r.summary.Drained = r.draining()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return r.summary, err
}

// Unproven replaces the hint of the error for a damaged ledger with undo's own: other verbs advise rebuilding the
// ledger, but a rebuilt one has no history to prove anything with.
func Unproven(err error) error {
	if !errors.Is(err, state.ErrDamaged) {
		return err
	}
	text, _, _ := strings.Cut(err.Error(), "\nhint: ")
	return errors.New(text + "\nhint: a history that is not whole proves nothing, and nothing was deleted for it; take a copy of the ledger from before")
}

func (r *undoing) draining() bool {
	select {
	case <-r.stop:
		return true
	default:
		return false
	}
}

// windows processes the whole ledger, window by window.
func (r *undoing) windows(ctx context.Context) error {
	// A history that was tampered with proves nothing.
	if err := r.History.VerifyEvents(); err != nil {
		return err
	}
	for after, more := (state.Key{}), true; more && !r.draining(); {
		w, err := r.window(after)
		if err != nil {
			return err
		}
		if err := r.work(ctx, w.items); err != nil {
			return err
		}
		after, more = w.last, w.more
	}
	return nil
}

func (r *undoing) work(ctx context.Context, items []*owned) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(r.Workers)
	r.told = 0
	defer r.tell(items, true)
	for _, it := range items {
		if r.ending(gctx) {
			break
		}
		g.Go(func() error {
			if r.ending(gctx) { // while it waited for its turn
				return nil
			}
			defer r.finished(items, it)
			for _, c := range it.foreign {
				r.notify(it, c, NotOurs, nil)
			}
			if len(it.claims) == 0 {
				return nil
			}
			return r.settle(gctx, it)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return r.breaker.Open()
}

func (r *undoing) ending(ctx context.Context) bool {
	return ctx.Err() != nil || r.draining() || r.breaker.Open() != nil
}

// look takes one item for Look.
func (r *undoing) look(ctx context.Context, it *owned) error {
	return r.retried(ctx, it, func() error {
		there, err := r.stored(ctx, it)
		for len(it.claims) > 0 && err == nil {
			result := Removable
			if isGone(there[0]) {
				result = Gone
			}
			r.notify(it, it.claims[0], result, nil)
			it.claims, there = it.claims[1:], there[1:]
		}
		return err
	})
}

// undo takes one item for Run. It deletes in the registry before it records that the signature is gone. A crash in
// between leaves a claim on a signature that is gone, which the next call notices; it never leaves a signature that
// the ledger has forgotten. Before both, the item stops being done.
func (r *undoing) undo(ctx context.Context, it *owned) error {
	return r.retried(ctx, it, func() error {
		there, err := r.stored(ctx, it)
		for len(it.claims) > 0 && err == nil {
			c, result := it.claims[0], Removed
			if isGone(there[0]) {
				result = Gone
			}
			if err := r.doubt(it, c); err != nil {
				return err
			}
			if err = r.remove(ctx, c, there[0]); err != nil {
				break
			}
			// Record it even if ctx has ended meanwhile: the signature is gone.
			if err := r.History.Undo(c.Key, c.Signature, string(result)+" by undo"); err != nil {
				return failure.Fatally(err)
			}
			r.notify(it, c, result, nil)
			it.claims, there = it.claims[1:], there[1:]
		}
		return err
	})
}

// doubt makes the ledger no longer call an item done by a signature that is about to be removed. Whatever happens
// until the removal is recorded, the next run asks the registry and not the ledger alone.
func (r *undoing) doubt(it *owned, c Claim) error {
	if it.stage != state.Confirmed || it.signature != c.Signature {
		return nil
	}
	stage, err := r.History.Reopen(c.Key)
	if err == nil {
		it.stage = stage
	}
	return failure.Fatally(err)
}

// retried repeats what may pass, and reports what fails in the end. Its error ends the run.
func (r *undoing) retried(ctx context.Context, it *owned, attempt func() error) error {
	for try := 1; ; try++ {
		err := attempt()
		var fatal *failure.Fatal
		switch {
		case err == nil:
			r.breaker.Success("")
			return nil
		case errors.As(err, &fatal):
			return fatal.Err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		class := failure.Of(err)
		if class.Repeatable() && try < retry.MaxTries && retry.Pause(ctx, r.stop, cmp.Or(r.Pause, time.Second), try) {
			continue
		}
		result := Failed
		if class == failure.Security {
			result = Refused
		}
		for _, c := range it.claims {
			r.notify(it, c, result, err)
		}
		r.breaker.Failure("", class, err)
		return nil
	}
}

// stored asks the registry about all signatures of an item before one is touched: if it has something other than the
// ledger says, nothing of the item is removed. If the error is nil, no answer is unknown.
func (r *undoing) stored(ctx context.Context, it *owned) ([]lookup.Answer[Claim], error) {
	there := make([]lookup.Answer[Claim], len(it.claims))
	for i, c := range it.claims {
		there[i] = r.Remover.Stored(ctx, c)
		if err := there[i].Err(); err != nil {
			return nil, err
		}
	}
	return there, nil
}

// isGone reports whether the registry said that it does not have a signature.
func isGone(stored lookup.Answer[Claim]) bool {
	_, gone := stored.Absent()
	return gone
}

// remove removes one signature and checks that it is gone.
func (r *undoing) remove(ctx context.Context, c Claim, there lookup.Answer[Claim]) error {
	away := r.Remover.Remove
	if isGone(there) {
		// It may still be in the list if another tool has deleted it.
		if listed, err := r.listed(ctx, c); err != nil || !listed {
			return err
		}
		away = r.Remover.Unlist
	}
	if err := away(ctx, c); err != nil {
		return err
	}
	for try := 1; ; try++ {
		there := r.Remover.Stored(ctx, c)
		if err := there.Err(); err != nil {
			return fmt.Errorf("looking for it afterwards: %w", err)
		}
		listed, err := r.listed(ctx, c)
		if err != nil {
			return fmt.Errorf("looking for it afterwards: %w", err)
		}
		if isGone(there) && !listed {
			return nil
		}
		if try == retry.MaxTries || !retry.Pause(ctx, r.stop, cmp.Or(r.Pause, time.Second), try) {
			what := "has it still"
			if isGone(there) {
				what = "lists it still"
			}
			return failure.New(failure.Transient, fmt.Errorf("signature %s of %s@%s was deleted, and the registry %s", c.Signature, c.Key.Repository, c.Key.Digest, what))
		}
	}
}

// listed reports whether the registry lists the signature. An image that is gone has no list.
func (r *undoing) listed(ctx context.Context, c Claim) (bool, error) {
	listed, err := r.Remover.Listed(ctx, c.image())
	if lookup.IsAbsent(err) {
		return false, nil
	}
	return slices.Contains(listed, c.Signature), err
}

func (r *undoing) notify(it *owned, c Claim, result Result, err error) {
	u := Undone{c.Key.Repository, c.Key.Digest, it.tags, c.Key.KeyName, c.Signature, c.At, result, "", ""}
	if err != nil {
		u.Class, u.Reason = failure.Of(err), err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.summary.Results[result]++
	it.outcome = append(it.outcome, u)
}

// finished passes an item to Observe once all before it are finished, so that two calls show the same list.
func (r *undoing) finished(items []*owned, it *owned) {
	r.mu.Lock()
	it.finished = true
	r.mu.Unlock()
	r.tell(items, false)
}

// tell passes finished items to Observe, up to the first that is not finished; with end, all of them.
func (r *undoing) tell(items []*owned, end bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, it := range items[r.told:] {
		if !it.finished && !end {
			return
		}
		for _, u := range it.outcome {
			if r.Observe != nil {
				r.Observe(u)
			}
		}
		r.told++
	}
}
