package monitor

import (
	"maps"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

const prefix = "dct2notation_"

// counters only grow.
type counters struct {
	items, unread, requests, waits, waited, keyFailures, passes *prometheus.CounterVec
}

func newCounters() counters {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
	}
	return counters{
		items:       counter("items_total", "Items that ended in a pass, by result, and class where they were not signed.", "result", "class"),
		unread:      counter("repositories_unread_total", "Repositories whose trust data could not be read in a pass, by class.", "class"),
		requests:    counter("requests_total", "HTTP requests, repetitions included, by kind of server and class of status; none: no answer.", "server", "status"),
		waits:       counter("waits_total", "Waits that a server imposed or a failure caused, by reason.", "reason"),
		waited:      counter("wait_seconds_total", "How long those waits were meant to be.", "reason"),
		keyFailures: counter("key_failures_total", "Items that a key did not sign when it was asked, by class; repetitions count.", "key", "class"),
		passes:      counter("passes_total", "Passes that ended, by outcome.", "outcome"),
	}
}

// register makes our own registry, without what a library may have put into the process's default one.
func (m *Monitor) register() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.items, m.unread, m.requests, m.waits, m.waited, m.keyFailures, m.counters.passes, now{m})
	return r
}

// Metrics that are read when they are requested.
var (
	descBuild     = desc("build_info", "1.", "version", "goversion")
	descInterval  = desc("pass_interval_seconds", "From the end of a pass to the beginning of the next; 0: there is one.")
	descRunning   = desc("pass_running", "1 while a pass is made.")
	descKnown     = desc("pass_items_known", "Items that the pass knows of so far.")
	descDone      = desc("pass_items_done", "Of those, the ones that have ended.")
	descBegan     = desc("pass_started_timestamp_seconds", "When the current pass, or the last, began.")
	descEnded     = desc("pass_ended_timestamp_seconds", "When the last pass ended; absent while one is made.")
	descDuration  = desc("pass_duration_seconds", "How long the pass took, so far.")
	descWhole     = desc("pass_complete_timestamp_seconds", "When the last pass ended that left nothing undone; 0: there was none.")
	descUndone    = desc("pass_incomplete", "1 if the last pass that ended left something undone.")
	descTrust     = desc("trust_data_expires_timestamp_seconds", "When the first metadata, or root certificate, of all repositories expires, by kind of role.", "role")
	descCert      = desc("certificate_expires_timestamp_seconds", "When the first certificate of the key's chain expires.", "key")
	descProofs    = counted("key_proofs_total", "Throw-away signatures that the key was asked for, to see its certificate.", "key")
	descCalls     = counted("key_operations_total", "Operations that the key was asked for, the proof of it and repetitions included.", "key")
	descThrottled = counted("key_throttled_total", "Of those, refused because there were too many.", "key")
	descRows      = desc("verify_rows", "Tags compared, by repository and class; a class that disagreed stays until a pass has looked again.", "repository", "class")
	descNewRows   = desc("verify_new_rows", "Of those, the tags that came into the class within the last day, while the repository was watched.", "repository", "class")
	descUnread    = desc("verify_unread", "1 if the last pass could not compare the repository, or not all of it, by class.", "repository", "class")
	descCompared  = desc("verify_compared_timestamp_seconds", "When all of the repository was last compared; 0: never.", "repository")
	descExpires   = desc("verify_trust_data_expires_timestamp_seconds", "When the repository's metadata, or its root certificate, expires, by kind of role.", "repository", "role")
	descSigned    = desc("verify_certificate_expires_timestamp_seconds", "Until when the first trusted signature of the repository verifies.", "repository")
	descBytes     = desc("ledger_size_bytes", "Size of the ledger's file.")
	descStages    = desc("ledger_items", "Items in the ledger, by stage.", "stage")
)

type described struct {
	*prometheus.Desc
	kind prometheus.ValueType
}

func desc(name, help string, labels ...string) described {
	return described{prometheus.NewDesc(prefix+name, help, labels, nil), prometheus.GaugeValue}
}

func counted(name, help string, labels ...string) described {
	return described{prometheus.NewDesc(prefix+name, help, labels, nil), prometheus.CounterValue}
}

// now collects the metrics that are read when they are requested.
type now struct{ m *Monitor }

// Describe implements [prometheus.Collector].
func (n now) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []described{
		descBuild, descInterval, descRunning, descKnown, descDone, descBegan, descEnded, descDuration, descWhole, descUndone,
		descTrust, descCert, descCalls, descProofs, descThrottled, descBytes, descStages,
		descRows, descNewRows, descUnread, descCompared, descExpires, descSigned,
	} {
		out <- d.Desc
	}
}

// Collect implements [prometheus.Collector].
func (n now) Collect(out chan<- prometheus.Metric) {
	to, m := metrics(out), n.m
	m.mu.Lock()
	p, whole, undone, first, keys, ledger, clock := m.pass, m.whole, m.undone, m.soonest(), m.keys, m.ledger, m.o.Now()
	compared := maps.Clone(m.sides) // its values are replaced, never changed
	m.mu.Unlock()

	to.tell(descBuild, 1, m.o.Version, runtime.Version())
	to.tell(descInterval, m.o.Interval.Seconds())
	to.pass(p, clock)
	to.ever(descWhole, whole)
	to.tell(descUndone, number(undone))
	for role, t := range first {
		to.at(descTrust, t, role)
	}
	to.sides(compared, m.o.Counted, clock)
	if keys != nil {
		for _, k := range keys() {
			to.at(descCert, k.Expires, k.Name)
			to.tell(descCalls, float64(k.Calls), k.Name)
			to.tell(descProofs, float64(k.Proofs), k.Name)
			to.tell(descThrottled, float64(k.Throttled), k.Name)
		}
	}
	if ledger != nil {
		if l, ok := ledger(); ok {
			to.tell(descBytes, float64(l.Bytes))
			for stage, count := range l.Stages {
				to.tell(descStages, float64(count), stage)
			}
		}
	}
}

// metrics receives collected metrics.
type metrics chan<- prometheus.Metric

func (to metrics) tell(d described, v float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d.Desc, d.kind, v, labels...)
}

// at sends a time unless it is zero.
func (to metrics) at(d described, t time.Time, labels ...string) {
	if !t.IsZero() {
		to.tell(d, float64(t.UnixMilli())/1000, labels...)
	}
}

// ever sends a time, or 0 for the zero time.
func (to metrics) ever(d described, t time.Time, labels ...string) {
	if to.at(d, t, labels...); t.IsZero() {
		to.tell(d, 0, labels...)
	}
}

func (to metrics) pass(p pass, clock time.Time) {
	if p.running() {
		to.tell(descDuration, clock.Sub(p.began).Seconds())
	} else if !p.began.IsZero() {
		to.tell(descDuration, p.ended.Sub(p.began).Seconds())
	}
	to.tell(descRunning, number(p.running()))
	to.tell(descKnown, float64(p.known))
	to.tell(descDone, float64(p.done))
	to.at(descBegan, p.began)
	to.at(descEnded, p.ended)
}

func (to metrics) sides(compared map[string]sides, counted []string, clock time.Time) {
	for name, s := range compared {
		for class, count := range s.rows {
			to.tell(descRows, float64(count), name, class)
		}
		for _, class := range counted {
			to.tell(descNewRows, float64(s.newRows(class, clock)), name, class)
		}
		if s.unread != "" {
			to.tell(descUnread, 1, name, s.unread)
		}
		to.ever(descCompared, s.whole, name)
		for role, t := range s.expires {
			to.at(descExpires, t, name, role)
		}
		to.at(descSigned, s.signed, name)
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func (p pass) running() bool { return !p.began.IsZero() && p.ended.IsZero() }
