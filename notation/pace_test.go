package notation

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// effort is the outcome of the operations from some time on.
type effort struct {
	through, refused int
	tries            int // the most that one operation took
	failed           int // operations that were given up
}

func (e effort) share() float64 { return float64(e.refused) / float64(e.through+e.refused) }

// strain runs one process that competes with nobody.
func strain(t *testing.T, q quota, top float64, workers int, from, lasts time.Duration) effort {
	t.Helper()
	return compete(t, q, top, 1, workers, from, lasts)[0]
}

// compete runs processes that know nothing of each other. Each signs with so many workers for a
// time, and its results are counted from some time on. They begin a quarter of a second apart. A
// process takes 2 to 20 ms to start, a signature 60 ms, a refusal next to nothing, and the three
// requests after a signature 60 ms more. Each worker has its own random numbers, the same in each
// run.
func compete(t *testing.T, q quota, top float64, processes, workers int, from, lasts time.Duration) []effort {
	t.Helper()
	var mu sync.Mutex
	began, efforts := time.Now(), make([]effort, processes)
	ask := func(e *effort, try int) bool {
		mu.Lock()
		defer mu.Unlock()
		takes, counts := q.takes(time.Now()), time.Since(began) >= from
		switch {
		case counts && takes:
			e.through++
		case counts:
			e.refused++
		}
		e.tries = max(e.tries, try)
		return takes
	}
	var all sync.WaitGroup
	for i := range efforts {
		p := newPace(top, nil)
		for w := range workers {
			random := rand.New(rand.NewPCG(uint64(1+i), uint64(w)))
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Second / 4)
				for try := 1; ; try++ {
					if err := p.enter(t.Context()); err != nil {
						t.Error(err)
					}
					if time.Since(began) >= lasts {
						return
					}
					time.Sleep(2*time.Millisecond + time.Duration(random.Int64N(int64(18*time.Millisecond))))
					if !ask(&efforts[i], try) {
						time.Sleep(2 * time.Millisecond)
						if p.hopeless(try) {
							mu.Lock()
							efforts[i].failed++
							mu.Unlock()
						}
						p.hit()
						continue
					}
					time.Sleep(60 * time.Millisecond)
					p.ok()
					time.Sleep(60 * time.Millisecond)
					try = 0
				}
			})
		}
	}
	all.Wait()
	return efforts
}

// In half a minute nearly as much goes through as the key's service allows, whatever its quota
// counts. The limit is found in a second or two, and few calls are refused.
func TestPaceFindsTheLimitAtOnce(t *testing.T) {
	t.Parallel()
	second, ten, minute := time.Second, 10*time.Second, time.Minute
	for name, c := range map[string]struct {
		quota   func() quota
		workers int
		least   float64 // share of what is allowed
		refused float64 // of all calls, at most
	}{
		"50 a second":                   {func() quota { return &bucket{perSecond: 50, burst: 50} }, 16, 0.99, 0.10},
		"25 a second":                   {func() quota { return &bucket{perSecond: 25, burst: 25} }, 16, 0.99, 0.12},
		"50 a second, 5 at once":        {func() quota { return &bucket{perSecond: 50, burst: 5} }, 16, 0.95, 0.09},
		"25 a second, 5 at once":        {func() quota { return &bucket{perSecond: 25, burst: 5} }, 16, 0.98, 0.12},
		"50 a second, one by one":       {func() quota { return &bucket{perSecond: 50, burst: 1} }, 16, 0.50, 0.12},
		"25 a second, 64 workers":       {func() quota { return &bucket{perSecond: 25, burst: 25} }, 64, 0.98, 0.20},
		"50 in any second":              {func() quota { return &sliding{many: 50, each: second} }, 16, 0.96, 0.10},
		"25 in any second":              {func() quota { return &sliding{many: 25, each: second} }, 16, 0.95, 0.13},
		"100 in any second, 64 workers": {func() quota { return &sliding{many: 100, each: second} }, 64, 0.96, 0.1},
		"50 in each second":             {func() quota { return &fixed{many: 50, each: second, ago: second / 3} }, 16, 0.95, 0.13},
		"25 in each second":             {func() quota { return &fixed{many: 25, each: second, ago: second / 3} }, 16, 0.95, 0.17},
		"500 in ten seconds":            {func() quota { return &fixed{many: 500, each: ten} }, 16, 0.98, 0.10},
		"250 in ten seconds":            {func() quota { return &fixed{many: 250, each: ten, ago: 5 * second} }, 16, 0.98, 0.17},
		"500 in any ten seconds":        {func() quota { return &sliding{many: 500, each: ten} }, 16, 0.98, 0.10},
		"500 in a minute":               {func() quota { return &fixed{many: 500, each: minute, ago: 40 * second} }, 16, 0.98, 0.10},
		"2 a second":                    {func() quota { return &bucket{perSecond: 2, burst: 2} }, 16, 0.98, 0.62},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const lasts = 30 * time.Second
				allowed := allows(c.quota(), 0, lasts)
				e := strain(t, c.quota(), 0, c.workers, 0, lasts)
				got := float64(e.through) / float64(allowed)
				if got < c.least {
					t.Errorf("got %.1f %% of the %d that are allowed, want %.1f %%", 100*got, allowed, 100*c.least)
				}
				if e.share() > c.refused || e.tries > maxTries/2 {
					t.Errorf("got %.1f %% refused, one %d times, want at most %.1f %%, %d times", 100*e.share(), e.tries, 100*c.refused, maxTries/2)
				}
			})
		})
	}
}

// Later it stays there, at a cost that is bounded too.
func TestPaceStaysAtTheLimit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		quota   func() quota
		least   float64 // share of what is allowed
		refused float64 // of all calls, at most
	}{
		"50 in any second":           {func() quota { return &sliding{many: 50, each: time.Second} }, 0.96, 0.1},
		"25 in any second":           {func() quota { return &sliding{many: 25, each: time.Second} }, 0.95, 0.13},
		"25 a second":                {func() quota { return &bucket{perSecond: 25, burst: 25} }, 0.98, 0.12},
		"2 a second":                 {func() quota { return &bucket{perSecond: 2, burst: 2} }, 0.98, 0.5},
		"500 in ten seconds":         {func() quota { return &fixed{many: 500, each: 10 * time.Second} }, 0.95, 0.1},
		"100 in a minute":            {func() quota { return &fixed{many: 100, each: time.Minute} }, 0.95, 0.38},
		"10 in a minute":             {func() quota { return &fixed{many: 10, each: time.Minute} }, 0.95, 0.85},
		"more than we can ask for":   {func() quota { return &bucket{perSecond: 1000, burst: 1000} }, 0.1, 0},
		"50 a second, others use 20": {func() quota { return &shared{quota: &bucket{perSecond: 50, burst: 50}, others: 20} }, 0.57, 0.12},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const from, lasts = time.Minute, 3 * time.Minute
				allowed := allows(c.quota(), from, lasts)
				e := strain(t, c.quota(), 0, 16, from, lasts)
				got := float64(e.through) / float64(allowed)
				if got < c.least {
					t.Errorf("got %.1f %% of the %d that are allowed, want %.1f %%", 100*got, allowed, 100*c.least)
				}
				if e.share() > c.refused || e.tries > maxTries*2/3 {
					t.Errorf("got %.1f %% refused, one %d times, want at most %.1f %%, %d times", 100*e.share(), e.tries, 100*c.refused, maxTries*2/3)
				}
			})
		})
	}
}

// Four processes on one key together get nearly all of its quota, each a fair share, and no item
// fails. A quota that admits calls one by one yields less, as it refuses calls that come at the
// same moment.
func TestPaceIsSharedByProcesses(t *testing.T) {
	t.Parallel()
	second, ten, minute := time.Second, 10*time.Second, time.Minute
	for name, c := range map[string]struct {
		quota func() quota
		least float64 // share of what is allowed
		fair  float64 // the least that one gets, as a share of what another gets
	}{
		"50 in any second":        {func() quota { return &sliding{many: 50, each: second} }, 0.95, 0.5},
		"100 in any second":       {func() quota { return &sliding{many: 100, each: second} }, 0.95, 0.5},
		"50 a second":             {func() quota { return &bucket{perSecond: 50, burst: 50} }, 0.98, 0.5},
		"25 a second":             {func() quota { return &bucket{perSecond: 25, burst: 25} }, 0.98, 0.5},
		"50 a second, 5 at once":  {func() quota { return &bucket{perSecond: 50, burst: 5} }, 0.98, 0.5},
		"50 a second, one by one": {func() quota { return &bucket{perSecond: 50, burst: 1} }, 0.30, 0.3},
		"50 in each second":       {func() quota { return &fixed{many: 50, each: second, ago: second / 3} }, 0.98, 0.5},
		"500 in ten seconds":      {func() quota { return &fixed{many: 500, each: ten} }, 0.98, 0.5},
		"500 in any ten seconds":  {func() quota { return &sliding{many: 500, each: ten} }, 0.95, 0.5},
		"500 in a minute":         {func() quota { return &fixed{many: 500, each: minute, ago: 40 * second} }, 0.98, 0.5},
		"2 a second":              {func() quota { return &bucket{perSecond: 2, burst: 2} }, 0.98, 0.4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const from, lasts = 30 * time.Second, 330 * time.Second
				allowed := allows(c.quota(), from, lasts)
				var sum, tries, failed, slowest, fastest int
				for i, e := range compete(t, c.quota(), 0, 4, 8, from, lasts) {
					sum, tries, failed, fastest = sum+e.through, max(tries, e.tries), failed+e.failed, max(fastest, e.through)
					if i == 0 || e.through < slowest {
						slowest = e.through
					}
				}
				t.Logf("%.1f %% of %d, %d to %d each, one %d times", 100*float64(sum)/float64(allowed), allowed, slowest, fastest, tries)
				if got := float64(sum) / float64(allowed); got < c.least {
					t.Errorf("got %.1f %% of the %d that are allowed, want %.1f %%", 100*got, allowed, 100*c.least)
				}
				if float64(slowest) < c.fair*float64(fastest) {
					t.Errorf("got from %d to %d signatures of each process, want %.1f at least of the most", slowest, fastest, c.fair)
				}
				if failed > 0 {
					t.Errorf("got %d operations given up, want none", failed)
				}
			})
		})
	}
}

// The user's bound holds, whether the service throttles never, always or no longer.
func TestPaceKeepsTheUsersBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const top = 20
		ample, scarce := &bucket{perSecond: 1000, burst: 10}, &bucket{perSecond: 15, burst: 10}
		for name, c := range map[string]struct {
			quota quota
			least float64
		}{"never": {ample, top}, "always": {scarce, 15}, "no longer": {&changing{quotas: []quota{scarce, ample}, each: time.Minute}, top}} {
			e := strain(t, c.quota, top, 16, time.Minute, 2*time.Minute)
			if got := float64(e.through) / 60; got < 0.98*c.least || float64(e.through+e.refused)/60 > top+0.1 {
				t.Errorf("%s: got %.2f a second and %d refused, want %.2f a second and at most %.2f with the refused", name, got, e.refused, 0.98*c.least, top+0.1)
			}
		}
	})
}

// The bound applies from the first refusal on, also below one a second.
func TestLimitIsNeverAboveTheUsersBound(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for top, want := range map[float64]float64{0: 3, 0.5: 0.5, 1: 1, 3: 3, 4: 3} {
		l := limit{top: top}
		for range 3 {
			l.start(now)
		}
		l.refuse(now)
		if l.rate != want {
			t.Errorf("bound %g: got %g a second, want %g", top, l.rate, want)
		}
	}
}

// An operation is given up if nothing goes through, but not while others do.
func TestPaceGivesUpWhatIsHopeless(t *testing.T) {
	t.Parallel()
	for name, others := range map[string]bool{"alone": false, "beside others": true} {
		p := newPace(0, nil)
		tries := 1
		for ; !p.hopeless(tries) && tries < 10*maxTries; tries++ {
			p.hit()
			if others && tries%10 == 0 {
				p.ok()
			}
		}
		if want := map[bool]int{false: maxTries, true: 10 * maxTries}[others]; tries != want {
			t.Errorf("%s: got it given up after %d tries, want %d", name, tries, want)
		}
	}
}

// When others begin to use the quota, and when they stop, the pace follows.
func TestPaceFollowsTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range [][2]float64{{60, 20}, {20, 60}} {
			q := &changing{each: time.Minute}
			for _, perSecond := range c {
				q.quotas = append(q.quotas, &bucket{perSecond: perSecond, burst: 5})
			}
			e := strain(t, q, 0, 16, time.Minute, 90*time.Second)
			if got := float64(e.through) / 30; got < 0.95*c[1] || e.share() > 0.2 {
				t.Errorf("got %.1f a second, %.1f %% refused, want 95 %% of the %.0f that are left, at most 20 %% refused", got, 100*e.share(), c[1])
			}
		}
	})
}

// A service that lets nothing through for a minute is asked less and less, and no operation is
// given up. When it is back, it is found again: by many workers and by one alone.
func TestPaceOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, workers := range []int{16, 1} {
			quotas := func() *changing {
				usual := &bucket{perSecond: 50, burst: 5}
				return &changing{quotas: []quota{usual, &fixed{}, usual}, each: time.Minute}
			}
			during := strain(t, quotas(), 0, workers, time.Minute, 2*time.Minute)
			if during.refused > 60 || during.tries > maxTries*2/3 {
				t.Errorf("%d workers: got %d refused, one %d times, want at most 60, %d times", workers, during.refused, during.tries, maxTries*2/3)
			}
			back := strain(t, quotas(), 0, workers, 2*time.Minute+maxPause, 3*time.Minute)
			if got, can := float64(back.through)/(time.Minute-maxPause).Seconds(), min(50, float64(workers)/0.135); got < 0.95*can {
				t.Errorf("%d workers: got %.1f a second when it is back, want 90 %% of %.1f", workers, got, can)
			}
		}
	})
}

// A minute without signatures says nothing about what the service allows.
func TestPaceForgetsAnIdleTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPace(0, nil)
		for _, idle := range []time.Duration{0, time.Minute} {
			time.Sleep(idle)
			for range 40 {
				if err := p.enter(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		p.hit()
		if p.limit.rate < 40 {
			t.Errorf("got %.1f a second after 40 in one, want 40", p.limit.rate)
		}
	})
}

// The user hears of throttling at once and then now and then, and of a long wait at once.
func TestPaceTellsOfThrottling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var waits, rates []time.Duration // when the user was told
		p := newPace(0, func(news Throttling) {
			if news.Wait > 0 {
				waits = append(waits, time.Since(began))
			} else {
				rates = append(rates, time.Since(began))
			}
		})
		for time.Since(began) < time.Minute {
			if err := p.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.hit()
		}
		if len(rates) != 1 || rates[0] != 0 {
			t.Errorf("got told of the rate after %v, want once, after 0", rates)
		}
		if n := len(waits); n < 4 || n > 7 || waits[0] > 10*time.Second {
			t.Errorf("got told of waits after %v, want 4 to 7 times, first within 10s", waits)
		}
	})
}

// allowance is a budget of operations.
type allowance int

func (a *allowance) Take() error {
	if *a < 1 {
		return errSpent
	}
	*a--
	return nil
}

func (a *allowance) Return() { *a++ }

var errSpent = errors.New("spent")

// No operation begins outside the budget; a refused one is returned to it.
func TestPaceKeepsTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, budget := newPace(0, nil), allowance(5)
		p.budget = &budget
		began := 0
		for ; ; began++ {
			if err := p.enter(t.Context()); err != nil {
				if !errors.Is(err, errSpent) {
					t.Error(err)
				}
				break
			}
			if began < 3 {
				p.hit()
			} else {
				p.ok()
			}
		}
		if began != 8 || p.calls.Begun != 8 || budget != 0 {
			t.Errorf("got %d begun, %d counted, %d left, want 8, 8, 0", began, p.calls.Begun, budget)
		}
	})
}

// Every call to the service that began is counted.
func TestPaceCountsWhatItBegan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPace(0, nil)
		for i := range 6 {
			if err := p.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
			if i%3 == 0 {
				p.hit()
				continue
			}
			p.ok()
		}
		if p.calls != (Calls{Begun: 6, Throttled: 2}) {
			t.Errorf("got %+v counted, want 6 begun, 2 throttled", p.calls)
		}
	})
}
