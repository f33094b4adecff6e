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
	fast   int           // of these, the answers that took about as long as best; guarded by mu
	slow   int           // of these, the answers that took far longer; guarded by mu
	took   time.Duration // all of these; guarded by mu
	best   time.Duration // what an answer takes if the host is not busy; 0: not known yet; guarded by mu
	rounds int           // since that was measured; guarded by mu
	before int           // limit before it is measured again, which is being done; 0: it is not; guarded by mu
}

const (
	windowStart = 16 // places at the beginning
	windowLeast = 8  // places that slow answers leave; throttling leaves one
	// Answers that differ by less are as fast as each other: so long they may wait for a core of our own.
	windowJitter = 15 * time.Millisecond
	// A host may be slower from some time on without being busy: after so many rounds it is asked with half
	// the places how fast it is.
	windowRounds = 256
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
	switch {
	case took <= w.best*3/2+windowJitter || w.best == 0:
		w.fast++
	case took > 2*w.best+2*windowJitter:
		w.slow++
	}
	if w.n < w.limit {
		return
	}
	mean := w.took / time.Duration(w.n)
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
		w.adapt()
	}
	w.begin()
}

// begin begins a round. The caller holds mu.
func (w *window) begin() { w.n, w.fast, w.slow, w.took = 0, 0, 0, 0 }

// adapt decides by how many answers of the round were as fast as before. Where the host is busy, all of them
// wait; where our own process is, some do, and fewer requests would leave it idle. The caller holds mu.
func (w *window) adapt() {
	switch {
	case w.slow > w.n*3/4:
		w.enough = max(w.limit*3/4, min(w.limit, windowLeast))
		w.resize(w.enough)
	case w.fast < w.n/2:
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
	w.begin()
	w.before = 0
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
