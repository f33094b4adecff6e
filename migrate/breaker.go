package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dct2notation/dct2notation/internal/failure"
)

// ErrStopped is returned when a run ended early by its own decision, before it spent more
// key operations on what would fail as well.
var ErrStopped = errors.New("run stopped early")

// ErrKeyAstray is returned when the key signed something else than it was asked for. It
// ends the run, and running again is no cure.
var ErrKeyAstray = errors.New("run ended: the key signed something other than what was requested")

// ErrNotVouched is returned when the run was about to sign what DCT does not vouch for, and the
// last check before the key found it. It ends the run: something is wrong with this program,
// or somebody has changed its memory.
var ErrNotVouched = errors.New("run ended: it was about to sign something that DCT does not vouch for, and did not; this is a bug, please report it")

// Breaker ends a run when the same refusal repeats: a key that is denied for one image is
// denied for all. It is safe for concurrent use.
type Breaker struct {
	mu       sync.Mutex
	denials  map[string]int    // by key, "" of registries, ofPushes: one after the other, with no success between
	outages  map[string]outage // the same, of what may pass
	refusals int               // the same, of repositories that are full
	full     map[string]error  // by repository: why nothing more is signed for it
	why      error             // not nil: open, no more key operations may be spent
	span     time.Duration     // how long outages have to go on; 0: outageSpan
	now      func() time.Time  // nil: time.Now
}

// ofPushes is the name under which pushes are counted. An item that is found to be signed says nothing of
// them, and each that fails has cost a key operation.
const ofPushes = " pushes"

// outage is what failed in a row.
type outage struct {
	n     int
	began time.Time // when the first came
}

// patience is how many denials in a row open the breaker. One may be a repository of its
// own rules.
const patience = 3

// outagePatience is how many items in a row may fail for reasons that may pass, each after
// its retries, or because of what the key answers, before the run ends: then rather a
// registry or a key service is down, or the plugin broken, and each item costs an operation.
// outageSpan is for how long they must have failed: with many workers the ten come within a
// second, and a service that was away for a second ends no run.
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

// fill notes that a registry refused a signature in a repository for want of room. Others may
// have some left, as quotas are of registries, of projects and of repositories: each costs a
// key operation to find out.
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

// Success notes that the key of that name made a signature, or with "" that registries did all that an
// item needed. The one says nothing of the other.
func (b *Breaker) Success(name string) {
	b.mu.Lock()
	delete(b.denials, name)
	delete(b.outages, name)
	b.mu.Unlock()
}

// pushed notes that a registry took a signature, and had room for it.
func (b *Breaker) pushed() {
	b.Success(ofPushes)
	b.mu.Lock()
	b.refusals = 0
	b.mu.Unlock()
}

// Failure records a failure, of the key of that name if it has one. Call it for a refusal by the key
// while the key's slot is held, so that the next item already sees it, and for a temporary failure
// after the last retry.
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
		// What cannot pass, such as a plugin that answers nonsense, costs an operation each time.
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
