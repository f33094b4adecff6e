package notation

import "time"

// limit is the rate that a key's service is believed to allow. Quotas are buckets of any
// size or of windows from a second to a minute, others use part of them, and nothing tells:
// so nothing but what went through is counted. At a refusal the quota was used up; what went
// through from one refusal to another is therefore what it allows, whatever it is of.
// A little more than that is asked for. Without a refusal the rate grows, ever faster.
type limit struct {
	top     float64   // operations per second that the user allows; 0: any
	rate    float64   // operations per second; 0: any
	grown   time.Time // when the rate was raised last
	refusal time.Time // the last; zero: none yet
	started time.Time // the last operation, as long as none was refused
	since   time.Time // when the count began: with a refusal, or with the first operation
	count   int       // what went through since, or as long as none was refused, what started
}

const (
	// shortest is what is counted over: what went through in less may be a burst.
	shortest = time.Second
	// above what is allowed is asked for: else a rate that is too low would bring no refusal.
	above = 1.05
	// keep is the least that one count leaves of the rate. A count is too low if the service
	// was away, or if the rate has only just grown; what it leaves too high goes with the next.
	keep = 0.75
	// The rate grows by pull of itself per second one second after a refusal, and by nine
	// times that after three, but never faster than by rush: between the refusals at about
	// the right rate that is next to nothing, and a rate that was found too low by half is
	// right in two seconds. Faster, and many would be under way when the first is refused.
	pull = 0.4
	rush = 2.0
)

// start counts an operation that starts.
func (l *limit) start(now time.Time) {
	if !l.refusal.IsZero() {
		return
	}
	if now.Sub(l.started) > shortest { // it was idle, which says nothing
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

// refuse takes note of a refusal. The first sets the rate to what was started, as most of
// that is still under way. Later ones are counted from one to another.
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

// grow raises the rate for the time since it was raised last, if somebody waits for his
// turn: else it would grow to what nobody asks for, and no refusal would tell.
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

// gap is the time between two operations; 0: none.
func (l *limit) gap() time.Duration {
	if l.rate == 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / l.rate)
}
