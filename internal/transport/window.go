package transport

import (
	"context"
	"sync"
	"time"
)

// A window bounds the requests to a host that are in flight. It begins small, grows while answers stay as fast, and
// shrinks if they slow down or the host wants fewer. More requests than the host answers at once would only wait
// there, and might be counted against us. It is safe for concurrent use.
type window struct {
	free chan struct{} // free places
	most int

	mu     sync.Mutex
	limit  int           // places, taken or free; guarded by mu
	owed   int           // taken places to drop when they are given back; guarded by mu
	enough int           // limit from which it grows by single places; guarded by mu
	n      int           // answers of this round; guarded by mu
	fast   int           // of these, the answers that took about as long as best; guarded by mu
	slow   int           // of these, the answers that took far longer; guarded by mu
	took   time.Duration // total time of these; guarded by mu
	best   time.Duration // time of an answer if the host is not busy; 0: unknown; guarded by mu
	rounds int           // since best was measured; guarded by mu
	before int           // limit to restore after measuring best again; 0: not measuring; guarded by mu
}

const (
	windowStart = 16 // places at the beginning
	windowLeast = 8  // minimum after slow answers; after throttling it is 1
	// Answers that differ by less count as equally fast: they may wait that long for one of our own cores.
	windowJitter = 15 * time.Millisecond
	// A host may become slower without being busy. So after this many rounds its speed is measured again, with half
	// the places.
	windowRounds = 256
)

// newWindow returns a window of at most the given number of places.
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
	w.free <- struct{}{} // there is always room
}

// answered records how long a successful request took. After as many answers as the limit, it adapts the limit.
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
	case w.before > 0 && w.rounds > 3: // answers of the first rounds had already waited
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

// adapt adapts the limit to how many answers of the round were as fast as before. If the host is busy, all of them
// wait; if our own process is, only some do, and fewer requests would leave the host idle. The caller holds mu.
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

// resize changes the number of places. The caller holds mu, unless nobody else has the window yet.
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
