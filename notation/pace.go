package notation

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dct2notation/dct2notation/internal/retry"
)

// pace says when an operation may start. All who sign with the key share it. Until the service throttles, operations
// start at once, or at the rate that the user set. After that they are evenly spread, at the rate that the service
// seems to allow. When nothing goes through any more, the gate closes, and single operations test now and then
// whether that has ended.
type pace struct {
	told   func(Throttling)
	budget Budget // nil: no bound

	mu      sync.Mutex
	limit   limit
	turned  time.Time // due time of the last turn
	refused int       // calls throttled in a row
	shut    time.Time // when the gate was closed
	probe   time.Time // when the next may then try
	spoke   time.Time // when told was last called
	calls   Calls     // so far
}

// Calls counts what was requested of a key.
type Calls struct {
	Begun     int // operations and their repetitions
	Throttled int // of these, refused for throttling
	Proofs    int // throw-away signatures, to see the key's certificate
}

// Throttling is how a key's service throttles us.
type Throttling struct {
	Rate float64       // operations per second from now on; 0: any
	Wait time.Duration // before the next operation; 0: none
}

const (
	stubborn = 5                      // consecutive refusals that close the gate
	look     = 100 * time.Millisecond // how often a waiter checks whether its turn is earlier
	slack    = 4                      // missed turns that are made up for

	minPause = 100 * time.Millisecond // between two tries at the closed gate
	maxPause = 5 * time.Second
	patience = 5 // a pause is 1/patience of the time the gate has been closed, and bounds how late its opening is noticed

	often    = 10 * time.Second // between two reports of throttling
	long     = time.Second      // a wait that is reported at once
	maxTries = 60               // for one operation, while nothing goes through
)

func newPace(top float64, told func(Throttling)) *pace {
	return &pace{told: told, limit: limit{top: top, rate: top}}
}

// enter waits for an operation's turn, before each of its tries.
func (p *pace) enter(ctx context.Context) error {
	for {
		d := p.turn()
		if d <= 0 {
			return p.begin(ctx)
		}
		if err := retry.Wait(ctx, d); err != nil {
			return err
		}
	}
}

// proof counts a throw-away signature.
func (p *pace) proof() {
	p.mu.Lock()
	p.calls.Proofs++
	p.mu.Unlock()
}

// begin counts an operation that got its turn.
func (p *pace) begin(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if p.budget != nil {
		if err := p.budget.Take(); err != nil {
			return err
		}
	}
	p.mu.Lock()
	p.calls.Begun++
	p.mu.Unlock()
	return nil
}

// hopeless reports whether to give up an operation that was refused at its n-th try. As long as other calls go
// through, it is not hopeless: its turn will come.
func (p *pace) hopeless(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return n >= maxTries && p.refused+1 >= maxTries
}

// closed reports whether the gate is closed because nothing goes through.
func (p *pace) closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused >= stubborn
}

// turn takes the next turn if it is due, or returns how long to wait before asking again.
func (p *pace) turn() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.refused >= stubborn {
		if d := p.probe.Sub(now); d > 0 {
			return min(d, look)
		}
		pause := p.pause(now)
		p.probe = now.Add(pause)
		if pause == maxPause { // so that all processes that share the key notice in the same seconds that it is free again
			p.probe = p.probe.Truncate(maxPause)
		}
		p.probe = p.probe.Add(rand.N(pause / 10)) // so that none always comes just after another
		return 0
	}
	if gap := p.limit.gap(); gap > 0 {
		due := p.turned.Add(gap)
		if d := due.Sub(now); d > 0 {
			p.limit.grow(now, true)
			return min(d, look)
		}
		// A turn that nobody took in time is made up for if it is recent. Timers are late, and otherwise the rate
		// would never be reached.
		missed := now.Sub(due) > slack*gap
		if missed {
			due = now
		}
		p.limit.grow(now, !missed)
		p.turned = due
	}
	p.limit.start(now)
	return 0
}

// pause returns the time to the next try at the closed gate.
func (p *pace) pause(now time.Time) time.Duration {
	return min(max(now.Sub(p.shut)/patience, minPause), maxPause)
}

// ok counts an operation that went through.
func (p *pace) ok() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = 0
	p.limit.pass()
}

// hit records a throttled call.
func (p *pace) hit() {
	if p.budget != nil {
		p.budget.Return()
	}
	if news, tell := p.slow(time.Now()); tell {
		p.told(news)
	}
}

func (p *pace) slow(now time.Time) (news Throttling, tell bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit.refuse(now)
	p.calls.Throttled++
	p.refused++
	if p.refused == stubborn {
		p.shut, p.probe = now, now.Add(minPause)
	}
	news.Rate = p.limit.rate
	if p.refused >= stubborn {
		news.Wait = max(p.probe.Sub(now), 0)
	}
	tell = p.told != nil && (now.Sub(p.spoke) >= often || news.Wait >= long && p.spoke.Before(p.shut))
	if tell {
		p.spoke = now
	}
	return news, tell
}
