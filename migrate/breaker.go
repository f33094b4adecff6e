package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dct2notation/dct2notation/internal/failure"
)

// ErrStopped is returned when a run ended itself early, before it spent more key operations on items that would fail
// as well.
var ErrStopped = errors.New("run stopped early")

// ErrKeyAstray is returned when the key signed something other than what was requested. It ends the run, and running
// again does not help.
var ErrKeyAstray = errors.New("run ended: the key signed something other than what was requested")

// ErrNotVouched is returned when the run was about to sign what DCT does not vouch for, and the last check before the
// key caught it. It ends the run: this program has a bug, or somebody has changed its memory.
var ErrNotVouched = errors.New("run ended: it was about to sign something that DCT does not vouch for, and did not; this is a bug, please report it")

// Breaker ends a run when the same refusal repeats: a key that is denied for one image is
// denied for all. It is safe for concurrent use.
type Breaker struct {
	mu       sync.Mutex
	denials  map[string]int    // by key, "" for registries, ofPushes: denials in a row, with no success between
	outages  map[string]outage // the same, for failures that may pass
	refusals int               // the same, for repositories that are full
	full     map[string]error  // by repository: why nothing more is signed for it
	why      error             // not nil: open, no more key operations may be spent
	span     time.Duration     // how long outages have to last; 0: outageSpan
	now      func() time.Time  // nil: time.Now
}

// ofPushes is the name under which pushes are counted. Finding an item already signed says nothing about pushes, and
// each push that fails has cost a key operation.
const ofPushes = " pushes"

// outage counts failures in a row.
type outage struct {
	n     int
	began time.Time // when the first occurred
}

// patience is how many denials in a row open the breaker. A single one may come from a repository with rules of its
// own.
const patience = 3

// outagePatience is how many items in a row may fail before the run ends, for reasons that may pass (each after its
// retries) or because of what the key answers. After so many, a registry or a key service is down or the plugin is
// broken, and each further item costs an operation. outageSpan is for how long they must have failed: with many
// workers ten failures come within a second, and a service that was away for a second should not end a run.
const (
	outagePatience = 10
	outageSpan     = 15 * time.Second
)

// Open returns why no more key operations may be spent, or nil.
func (b *Breaker) Open() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.why
}

// room returns why nothing can be pushed to a repository, or nil.
func (b *Breaker) room(repository string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.full[repository]
}

// fill records that a registry refused a signature in a repository because it is full. Quotas apply to registries,
// projects or repositories, so other repositories may have room: each costs a key operation to find out.
func (b *Breaker) fill(repository string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full[repository] != nil {
		return // by an image that was signed before the first was refused
	}
	if b.full == nil {
		b.full = map[string]error{}
	}
	b.full[repository] = err
	b.refusals++
	if b.why == nil && b.refusals >= patience {
		b.why = &Ended{ErrStopped, fmt.Sprintf("%d repositories in a row are full", b.refusals), err}
	}
}

// Success records that the key of that name made a signature or, with "", that registries did all that an item
// needed. The one says nothing about the other.
func (b *Breaker) Success(name string) {
	b.mu.Lock()
	delete(b.denials, name)
	delete(b.outages, name)
	b.mu.Unlock()
}

// pushed records that a registry accepted a signature, and so had room for it.
func (b *Breaker) pushed() {
	b.Success(ofPushes)
	b.mu.Lock()
	b.refusals = 0
	b.mu.Unlock()
}

// Failure records a failure, of the named key if there is one. Call it for a refusal by the key while the key's slot
// is held, so that the next item already sees it, and for a temporary failure after the last retry.
func (b *Breaker) Failure(name string, class failure.Class, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.why != nil {
		return
	}
	var key *keyError
	var own *refusal
	switch {
	case class == failure.Security && errors.As(err, &own):
		b.why = &Ended{Kind: ErrNotVouched, Cause: err}
	case class == failure.Security && errors.As(err, &key):
		b.why = &Ended{Kind: ErrKeyAstray, Cause: err}
	case class.Repeatable(), class == failure.Permanent && errors.As(err, &key):
		now := time.Now
		if b.now != nil {
			now = b.now
		}
		if b.outages == nil {
			b.outages = map[string]outage{}
		}
		o := b.outages[name]
		if o.n++; o.n == 1 {
			o.began = now()
		}
		b.outages[name] = o
		// A failure that cannot pass, such as a plugin that answers nonsense, costs an operation each time.
		if o.n >= outagePatience && (!class.Repeatable() || now().Sub(o.began) >= cmp.Or(b.span, outageSpan)) {
			b.why = &Ended{ErrStopped, fmt.Sprintf("%d items failed in a row", o.n), err}
		}
	case class == failure.Denied, class == failure.Unsupported:
		if b.denials == nil {
			b.denials = map[string]int{}
		}
		b.denials[name]++
		if b.denials[name] >= patience {
			b.why = &Ended{ErrStopped, fmt.Sprintf("refused %d times in a row", b.denials[name]), err}
		}
	}
}
