package monitor

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options of New.
type Options struct {
	Version string
	// Interval is the time from the end of one pass to the beginning of the next; 0: there
	// is one pass.
	Interval time.Duration
	Now      func() time.Time // nil: time.Now

	// What counters may be asked for before anything has happened: they begin with 0, so that an
	// alert on their growth sees the first.
	Outcomes []string            // of passes
	Results  map[string][]string // of items, with their classes
	Unread   []string            // classes of repositories that are not read

	// Fine are the classes of tags on which all is well. They are shown only of what was compared in the
	// last pass; the others stay until a pass has looked again. Of Counted, a repository without any has 0.
	Fine, Counted []string
}

// A Monitor is told what a run does. Its methods are called from several goroutines at once
// and return at once; those of nil do nothing.
type Monitor struct {
	o        Options
	registry *prometheus.Registry
	counters

	mu     sync.Mutex // guards what follows
	pass   pass       // the current one, or the last
	passes int        // ended
	whole  time.Time  // when the last complete one ended
	undone bool       // the last that ended was not complete
	sign   time.Time  // the last sign of life
	ended  string     // why there are no more passes; empty: there are
	dates  map[string]dates
	sides  map[string]sides // by repository, of those that are compared
	keys   func() []Key
	ledger func() (Ledger, bool)
}

// pass is one look at all trust data, and what follows from it.
type pass struct {
	began, ended time.Time // zero: not yet
	known, done  int
	outcome      string
}

// Key is a key and what it was asked for.
type Key struct {
	Name                     string
	Expires                  time.Time
	Calls, Throttled, Proofs int
}

// Ledger is how large the ledger is, and what is in it.
type Ledger struct {
	Bytes  int64
	Stages map[string]int
}

// New returns a monitor of a run that begins now.
func New(o Options) *Monitor {
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Monitor{o: o, counters: newCounters(), dates: map[string]dates{}, sides: map[string]sides{}, sign: o.Now()}
	for _, outcome := range o.Outcomes {
		m.counters.passes.WithLabelValues(outcome)
	}
	for result, classes := range o.Results {
		for _, class := range classes {
			m.items.WithLabelValues(result, class)
		}
	}
	for _, class := range o.Unread {
		m.unread.WithLabelValues(class)
	}
	for _, server := range []string{"registry", "notary", "tsa", "other"} {
		for _, status := range []string{"2xx", "3xx", "4xx", "5xx", "none"} {
			m.requests.WithLabelValues(server, status)
		}
	}
	m.registry = m.register()
	return m
}

// SetKeys says where the keys are looked up. nil: nowhere any more.
func (m *Monitor) SetKeys(keys func() []Key) {
	m.with(func() { m.keys = keys })
}

// SetLedger says where the ledger is looked up; ok is false where it cannot be. nil: nowhere
// any more.
func (m *Monitor) SetLedger(ledger func() (l Ledger, ok bool)) {
	m.with(func() { m.ledger = ledger })
}

// Began says that a pass begins.
func (m *Monitor) Began() {
	m.with(func() { m.pass = pass{began: m.sign} })
}

// Ended says that a pass ended. outcome is one of few words; all says that it has read all
// repositories there are: of those that it has not named, no dates are kept. If it has not, those that
// were compared before and not in this pass are unknown.
func (m *Monitor) Ended(outcome string, complete, all bool) {
	m.with(func() {
		m.pass.ended, m.pass.outcome = m.sign, outcome
		m.passes++
		if m.undone = !complete; complete {
			m.whole = m.sign
		}
		if all {
			m.forget(m.pass.began)
		}
		m.leave(m.pass.began, all)
		m.counters.passes.WithLabelValues(outcome).Inc()
	})
}

// Over says that there are no more passes, and why.
func (m *Monitor) Over(reason string) {
	m.with(func() { m.ended = reason })
}

// Known says that the pass has so many more items.
func (m *Monitor) Known(n int) {
	m.with(func() { m.pass.known += n })
}

// Item says how an item ended.
func (m *Monitor) Item(result, class string) {
	m.with(func() {
		m.pass.done++
		m.items.WithLabelValues(result, class).Inc()
	})
}

// Request says that a request to a kind of server was answered; status 0: it was not.
func (m *Monitor) Request(kind string, status int) {
	m.with(func() {
		class := "none"
		if status > 0 {
			class = strconv.Itoa(status/100) + "xx"
		}
		m.requests.WithLabelValues(kind, class).Inc()
	})
}

// Waits says that a server is waited for.
func (m *Monitor) Waits(reason string, d time.Duration) {
	m.with(func() {
		m.waits.WithLabelValues(reason).Inc()
		m.waited.WithLabelValues(reason).Add(d.Seconds())
	})
}

// KeyFailed says that a key did not sign.
func (m *Monitor) KeyFailed(key, class string) {
	m.with(func() { m.keyFailures.WithLabelValues(key, class).Inc() })
}

// with takes note of something: each is a sign of life.
func (m *Monitor) with(note func()) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sign = m.o.Now()
	note()
}
