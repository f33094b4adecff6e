package transport

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A hostLimiter holds one host's connections, limits and pause.
type hostLimiter struct {
	host  string
	base  http.RoundTripper
	rate  *rate.Limiter // nil for no limit
	slots *window       // requests in flight; nil: no limit

	mu     sync.Mutex
	until  time.Time // no request starts earlier; guarded by mu
	reason string    // of the pause; guarded by mu
	asked  int       // requests that have begun and not ended; guarded by mu
	since  time.Time // when the first of them began, or the last one ended; guarded by mu
}

// A Pending is a host that the process waits for.
type Pending struct {
	Host     string
	Requests int           // in flight
	Silent   time.Duration // since the first of them began or the last one ended
	Reason   string        // of a pause; empty if there is none
	Left     time.Duration // of the pause
}

// Pending returns the hosts that requests wait for, the longest silent first.
func (t *Transport) Pending() (all []Pending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.limiters {
		p := l.pending()
		if p.Requests > 0 || p.Left > 0 {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b Pending) int {
		return cmp.Or(cmp.Compare(b.Silent, a.Silent), strings.Compare(a.Host, b.Host))
	})
	return all
}

func (l *hostLimiter) pending() Pending {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := Pending{Host: l.host, Requests: l.asked}
	if l.asked > 0 {
		p.Silent = time.Since(l.since)
	}
	if left := time.Until(l.until); left > 0 {
		p.Reason, p.Left = l.reason, left
	}
	return p
}

// count records that a request began (1) or ended (-1).
func (l *hostLimiter) count(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked += n; n < 0 || l.asked == 1 {
		l.since = time.Now()
	}
}

// A ThrottledError says that a host asked to be left alone for longer than a request may
// wait. Nothing was sent.
type ThrottledError struct {
	Host   string
	Reason string        // what the host answered
	Wait   time.Duration // remaining pause
}

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("%s asks to wait another %s before the next request (%s)", e.Host, e.Wait.Round(time.Second), e.Reason)
}

// limiter returns the limiter of the URL's host, and creates it on first use.
func (t *Transport) limiter(u *url.URL) (*hostLimiter, error) {
	if u == nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errBadURL
	}
	host := hostKey(u)
	key := u.Scheme + "://" + host
	t.mu.Lock()
	defer t.mu.Unlock()
	if l, ok := t.limiters[key]; ok {
		return l, nil
	}
	base := t.o.Base
	if base == nil {
		tr, err := t.connections(host)
		if err != nil {
			return nil, err
		}
		base = tr
	}
	l := newLane(host, base, t.o.Limits(host))
	t.limiters[key] = l
	return l, nil
}

func newLane(host string, base http.RoundTripper, limit Limit) *hostLimiter {
	l := &hostLimiter{host: host, base: base}
	if limit.PerSecond > 0 {
		// A burst of one: a server that counts per second must not see two seconds' worth at once.
		l.rate = rate.NewLimiter(rate.Limit(limit.PerSecond), 1)
	}
	if limit.InFlight > 0 {
		l.slots = newWindow(limit.InFlight)
	}
	return l
}

// hostKey returns host[:port] in lower case, without the scheme's default port.
func hostKey(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// acquire waits for the pause, the rate and a slot, in this order, so that nothing is held while waiting. If the rest
// of a pause is longer than patience, it returns a ThrottledError at once. The caller must call leave if and only if
// the error is nil.
func (l *hostLimiter) acquire(ctx context.Context, patience time.Duration) error {
	for {
		if err := l.outlast(ctx, patience); err != nil {
			return err
		}
		if err := l.pace(ctx); err != nil {
			return fmt.Errorf("waiting for the rate limit of %s: %w", l.host, err)
		}
		if err := l.take(ctx); err != nil {
			return fmt.Errorf("waiting for a free request to %s: %w", l.host, err)
		}
		// The pause may have begun while we waited.
		if left, _ := l.pausedFor(); left <= 0 {
			l.count(1)
			return nil
		}
		l.free()
	}
}

// outlast waits until the host's pause is over, and a little more, so that requests that waited together do not start
// together.
func (l *hostLimiter) outlast(ctx context.Context, patience time.Duration) error {
	for {
		left, reason := l.pausedFor()
		if left <= 0 {
			return ctx.Err()
		}
		if left > patience {
			return &ThrottledError{Host: l.host, Reason: reason, Wait: left}
		}
		if err := sleep(ctx, left+rand.N(200*time.Millisecond)); err != nil {
			return fmt.Errorf("waiting for %s (%s): %w", l.host, reason, err)
		}
	}
}

// pace waits for the rate limit.
func (l *hostLimiter) pace(ctx context.Context) error {
	if l.rate == nil {
		return ctx.Err()
	}
	err := l.rate.Wait(ctx)
	if err != nil && ctx.Err() == nil {
		// The limiter predicts that the deadline would pass and returns its own error; callers check for the
		// context's.
		return context.DeadlineExceeded
	}
	return err
}

// take waits for an in-flight slot.
func (l *hostLimiter) take(ctx context.Context) error {
	if l.slots == nil {
		return ctx.Err()
	}
	return l.slots.take(ctx)
}

// leave ends a request, and gives its slot back.
func (l *hostLimiter) leave() {
	l.count(-1)
	l.free()
}

func (l *hostLimiter) free() {
	if l.slots != nil {
		l.slots.leave()
	}
}

// answered records how long a successful request took.
func (l *hostLimiter) answered(took time.Duration) {
	if l.slots != nil {
		l.slots.answered(took)
	}
}

// close pauses the host for d and reports whether to announce it: many requests in flight get the same answer, and
// only the first, or a clearly longer pause, is worth a line.
func (l *hostLimiter) close(d time.Duration, reason string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	until := now.Add(d)
	if !until.After(l.until) {
		return false
	}
	news := !l.until.After(now) || until.Sub(l.until) > time.Second
	if news && l.slots != nil {
		l.slots.throttled()
	}
	l.until, l.reason = until, reason
	return news
}

// pausedFor returns how long the pause still lasts, and why. Zero or less means no pause.
func (l *hostLimiter) pausedFor() (time.Duration, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.until), l.reason
}
