package notation

import "time"

// limit is the estimated rate that a key's service allows. Quotas are buckets of any size or windows from a second to
// a minute, others use part of them, and nothing announces them. So limit counts only what went through. A refusal
// means that the quota was used up, so what went through between two refusals is what the quota allows, whatever its
// kind. limit requests slightly more than that. Without a refusal the rate grows, ever faster.
type limit struct {
	top     float64   // operations per second that the user allows; 0: any
	rate    float64   // operations per second; 0: any
	grown   time.Time // when the rate was last raised
	refusal time.Time // last refusal; zero: none yet
	started time.Time // the last operation, until the first refusal
	since   time.Time // start of the count: a refusal, or the first operation
	count   int       // operations that went through since, or started, until the first refusal
}

const (
	// shortest is the least time to count over: in less, a burst may have gone through.
	shortest = time.Second
	// above is how much more than allowed to request: otherwise a rate that is too low would never be refused.
	above = 1.05
	// keep is the least share of the rate that remains after one count. A count is too low if the service was away,
	// or if the rate has only just grown. If the result is too high, the next count corrects it.
	keep = 0.75
	// The rate grows per second by pull times itself one second after a refusal, and by nine times that after three,
	// but never faster than by rush. Between refusals at about the right rate that is next to nothing; a rate that
	// was half of the right one is correct in two seconds. Growing faster would leave many operations under way when
	// the first is refused.
	pull = 0.4
	rush = 2.0
)

// start counts an operation that starts.
func (l *limit) start(now time.Time) {
	if !l.refusal.IsZero() {
		return
	}
	if now.Sub(l.started) > shortest { // idle time says nothing
		l.since, l.count = now, 0
	}
	l.started = now
	l.count++
}

// pass counts an operation that went through.
func (l *limit) pass() {
	if !l.refusal.IsZero() {
		l.count++
	}
}

// refuse records a refusal. The first sets the rate to what was started, since most of that is still under way. Later
// rates are counted between two refusals.
func (l *limit) refuse(now time.Time) {
	first := l.refusal.IsZero()
	l.refusal, l.grown = now, now
	took := max(now.Sub(l.since), shortest)
	achieved := float64(l.count) / took.Seconds()
	switch {
	case first:
		l.rate = achieved
	case l.count > 0 && took > shortest:
		l.rate = max(above*achieved, keep*l.rate)
	default:
		return
	}
	l.bound()
	l.since, l.count = now, 0
}

// grow raises the rate for the time since it was last raised, if an operation is waiting. Otherwise it would grow
// beyond what is used, and no refusal would correct it.
func (l *limit) grow(now time.Time, waiting bool) {
	if waiting && !l.refusal.IsZero() {
		calm := now.Sub(l.refusal).Seconds()
		l.rate *= 1 + min(pull*calm*calm, rush)*now.Sub(l.grown).Seconds()
		l.bound()
	}
	l.grown = now
}

func (l *limit) bound() {
	if l.top > 0 {
		l.rate = min(l.rate, l.top)
	}
}

// gap returns the time between two operations, or 0 for none.
func (l *limit) gap() time.Duration {
	if l.rate == 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / l.rate)
}
