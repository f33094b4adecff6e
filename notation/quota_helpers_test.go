package notation

import "time"

// A quota reports whether a key's service accepts an operation now. Refused operations do not
// count.
type quota interface{ takes(now time.Time) bool }

// bucket lets a number of operations a second through, and a burst.
type bucket struct {
	perSecond, burst float64
	tokens           float64
	last             time.Time
}

func (b *bucket) takes(now time.Time) bool {
	b.tokens += b.perSecond * now.Sub(b.last).Seconds()
	b.tokens, b.last = min(b.tokens, b.burst), now // full at first
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// fixed lets a number of operations through in each window, as Azure's vaults do in ten seconds.
// The first window began a while ago.
type fixed struct {
	many   int
	each   time.Duration
	ago    time.Duration
	window time.Time
	used   int
}

func (f *fixed) takes(now time.Time) bool {
	if w := now.Add(f.ago).Truncate(f.each); w != f.window {
		f.window, f.used = w, 0
	}
	if f.used >= f.many {
		return false
	}
	f.used++
	return true
}

// sliding lets no more than a number of operations through in any time of that length.
type sliding struct {
	many int
	each time.Duration
	at   []time.Time
}

func (s *sliding) takes(now time.Time) bool {
	if n := len(s.at); n >= s.many && now.Sub(s.at[n-s.many]) < s.each {
		return false
	}
	s.at = append(s.at, now)
	return true
}

// shared is a quota of which others use a part each second.
type shared struct {
	quota
	others float64
	next   time.Time
}

func (s *shared) takes(now time.Time) bool {
	if s.next.IsZero() {
		s.next = now
	}
	for ; s.next.Before(now); s.next = s.next.Add(time.Duration(float64(time.Second) / s.others)) {
		s.quota.takes(s.next)
	}
	return s.quota.takes(now)
}

// changing applies one quota after another, each for a time, and the last forever.
type changing struct {
	quotas []quota
	each   time.Duration
	began  time.Time
}

func (c *changing) takes(now time.Time) bool {
	if c.began.IsZero() {
		c.began = now
	}
	return c.quotas[min(int(now.Sub(c.began)/c.each), len(c.quotas)-1)].takes(now)
}

// allows returns how much a quota lets through from some time on to another, if it is asked all
// the time.
func allows(q quota, from, lasts time.Duration) int {
	n := 0
	for began, d := time.Now(), time.Duration(0); d < lasts; d += time.Millisecond {
		if q.takes(began.Add(d)) && d >= from {
			n++
		}
	}
	return n
}
