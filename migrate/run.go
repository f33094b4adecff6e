package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// Summary counts what a run did.
type Summary struct {
	Repositories int                   // whose trust data was read
	Unread       map[failure.Class]int // repositories whose trust data could not be, by class
	Unsigned     int                   // repositories that were found, and have no trust data
	LeftOut      int                   // tags that were not chosen, of digests that no chosen tag has
	Items        int
	Results      map[Result]int
	Skipped      map[failure.Class]int
	Failed       map[failure.Class]int
	Findings     map[string]int // entries of trust data that are not to be signed, by class
	Certificates map[string]int // items that are signed, by the SHA-256 of the certificate
	Wasted       int            // signatures that were made and thrown away, as another machine had pushed one meanwhile
	Drained      bool           // ended by a signal or a budget of time or operations before everything was tried
	Spent        bool           // if so, it was the budget of operations
}

// Complete reports whether everything that DCT vouches for is signed or cannot be. A signature counts if it is by the
// key's identity, or by one that was accepted before, and still verifies.
func (s Summary) Complete() bool {
	return s.Done() && s.Skipped[failure.NotAsked]+s.Skipped[failure.NotPlanned]+s.LeftOut == 0
}

// Done reports the same for what the run was asked to sign.
func (s Summary) Done() bool {
	return len(s.Unread) == 0 && len(s.Failed) == 0 && s.Skipped[failure.PlanUnknown] == 0 && !s.Drained && s.ended() == s.Items
}

// ended counts the items that came to any end.
func (s Summary) ended() int {
	n := 0
	for _, of := range s.Results {
		n += of
	}
	return n
}

// run is one call of Engine.Run.
type run struct {
	*Engine
	inspector inspector
	stop      <-chan struct{}          // closed: begin nothing new
	slots     map[string]chan struct{} // by key: a slot for each operation in flight
	breaker   Breaker
	spent     atomic.Bool // the budget of key operations is spent

	mu      sync.Mutex
	summary Summary
}

type queued struct {
	work  Work
	stage state.Stage
}

func newRun(e *Engine, stop <-chan struct{}) (*run, error) {
	if e.Workers < 1 {
		return nil, fmt.Errorf("workers: %d is less than 1", e.Workers)
	}
	r := &run{
		Engine: e, inspector: e.inspector(), stop: stop, slots: map[string]chan struct{}{}, summary: newSummary(),
		breaker: Breaker{span: e.outageSpan, now: e.now},
	}
	for _, k := range e.Keys {
		r.slots[k.Signer.Name()] = make(chan struct{}, e.Workers)
	}
	if len(r.slots) != len(e.Keys) || len(e.Keys) == 0 {
		return nil, fmt.Errorf("keys: %d with %d names", len(e.Keys), len(r.slots))
	}
	return r, nil
}

// all brings every item of the repositories to its end.
func (r *run) all(ctx context.Context, guns []dct.GUN) (Summary, error) {
	g, gctx := errgroup.WithContext(ctx)
	queue := make(chan queued, r.Workers)
	var nothing error
	g.Go(func() (err error) {
		defer close(queue)
		nothing, err = r.feed(gctx, guns, queue)
		return err
	})
	for range r.Workers * perWorker {
		g.Go(func() error {
			for q := range queue {
				if r.draining() {
					continue // the item stays as it is
				}
				if err := (&item{run: r, Work: q.work, stage: q.stage}).process(gctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	r.summary.Drained, r.summary.Spent = r.draining(), r.spent.Load()
	var f *failure.Fatal
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.As(err, &f):
		err = f.Err
	case err == nil:
		if err = r.breaker.Open(); err == nil {
			err = nothing
		}
	}
	return r.summary, err
}

func newSummary() Summary {
	return Summary{
		Unread: map[failure.Class]int{}, Results: map[Result]int{}, Skipped: map[failure.Class]int{},
		Failed: map[failure.Class]int{}, Findings: map[string]int{}, Certificates: map[string]int{},
	}
}

func (r *run) draining() bool {
	select {
	case <-r.stop:
		return true
	default:
		return r.spent.Load()
	}
}

// feed reads the repositories, a little ahead of the keys, and queues what is not done. nothing is the
// error if no repository could be read.
func (r *run) feed(ctx context.Context, guns []dct.GUN, queue chan<- queued) (nothing, err error) {
	trust := &reader{Engine: r.Engine, hosts: dct.NewHosts(), record: true, stop: r.stop}
	var last error
	for gun, a := range trust.each(ctx, guns) {
		if r.draining() {
			return nil, nil
		}
		read, err := a.value, a.err
		var fatal *failure.Fatal
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.As(err, &fatal):
			return nil, err
		case err != nil:
			last = err
			r.unread(gun, err)
			continue
		}
		r.announce(read)
		if err := r.enqueue(ctx, read.work, queue); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return NothingRead(trust.hosts, last), nil
}

// enqueue plans the work in the ledger and queues what is not done yet. Nobody uses the slice afterwards.
func (r *run) enqueue(ctx context.Context, work []Work, queue chan<- queued) error {
	work, err := r.notAsked(r.leaveOut(work))
	if err == nil {
		work, err = r.troubled(work)
	}
	if err != nil {
		return err
	}
	for some := range slices.Chunk(work, plannedAtOnce) {
		if more, err := r.plan(ctx, some, queue); err != nil || !more {
			return err
		}
	}
	return nil
}

// plannedAtOnce is how many items are planned in one transaction: their ledger records are in memory.
const plannedAtOnce = 1000

// plan plans some work in the ledger and queues what is not done yet. more is false if the run is ending.
func (r *run) plan(ctx context.Context, work []Work, queue chan<- queued) (more bool, err error) {
	items := make([]state.Item, len(work))
	for i, w := range work {
		items[i] = w.item()
	}
	if items, err = r.Ledger.Plan(items); err != nil {
		return false, failure.Fatally(err)
	}
	for i, w := range work {
		if items[i].Stage == state.Confirmed && !r.looksAgain() && r.standing(w, items[i]) {
			continue
		}
		select {
		case queue <- queued{w, items[i].Stage}:
		case <-ctx.Done():
			return false, ctx.Err()
		case <-r.stop:
			return false, nil
		}
	}
	return true, nil
}

// standing reports whether the ledger's word is enough that an item is done. If so, it records the outcome.
func (r *run) standing(w Work, known state.Item) bool {
	if known.Stage != state.Confirmed || !r.inspector.stands(w, known.SignedBy) {
		return false
	}
	o := r.outcome(w, ResultAlready)
	o.Leaf, o.Expires, o.Notes = known.SignedBy.Leaf, known.SignedBy.VerifiesUntil(), append(o.Notes, w.recordedNotes(known)...)
	r.count(w, o)
	return true
}

// notAsked reports the work that the filter leaves out, and returns the rest. What the ledger has as done, or as
// impossible to sign, counts as that, so that a rerun of the failed items can end as complete. Everything else is
// left as it is, and the run is not complete: a signature may have expired since, and a missing image may be there by
// now.
func (r *run) notAsked(work []Work) ([]Work, error) {
	var unknown error
	asked := slices.DeleteFunc(work, func(w Work) bool {
		if !w.aside || unknown != nil {
			return false
		}
		known, _, err := r.Ledger.Item(w.Key)
		if err != nil {
			unknown = failure.Fatally(err)
			return false
		}
		if r.standing(w, known) {
			return true
		}
		o := r.outcome(w, ResultSkipped)
		switch {
		case known.Stage == state.Skipped && known.Class != state.ClassUndone && known.Class != string(failure.Missing):
			o.Class, o.Reason = failure.Class(known.Class), known.Reason
		default:
			o.Class, o.Reason = failure.NotAsked, "--only does not name it"
		}
		r.count(w, o)
		return true
	})
	return asked, unknown
}

// leaveOut reports what the plan does not sign, and returns the rest. It does not record them in the ledger: a later
// run without the plan may sign them.
func (r *run) leaveOut(work []Work) []Work {
	return slices.DeleteFunc(work, func(w Work) bool {
		if w.outside == "" {
			return false
		}
		o := r.outcome(w, ResultSkipped)
		o.Class, o.Reason = cmp.Or(w.outsideAs, failure.NotPlanned), w.outside
		r.count(w, o)
		return true
	})
}

// troubled reports work that is known to be impossible now, and returns the rest, unless too much of it ends the run. It
// does not change the ledger, which has what an earlier run did.
func (r *run) troubled(work []Work) ([]Work, error) {
	var open error
	well := slices.DeleteFunc(work, func(w Work) bool {
		if w.trouble == nil || open != nil {
			return false
		}
		class := failure.Of(w.trouble)
		r.failed(w, class, w.trouble)
		r.breaker.Failure("", class, w.trouble)
		open = r.breaker.Open()
		return true
	})
	return well, failure.Fatally(open)
}

// failed reports work that has failed.
func (r *run) failed(w Work, class failure.Class, cause error) {
	o := r.outcome(w, ResultFailed)
	o.Class, o.HostCause, o.Reason = class, failure.HostCause(cause), cause.Error()
	r.count(w, o)
}

// outcome returns what all outcomes of a work have in common.
func (r *run) outcome(w Work, result Result) Outcome {
	o := Outcome{
		Repository: w.Key.Repository, Digest: w.Key.Digest, Key: keyed(r.Keys, w.Key.KeyName), Tags: w.tags(),
		Platform: w.Platform, Result: result, Notes: w.notes(),
	}
	if w.isChild() {
		o.Index = w.indexes()
	}
	if gun := w.Targets[0].GUN().String(); gun != o.Repository {
		o.GUN = gun
	}
	return o
}

func (r *run) announce(read *reading) {
	r.mu.Lock()
	r.summary.Repositories++
	r.summary.Items += len(read.work)
	r.summary.LeftOut += read.leftOut
	for _, f := range read.findings {
		r.summary.Findings[f.Class]++
	}
	r.mu.Unlock()
	r.notify(Event{Found: len(read.work), Trust: read.news()})
}

func (r *run) unread(gun dct.GUN, err error) {
	class := failure.Of(err)
	if r.Scope.MayLack(gun, err) {
		r.mu.Lock()
		r.summary.Unsigned++
		r.mu.Unlock()
		return
	}
	r.mu.Lock()
	r.summary.Unread[class]++
	r.mu.Unlock()
	r.notify(Event{Trust: &TrustNews{GUN: gun.String(), Class: class, Err: err}})
}

func (r *run) count(w Work, o Outcome) {
	o.Notes = append(o.Notes, w.agedNotes()...)
	for _, t := range w.named() {
		for _, f := range t.Flags() {
			o.Notes = append(o.Notes, f+": tag "+t.Tag())
		}
	}
	r.mu.Lock()
	r.summary.Results[o.Result]++
	switch o.Result {
	case ResultSkipped:
		r.summary.Skipped[o.Class]++
	case ResultFailed:
		r.summary.Failed[o.Class]++
	default:
		if o.Leaf != "" {
			r.summary.Certificates[o.Leaf]++
		}
	}
	if o.Wasted {
		r.summary.Wasted++
	}
	r.mu.Unlock()
	r.notify(Event{Outcome: &o})
}
