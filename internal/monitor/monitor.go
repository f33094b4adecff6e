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
	// Interval is the time from the end of one pass to the beginning of the next; 0: there is only one pass.
	Interval time.Duration
	Now      func() time.Time // nil: time.Now

	// The label values that exist before anything has happened. Their counters begin with 0, so that an alert on
	// growth sees the first increase.
	Outcomes []string            // of passes
	Results  map[string][]string // of items, with their classes
	Unread   []string            // classes of unread repositories

	// Fine are the classes of tags on which all is well. They are shown only for what the last pass compared; other
	// classes stay until a pass has looked again. A repository without tags of a class in Counted has 0 there.
	Fine, Counted []string
}

// A Monitor records what a run does. Its methods are safe for concurrent use and return at once; those of nil do
// nothing.
type Monitor struct {
	o        Options
	registry *prometheus.Registry
	counters

	mu     sync.Mutex // guards what follows
	pass   pass       // the current or the last
	passes int        // ended
	whole  time.Time  // when the last complete one ended
	undone bool       // the last that ended was not complete
	sign   time.Time  // the last sign of life
	ended  string     // why there are no more passes; empty: there are
	dates  map[string]dates
	sides  map[string]sides // by repository, only compared ones
	keys   func() []Key
	ledger func() (Ledger, bool)
}

// pass is one pass over all trust data, with the work that follows from it.
type pass struct {
	began, ended time.Time // zero: not yet
	known, done  int
	outcome      string
}

// Key is a key with its counts.
type Key struct {
	Name                     string
	Expires                  time.Time
	Calls, Throttled, Proofs int
}

// Ledger is the ledger's size and content.
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

// SetKeys sets the source of the keys. Nil removes it.
func (m *Monitor) SetKeys(keys func() []Key) {
	m.with(func() { m.keys = keys })
}

// SetLedger sets the source for the ledger; ok is false if it cannot be read. Nil removes it.
func (m *Monitor) SetLedger(ledger func() (l Ledger, ok bool)) {
	m.with(func() { m.ledger = ledger })
}

// Began records that a pass begins.
func (m *Monitor) Began() {
	m.with(func() { m.pass = pass{began: m.sign} })
}

// Ended records that a pass ended. outcome is one of a few words. all means that the pass read all existing
// repositories: the dates of others are dropped. Otherwise, repositories compared before but not in this pass become
// unknown.
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

// Over records that there are no more passes, and why.
func (m *Monitor) Over(reason string) {
	m.with(func() { m.ended = reason })
}

// Known records that the pass has n more items.
func (m *Monitor) Known(n int) {
	m.with(func() { m.pass.known += n })
}

// Item records how an item ended.
func (m *Monitor) Item(result, class string) {
	m.with(func() {
		m.pass.done++
		m.items.WithLabelValues(result, class).Inc()
	})
}

// Request records that a kind of server answered a request. Status 0 means no answer.
func (m *Monitor) Request(kind string, status int) {
	m.with(func() {
		class := "none"
		if status > 0 {
			class = strconv.Itoa(status/100) + "xx"
		}
		m.requests.WithLabelValues(kind, class).Inc()
	})
}

// Waits records a wait for a server.
func (m *Monitor) Waits(reason string, d time.Duration) {
	m.with(func() {
		m.waits.WithLabelValues(reason).Inc()
		m.waited.WithLabelValues(reason).Add(d.Seconds())
	})
}

// KeyFailed records that a key did not sign.
func (m *Monitor) KeyFailed(key, class string) {
	m.with(func() { m.keyFailures.WithLabelValues(key, class).Inc() })
}

// with records something: each record is a sign of life.
func (m *Monitor) with(note func()) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sign = m.o.Now()
	note()
}
