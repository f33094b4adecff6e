package migrate

import (
	"context"
	"log/slog"
	"time"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
)

// Engine does one run or plan. Its fields are set before the first call and do not
// change.
type Engine struct {
	Trust    Trust
	Registry Registry
	Keys     []Key  // at least one; their names differ
	Ledger   Ledger // nil for a plan without one
	// Workers limits the operations in flight of each key, and so how many can be wasted when the run is killed. At
	// least 1. Inspecting and pushing have limits of their own, so that the key stays busy while a registry is slow.
	Workers int
	// Readers is how many repositories' trust data is read at the same time; 0: one. Notary servers crash under
	// parallel reads (docs/adr/0012).
	Readers int
	Tool    string // name and version, for signed metadata
	Scope   Scope  // which part of the trust data to process, and where its images are
	Plan    *Plan  // what the run is bound to; nil: all that DCT vouches for
	// Filter selects what to process in the repositories that are read; nil: everything. It is called for each digest
	// with its repository (its GUN and where it is now) and the tags that DCT gives it; for an image that DCT does
	// not name, with the indexes that list it.
	Filter  func(FilterItem) bool
	Observe func(Event) // receives progress; called from several goroutines
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
	// Pause is how long an item waits before its second attempt, give or take a half, and
	// twice as long before each further one; 0: a second.
	Pause time.Duration

	// AllPlatforms signs, with an index that DCT names, the images that its bytes list.
	AllPlatforms bool
	// Recheck also looks up in the registry the items that the ledger has as done, and signs again those that the
	// registry has lost.
	Recheck bool
	// Rebind does what Recheck does. It also signs a digest again if a tag was added after its signature was made, so
	// that no signature of the key binds the tag. The new signature binds all its tags.
	Rebind bool
	// Resign signs an image again if its signature is by an accepted identity other than the key's
	// current one, or lacks the requested expiry or timestamp.
	Resign bool
	// Shared says that other machines sign with the same key: the signatures of an image are looked
	// up again just before the push. With ListsInTag this is always done.
	Shared bool

	// LastRate is how many images per second the last run with the ledger signed, to estimate the plan's cost; 0 if
	// unknown.
	LastRate float64

	// Setbacks, shared by the engines of one process, delays items for which the key failed a moment ago; nil: each
	// run tries everything.
	Setbacks *Setbacks

	// SignBeforeRecord pushes before the envelope is in the ledger. It is the wrong order, which the kill test has to
	// catch; no command sets it.
	signBeforeRecord bool
	outageSpan       time.Duration // of the breaker, for tests
}

// Run signs what the trust data of the repositories vouches for, and returns a summary. When stop is closed, it
// finishes what is in flight and returns with Summary.Drained; when ctx ends, it returns as soon as it can. In both
// cases the next Run on the same ledger goes on.
//
// The error is nil even if items failed: see Summary. It is ErrStopped, ErrKeyAstray, ErrNotVouched, ErrNothingRead,
// ctx's, or the ledger's.
func (e *Engine) Run(ctx context.Context, stop <-chan struct{}, guns []dct.GUN) (Summary, error) {
	r, err := newRun(e, stop)
	if err != nil {
		return Summary{}, err
	}
	return r.all(ctx, guns)
}

// MakePlan does what Run does up to inspecting the registry, and changes nothing: no signature, no push, no change of
// a stage in the ledger. A key whose certificate is known only from the ledger is proven before the first signature
// counts as its own, which costs a key operation. The error is ctx's, ErrNothingRead, or the ledger's; a repository
// or item that cannot be inspected is in the plan with the reason.
func (e *Engine) MakePlan(ctx context.Context, guns []dct.GUN) (*Plan, error) {
	return (&planner{e, e.inspector()}).plan(ctx, guns)
}

// perWorker is how many items may be inspected or pushed for each key operation in flight. An item spends most of its
// time waiting for a registry, in some eight requests one after the other.
const perWorker = 6

// looksAgain reports whether the registry is inspected even for items that the ledger has as done.
func (e *Engine) looksAgain() bool { return e.Recheck || e.Rebind }

func (e *Engine) now() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}

func (e *Engine) notify(ev Event) {
	if e.Observe != nil {
		e.Observe(ev)
	}
}

// inspector returns the engine's inspector of registries.
func (e *Engine) inspector() inspector { return inspector{e.Registry, e.now, e.Rebind, e.Resign} }

// platforms returns a plan's Platforms: whether it has the images that an index lists.
func (e *Engine) platforms() string {
	if e.AllPlatforms {
		return "all"
	}
	return ""
}

// Event is a piece of news for the progress display. Exactly one of its fields is set.
type Event struct {
	Found   int        // how many more items were found
	Outcome *Outcome   // an item has ended
	Trust   *TrustNews // a repository's trust data was read, or not
	Key     *KeyNews   // a key was asked, or has answered
}

// KeyNews says that an operation of a key begins, or has ended.
type KeyNews struct {
	Name  string
	Ended bool
}

// TrustNews is the result of reading one repository's trust data.
type TrustNews struct {
	GUN      string
	Place    string // the repository that the images are in, if it is another
	PinnedBy string
	RootKeys []string
	Replaced string // which root was accepted in place of which; empty: none
	Items    int
	Findings []dct.Finding
	Expiries []dct.Expiry
	Changed  []string      // in the plan, but no longer in the trust data
	LeftOut  int           // tags that were not chosen, of digests that no chosen tag has
	Class    failure.Class // empty: it was read
	Err      error
}

// Result says how an item ended in this run.
type Result string

// The results.
const (
	ResultSigned   Result = "signed"   // by this run, and the registry lists it
	ResultAlready  Result = "already"  // signed by an earlier run, or found in the registry
	ResultSkipped  Result = "skipped"  // not to be signed
	ResultFailed   Result = "failed"   //
	ResultReplayed Result = "replayed" // signed by an earlier run, pushed by this one
)

// Outcome is how an item ended in this run.
type Outcome struct {
	Repository, Digest string
	GUN                string // if it differs from the repository
	Key                string // its name, if there are several
	Tags               []string
	Index              []string // for an image that DCT does not name: the indexes that list it, which DCT names
	Platform           string
	Result             Result
	Class              failure.Class
	HostCause          string // if not empty: what is wrong with the repository's whole host; see HostCause
	Reason             string
	Leaf               string    // SHA-256 of the certificate that signed it, if it is signed
	Expires            time.Time // until when that signature verifies; zero: indefinitely, or unknown
	Wasted             bool      // a signature was made and thrown away, as another machine had pushed one meanwhile
	Notes              []string
}

// FilterItem is what Engine.Filter decides on.
type FilterItem struct {
	GUN, Place string
	Digests    []string // its own first
	Tags       []string
}
