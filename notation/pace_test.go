package notation

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A quota says whether a key's service takes an operation now.
type quota interface{ takes(now time.Time) bool }

// bucket lets so many a second through, and a burst of as many.
type bucket struct {
	perSecond, tokens float64
	last              time.Time
}

func (b *bucket) takes(now time.Time) bool {
	if b.last.IsZero() {
		b.tokens = b.perSecond
	} else {
		b.tokens = min(b.tokens+b.perSecond*now.Sub(b.last).Seconds(), b.perSecond)
	}
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// fixed lets so many through in each window, as Azure's vaults do in ten seconds.
type fixed struct {
	many  int
	each  time.Duration
	used  int
	began time.Time
}

func (f *fixed) takes(now time.Time) bool {
	if now.Sub(f.began) >= f.each {
		f.began, f.used = now.Truncate(f.each), 0
	}
	f.used++
	return f.used <= f.many
}

// strain signs with so many workers for a time at a key whose calls take 60 ms, and counts
// what went through in the second half, and what was refused in all.
func strain(t *testing.T, q quota, top float64, workers int, lasts time.Duration) (perSecond float64, refused int) {
	t.Helper()
	p := &pace{top: top}
	var mu sync.Mutex
	began, good := time.Now(), 0
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for time.Since(began) < lasts {
				if err := p.enter(t.Context()); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				takes := q.takes(time.Now())
				mu.Unlock()
				time.Sleep(60 * time.Millisecond)
				mu.Lock()
				switch {
				case !takes:
					refused++
				case time.Since(began) > lasts/2:
					good++
				}
				mu.Unlock()
				if takes {
					p.ok()
				} else {
					p.hit()
				}
			}
		})
	}
	all.Wait()
	return float64(good) / (lasts / 2).Seconds(), refused
}

// The pace finds the limit of a key's service, whatever its quota is of, and stays at it
// with few refusals.
func TestPaceFindsTheLimitAndStaysThere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		quota   func() quota
		workers int
		limit   float64
	}{
		"50 a second":              {func() quota { return &bucket{perSecond: 50} }, 16, 50},
		"25 a second":              {func() quota { return &bucket{perSecond: 25} }, 16, 25},
		"25 a second, 64 workers":  {func() quota { return &bucket{perSecond: 25} }, 64, 25},
		"2 a second":               {func() quota { return &bucket{perSecond: 2} }, 16, 2},
		"500 in ten seconds":       {func() quota { return &fixed{many: 500, each: 10 * time.Second} }, 16, 50},
		"100 in a minute":          {func() quota { return &fixed{many: 100, each: time.Minute} }, 16, 100. / 60},
		"more than we can ask for": {func() quota { return &bucket{perSecond: 1000} }, 16, 16 / 0.06},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const lasts = 4 * time.Minute
				got, refused := strain(t, c.quota(), 0, c.workers, lasts)
				if got < 0.95*c.limit {
					t.Errorf("%.1f a second, and %.1f are allowed", got, c.limit)
				}
				// One in ten, and one a second where the quota is used up.
				if most := (0.1*c.limit + 1) * lasts.Seconds(); float64(refused) > most {
					t.Errorf("%d refused of some %.0f", refused, c.limit*lasts.Seconds())
				}
			})
		})
	}
}

// A bound that the user sets is kept, and throttling does not lift it.
func TestPaceKeepsTheUsersBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got, refused := strain(t, &bucket{perSecond: 1000}, 20, 16, time.Minute)
		if got < 19 || got > 21 || refused > 0 {
			t.Errorf("%.1f a second, %d refused", got, refused)
		}
	})
}

// When others begin to use the quota, and when they stop, the pace follows.
func TestPaceFollowsTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ before, then float64 }{{60, 30}, {30, 60}} {
			q := &after{first: &bucket{perSecond: c.before}, then: &bucket{perSecond: c.then}, began: time.Now(), lasts: time.Minute}
			got, refused := strain(t, q, 0, 16, 3*time.Minute)
			if got < 0.95*c.then || got > 1.05*c.then || refused > 600 {
				t.Errorf("%.1f a second of the %.0f that are left, %d refused", got, c.then, refused)
			}
		}
	})
}

// A service that lets nothing through is asked less and less, and found again when it is
// back.
func TestPaceOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := &fixed{}
		q := &after{first: down, lasts: time.Minute, began: time.Now(), then: &bucket{perSecond: 50}}
		got, refused := strain(t, q, 0, 16, 4*time.Minute)
		if got < 47 || refused > 1000 {
			t.Errorf("%.1f a second, %d refused", got, refused)
		}
	})
}

// after is one quota and then another.
type after struct {
	first, then quota
	began       time.Time
	lasts       time.Duration
}

func (a *after) takes(now time.Time) bool {
	if now.Sub(a.began) < a.lasts {
		return a.first.takes(now)
	}
	return a.then.takes(now)
}
