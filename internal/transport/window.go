package transport

import (
	"context"
	"sync"
	"time"
)

// A window bounds the requests to a host that are in flight. It begins small, grows while answers come as
// fast as they did, and falls where they slow down or the host wants fewer: more in flight than the host
// answers at once only wait there, and may be counted against us. It is safe for concurrent use.
type window struct {
	free chan struct{} // places that a request may take
	most int

	mu     sync.Mutex
	limit  int           // places there are, taken or free; guarded by mu
	owed   int           // of those that are taken, how many go when they come back; guarded by mu
	enough int           // where growing goes on by single places; guarded by mu
	n      int           // answers of this round; guarded by mu
	took   time.Duration // all of these; guarded by mu
	best   time.Duration // what an answer takes if the host is not busy; guarded by mu
	rounds int           // since that was measured; guarded by mu
	before int           // limit before it is measured again, which is being done; 0: it is not; guarded by mu
}

const (
	windowStart = 16 // places at the beginning
	windowLeast = 8  // places that slow answers leave; throttling leaves one
	// Answers that differ by less are as fast as each other.
	windowJitter = 5 * time.Millisecond
	// A host may be slower from some time on without being busy: after so many rounds it is asked with half
	// the places how fast it is.
	windowRounds = 64
)

// newWindow returns a window of at most so many places.
func newWindow(most int) *window {
	w := &window{free: make(chan struct{}, most), most: most, enough: most}
	w.resize(windowStart)
	return w
}

// take waits for a place.
func (w *window) take(ctx context.Context) error {
	select {
	case <-w.free:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave gives a place back.
func (w *window) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owed > 0 {
		w.owed--
		return
	}
	w.free <- struct{}{} // there are never more than there is room for
}

// answered records how long a successful request took. After as many as the limit, the limit is adapted.
func (w *window) answered(took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n, w.took = w.n+1, w.took+took
	if w.n < w.limit {
		return
	}
	mean := w.took / time.Duration(w.n)
	w.n, w.took = 0, 0
	w.rounds++
	switch {
	case w.before > 0 && w.rounds > 3: // those of the first rounds had waited already
		w.best, w.rounds = mean, 0
		w.resize(w.before)
		w.before = 0
	case w.before > 0:
	case w.rounds >= windowRounds && w.limit > 1:
		w.before, w.rounds = w.limit, 0
		w.resize(w.limit / 2)
	default:
		if w.best == 0 || mean < w.best {
			w.best = mean
		}
		w.adapt(mean)
	}
}

// adapt decides by what an answer took now. The caller holds mu.
func (w *window) adapt(mean time.Duration) {
	switch {
	case mean > 2*w.best+2*windowJitter:
		w.enough = max(w.limit*3/4, min(w.limit, windowLeast))
		w.resize(w.enough)
	case mean > w.best*3/2+windowJitter:
	case w.limit < w.enough:
		w.resize(w.limit + max(1, w.limit/8))
	default:
		w.resize(w.limit + 1)
	}
}

// throttled halves the limit, after the host asked for fewer requests.
func (w *window) throttled() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n, w.took, w.before = 0, 0, 0
	w.enough = w.limit / 2
	w.resize(w.enough)
}

// resize changes how many places there are. The caller holds mu, unless nobody else has the window yet.
func (w *window) resize(to int) {
	to = min(max(to, 1), w.most)
	for ; w.limit < to; w.limit++ {
		if w.owed > 0 {
			w.owed--
		} else {
			w.free <- struct{}{}
		}
	}
	for ; w.limit > to; w.limit-- {
		select {
		case <-w.free:
		default:
			w.owed++
		}
	}
}
