package notation

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// pace finds how many operations a second a key's service allows, and stays there. It is
// shared by all who sign with the key. Until the service throttles, operations start as
// they come, or at the rate that the user set. From then on they start evenly spread, at
// what was achieved lately; with no more throttling the rate grows again, slowly at first.
// Quotas are of windows from one second to a minute, and nothing tells which, or how much
// of it others use: so nothing but what went through is counted.
type pace struct {
	top  float64 // operations per second that the user allows; 0: any
	told func(Throttling)

	mu       sync.Mutex
	rate     float64   // operations started per second; 0: any
	known    float64   // what the service allowed when it was asked for more; 0: not known
	next     time.Time // when the next may start
	cut      time.Time // when the rate was cut last
	grown    time.Time // when it was raised last
	refused  int       // calls throttled in a row
	closed   time.Time // nothing starts before
	spoke    time.Time // when told was called last
	began    time.Time // of the first operation
	achieved [window / span]int
	at       int64 // the span that achieved ends with
}

// Throttling is what a key's service makes us do.
type Throttling struct {
	Rate float64       // operations per second from now on; 0: any
	Wait time.Duration // before the next operation; 0: none
}

const (
	window = 10 * time.Second // over which is counted what went through
	span   = 500 * time.Millisecond

	epoch    = span // calls that are throttled in this time are throttled by one cause
	below    = 0.98 // of what went through
	near     = 0.8  // a rate of which so much went through is about right
	creep    = 0.02 // growth per second after a throttled call
	climb    = 0.10 // growth per second when that is long ago
	rush     = 1.00 // growth per second below what is known to be allowed
	longAgo  = 3 * time.Second
	enough   = 10  // operations in the window that say something of the limit
	slowest  = 0.2 // operations per second
	stubborn = 5   // so many refusals in a row close the gate
	minDelay = 200 * time.Millisecond
	maxDelay = 5 * time.Second
	maxTries = 60 // of one operation
)

// enter waits for the turn of an operation's first try, and of each further one.
func (p *pace) enter(ctx context.Context, try int) error {
	turn := p.turn
	if try%2 == 0 && wait(ctx, p.half()) == nil {
		// What is refused at about the right rate came a moment too early. With a turn of
		// its own for every other try, it does not cost the turn of another operation.
		turn = p.open
	}
	for {
		d := turn()
		if d <= 0 {
			return ctx.Err()
		}
		if err := wait(ctx, d); err != nil {
			return err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// half is half the time between two turns, give or take a half of that.
func (p *pace) half() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate == 0 {
		return minDelay
	}
	gap := time.Duration(float64(time.Second) / p.rate)
	return gap/4 + rand.N(gap/2+1)
}

// open tells how long the gate is still closed.
func (p *pace) open() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := time.Until(p.closed); d > 0 {
		return d + rand.N(minDelay)
	}
	return 0
}

// turn takes the next turn if it is now, and else tells how long to wait before asking
// again.
func (p *pace) turn() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.began.IsZero() {
		p.began, p.rate = now, p.top
	}
	if d := p.closed.Sub(now); d > 0 {
		return d + rand.N(minDelay) // or all would come back in the same instant
	}
	p.grow(now)
	if p.rate == 0 {
		return 0
	}
	if d := p.next.Sub(now); d > 0 {
		return d
	}
	gap := time.Duration(float64(time.Second) / p.rate)
	// A turn that nobody took in time is made up for, if it is not long past: timers are
	// late, and a rate that lost by that would never be reached.
	p.next = p.next.Add(gap)
	if late := now.Add(-4 * gap); p.next.Before(late) {
		p.next = now
	}
	return 0
}

// grow raises the rate for the time since it was raised last.
func (p *pace) grow(now time.Time) {
	if p.rate == 0 || p.cut.IsZero() || now.Sub(p.grown) < span {
		return
	}
	share := creep
	switch {
	case p.rate < p.known*below || p.known == 0:
		share = rush
	case now.Sub(p.cut) > longAgo:
		share = climb
	}
	p.rate *= 1 + share*now.Sub(p.grown).Seconds()
	p.grown = now
	if p.top > 0 {
		p.rate = min(p.rate, p.top)
	}
}

// ok counts an operation that went through.
func (p *pace) ok() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = 0
	p.advance(time.Now())
	p.achieved[len(p.achieved)-1]++
}

// hit takes note of a throttled call. The first of an epoch cuts the rate to what went
// through lately. When nothing goes through any more, all wait, each time twice as long.
func (p *pace) hit() {
	p.mu.Lock()
	now := time.Now()
	p.refused++
	p.advance(now)
	var news Throttling
	if p.refused >= stubborn && p.refused%stubborn == 0 && !now.Before(p.closed) {
		news.Wait = min(minDelay<<min(p.refused/stubborn-1, 10), maxDelay)
		p.closed = now.Add(news.Wait)
	}
	if now.Sub(p.cut) >= epoch {
		p.cut, p.grown = now, now
		p.learn(now)
		if p.top > 0 {
			p.rate = min(p.rate, p.top)
		}
	}
	news.Rate = p.rate
	tell := p.told != nil && (news.Wait > 0 || now.Sub(p.spoke) >= window)
	if tell {
		p.spoke = now
	}
	p.mu.Unlock()
	if tell {
		p.told(news)
	}
}

// learn cuts the rate to what went through in the window, or since the first operation if
// that is less. When the service lets hardly anything through for a while, what it is known
// to allow is forgotten only little by little.
func (p *pace) learn(now time.Time) {
	n := 0
	for _, a := range p.achieved {
		n += a
	}
	lately := float64(n) / min(max(now.Sub(p.began), time.Second), window).Seconds()
	switch {
	case n >= enough && lately >= p.known/2:
		p.known = lately
	default:
		p.known *= 0.9
	}
	if lately > p.rate*near && p.rate > 0 {
		// It was about right. What went through in the window is less than what may, by
		// what was cut before.
		p.rate = max(lately, p.rate*below, slowest)
		return
	}
	p.rate = max(lately*below, slowest)
}

// advance moves the window to now.
func (p *pace) advance(now time.Time) {
	at := now.UnixNano() / int64(span)
	for steps := min(at-p.at, int64(len(p.achieved))); steps > 0; steps-- {
		copy(p.achieved[:], p.achieved[1:])
		p.achieved[len(p.achieved)-1] = 0
	}
	p.at = max(p.at, at)
}
