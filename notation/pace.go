package notation

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dct2notation/dct2notation/internal/retry"
)

// pace says when an operation may start. It is shared by all who sign with the key. Until
// the service throttles, operations start as they come, or at the rate that the user set;
// from then on evenly spread, at the rate that the service is found to allow. When nothing
// goes through any more, the gate is closed, and one operation now and then tries whether
// that has ended.
type pace struct {
	told   func(Throttling)
	budget Budget // nil: there is no bound

	mu      sync.Mutex
	limit   limit
	turned  time.Time // when the last turn was due
	refused int       // calls throttled in a row
	shut    time.Time // when so many were that the gate was closed
	probe   time.Time // when the next may try it then
	spoke   time.Time // when told was called last
	calls   Calls     // so far
}

// Calls count what a key was asked for.
type Calls struct {
	Begun     int // operations and their repetitions
	Throttled int // of those, refused because there were too many
	Proofs    int // throw-away signatures that were asked for, to see the key's certificate
}

// Throttling is what a key's service makes us do.
type Throttling struct {
	Rate float64       // operations per second from now on; 0: any
	Wait time.Duration // before the next operation; 0: none
}

const (
	stubborn = 5                      // so many refusals in a row close the gate
	look     = 100 * time.Millisecond // who waits looks so often whether his turn comes earlier
	slack    = 4                      // turns that are made up for when nobody took them in time

	minPause = 100 * time.Millisecond // between two tries at the closed gate
	maxPause = 5 * time.Second
	patience = 5 // a pause is this part of the time for which the gate is closed: so late is its opening seen

	often    = 10 * time.Second // between two words about it
	long     = time.Second      // a wait that is told of at once
	maxTries = 60               // of one operation, while nothing goes through
)

func newPace(top float64, told func(Throttling)) *pace {
	return &pace{told: told, limit: limit{top: top, rate: top}}
}

// enter waits for the turn of an operation, for each of its tries.
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

// begin counts an operation that has got its turn.
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

// hopeless reports whether an operation that was refused at its n-th try is to be given up. As long as other
// calls go through, it is not: its turn comes.
func (p *pace) hopeless(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return n >= maxTries && p.refused+1 >= maxTries
}

// closed reports whether the gate is closed, as nothing goes through.
func (p *pace) closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused >= stubborn
}

// turn takes the next turn if it is now, and else tells how long to wait before asking
// again.
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
		if pause == maxPause { // so that all who share the key see in the same seconds that it is free again
			p.probe = p.probe.Truncate(maxPause)
		}
		p.probe = p.probe.Add(rand.N(pause / 10)) // and nobody always comes a moment later than another
		return 0
	}
	if gap := p.limit.gap(); gap > 0 {
		due := p.turned.Add(gap)
		if d := due.Sub(now); d > 0 {
			p.limit.grow(now, true)
			return min(d, look)
		}
		// A turn that nobody took in time is made up for, if it is not long past: timers are
		// late, and a rate that lost by that would never be reached.
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

// pause is the time to the next try at the closed gate.
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

// hit takes note of a throttled call.
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
