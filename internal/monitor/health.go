package monitor

import (
	"fmt"
	"time"
)

// leastPatience is how long a run may always be silent, whatever its interval. Servers may ask for pauses of minutes,
// which is no reason to restart.
const leastPatience = 15 * time.Minute

// Health is what the health page shows.
type Health struct {
	Status  string     `json:"status"` // ok, or failing
	Reason  string     `json:"reason,omitempty"`
	Running bool       `json:"running"`           // a pass is under way
	Passes  int        `json:"passes"`            // ended
	Started *time.Time `json:"started,omitzero"`  // of the current pass, or the last
	Outcome string     `json:"outcome,omitempty"` // of the last
	Whole   *time.Time `json:"last_complete,omitzero"`
}

// The states of Health.
const (
	StatusOK      = "ok"
	StatusFailing = "failing"
)

// Health reports whether the run is well: nothing has ended it, and something happened within three intervals or a
// quarter of an hour. Something is the beginning or end of a pass, a repository, an item or a server's answer. An
// incomplete pass is not failing health: a restart would not help.
func (m *Monitor) Health() Health {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := Health{Status: StatusOK, Running: m.pass.running(), Passes: m.passes, Outcome: m.pass.outcome, Started: when(m.pass.began), Whole: when(m.whole)}
	silent, patience := m.o.Now().Sub(m.sign), max(3*m.o.Interval, leastPatience)
	switch {
	case m.ended != "":
		h.Status, h.Reason = StatusFailing, m.ended
	case silent > patience && h.Running:
		h.Status, h.Reason = StatusFailing, fmt.Sprintf("the pass makes no progress: nothing has happened for %s", silent.Round(time.Second))
	case silent > patience:
		h.Status, h.Reason = StatusFailing, fmt.Sprintf("a pass is overdue: nothing has happened for %s", silent.Round(time.Second))
	}
	return h
}

// when returns a time for a page, or nil for the zero time.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
