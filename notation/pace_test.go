package notation

import (
	"math/rand/v2"
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

// sliding lets no more than so many through in any second.
type sliding struct {
	many int
	at   []time.Time
}

func (s *sliding) takes(now time.Time) bool {
	if n := len(s.at); n >= s.many && now.Sub(s.at[n-s.many]) < time.Second {
		return false
	}
	s.at = append(s.at, now)
	return true
}

// strain signs with so many workers for a time at a key whose calls take 60 ms, after up to
// 30 ms for the start of a process, and counts what went through from
// some time on, and what was refused in all.
func strain(t *testing.T, q quota, top float64, workers int, from, lasts time.Duration) (perSecond float64, refused int) {
	t.Helper()
	p := &pace{top: top}
	var mu sync.Mutex
	began, good := time.Now(), 0
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for try := 1; time.Since(began) < lasts; try++ {
				if err := p.enter(t.Context(), try); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(rand.N(30 * time.Millisecond))
				mu.Lock()
				takes := q.takes(time.Now())
				mu.Unlock()
				time.Sleep(60 * time.Millisecond)
				mu.Lock()
				switch {
				case !takes:
					refused++
				case time.Since(began) > from:
					good++
				}
				mu.Unlock()
				if takes {
					p.ok()
					try = 0
				} else {
					p.hit()
				}
			}
		})
	}
	all.Wait()
	return float64(good) / (lasts - from).Seconds(), refused
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
		"50 in any second":         {func() quota { return &sliding{many: 50} }, 16, 50},
		"25 in any second":         {func() quota { return &sliding{many: 25} }, 16, 25},
		"25 a second":              {func() quota { return &bucket{perSecond: 25} }, 16, 25},
		"25 a second, 64 workers":  {func() quota { return &bucket{perSecond: 25} }, 64, 25},
		"2 a second":               {func() quota { return &bucket{perSecond: 2} }, 16, 2},
		"500 in ten seconds":       {func() quota { return &fixed{many: 500, each: 10 * time.Second} }, 16, 50},
		"100 in a minute":          {func() quota { return &fixed{many: 100, each: time.Minute} }, 16, 100. / 60},
		"more than we can ask for": {func() quota { return &bucket{perSecond: 1000} }, 16, 16 / 0.075},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const lasts = 4 * time.Minute
				from := 5 * time.Second
				if c.limit < 10 {
					from = lasts / 2 // its quota is of longer than that
				}
				got, refused := strain(t, c.quota(), 0, c.workers, from, lasts)
				if got < 0.94*c.limit { // 0.95 and more, but for chance
					t.Errorf("%.1f a second, and %.1f are allowed", got, c.limit)
				}
				// One in four, and some where the quota is used up.
				if most := (0.25*c.limit + 1.5) * lasts.Seconds(); float64(refused) > most {
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
		got, refused := strain(t, &bucket{perSecond: 1000}, 20, 16, 5*time.Second, time.Minute)
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
			got, refused := strain(t, q, 0, 16, 90*time.Second, 3*time.Minute)
			if got < 0.95*c.then || got > 1.05*c.then || refused > 2500 {
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
		got, refused := strain(t, q, 0, 16, 2*time.Minute, 4*time.Minute)
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
