package migrate

import (
	"errors"
	"fmt"
	"sync"
)

// ErrStopped is returned when a run ended early by its own decision, before it spent more
// key operations on what would fail as well.
var ErrStopped = errors.New("run stopped early")

// ErrKeyAstray is returned when the key signed something else than it was asked for. It
// ends the run, and running again is no cure.
var ErrKeyAstray = errors.New("run ended: the key did what it was not asked to do")

// breaker ends a run when the same refusal repeats: a key that is denied for one image is
// denied for all. It is safe for concurrent use.
type breaker struct {
	mu      sync.Mutex
	denials map[string]int // by key, "" of registries: one after the other, with no success between
	outages int            // the same, of what may pass
	why     error          // not nil: open, no more key operations may be spent
}

// patience is how many denials in a row open the breaker. One may be a repository of its
// own rules.
const patience = 3

// outagePatience is how many items in a row may fail for reasons that may pass, each after
// its retries, or because of what the key answers, before the run ends: then rather a
// registry or a key service is down, or the plugin broken, and each item costs an operation.
const outagePatience = 10

// open returns why no more key operations may be spent, or nil.
func (b *breaker) open() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.why
}

// success notes an item of a key that was done.
func (b *breaker) success(key string) {
	b.mu.Lock()
	b.outages = 0
	delete(b.denials, key)
	delete(b.denials, "")
	b.mu.Unlock()
}

// failure notes what failed: with the key of that name, or without one. The key's failures are noted while its slot is held, so that
// the next in line already sees them.
func (b *breaker) failure(name string, class Class, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.why != nil {
		return
	}
	var key *keyError
	switch {
	case class == Security && errors.As(err, &key):
		b.why = fmt.Errorf("%w: %w", ErrKeyAstray, err)
	case class.repeatable(), class == Permanent && errors.As(err, &key):
		b.outages++
		if b.outages >= outagePatience {
			b.why = fmt.Errorf("%w: %d items failed in a row, last: %w", ErrStopped, b.outages, err)
		}
	case class == Denied, class == Unsupported:
		if b.denials == nil {
			b.denials = map[string]int{}
		}
		b.denials[name]++
		if b.denials[name] >= patience {
			b.why = fmt.Errorf("%w: refused %d times in a row, last: %w", ErrStopped, b.denials[name], err)
		}
	}
}
