package monitor

import (
	"strings"
	"testing"
	"time"
)

// clock is a time that tests move.
type clock struct{ time.Time }

func (c *clock) pass(d time.Duration) { c.Time = c.Add(d) }

func fixed(interval time.Duration) (*Monitor, *clock) {
	c := &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	return New(Options{Interval: interval, Now: func() time.Time { return c.Time }}), c
}

// A run is healthy as long as something happens, however long a pass takes and however it ends.
func TestHealthFollowsSignsOfLife(t *testing.T) {
	t.Parallel()
	steps := map[string]struct {
		interval time.Duration
		do       func(m *Monitor, c *clock)
		want     string // of the reason; empty: healthy
	}{
		"just begun":                {10 * time.Minute, func(*Monitor, *clock) {}, ""},
		"never begun":               {10 * time.Minute, func(_ *Monitor, c *clock) { c.pass(31 * time.Minute) }, "overdue"},
		"waiting":                   {10 * time.Minute, func(m *Monitor, c *clock) { m.Began(); m.Ended("complete", true, true); c.pass(29 * time.Minute) }, ""},
		"no pass for long":          {10 * time.Minute, func(m *Monitor, c *clock) { m.Began(); m.Ended("complete", true, true); c.pass(31 * time.Minute) }, "overdue"},
		"short intervals":           {10 * time.Second, func(m *Monitor, c *clock) { m.Began(); m.Ended("complete", true, true); c.pass(14 * time.Minute) }, ""},
		"short intervals, too long": {10 * time.Second, func(m *Monitor, c *clock) { m.Began(); m.Ended("complete", true, true); c.pass(16 * time.Minute) }, "overdue"},
		"a pass that hangs":         {10 * time.Minute, func(m *Monitor, c *clock) { m.Began(); c.pass(31 * time.Minute) }, "no progress"},
		"a long pass": {10 * time.Minute, func(m *Monitor, c *clock) {
			m.Began()
			for range 100 {
				c.pass(29 * time.Minute)
				m.Item("signed", "")
			}
		}, ""},
		"answers alone": {10 * time.Minute, func(m *Monitor, c *clock) {
			m.Began()
			for range 100 {
				c.pass(29 * time.Minute)
				m.Request("notary", 503)
			}
		}, ""},
		"a pass that failed":   {10 * time.Minute, func(m *Monitor, _ *clock) { m.Began(); m.Ended("nothing-read", false, false) }, ""},
		"one pass, slow":       {0, func(m *Monitor, c *clock) { m.Began(); c.pass(16 * time.Minute) }, "no progress"},
		"ended for good":       {10 * time.Minute, func(m *Monitor, _ *clock) { m.Began(); m.Over("the ledger is damaged") }, "ledger is damaged"},
		"looked at is no sign": {10 * time.Minute, func(m *Monitor, c *clock) { m.Began(); c.pass(20 * time.Minute); m.Health(); c.pass(20 * time.Minute) }, "no progress"},
	}
	for name, c := range steps {
		m, clock := fixed(c.interval)
		c.do(m, clock)
		h := m.Health()
		if (h.Status == StatusOK) != (c.want == "") || !strings.Contains(h.Reason, c.want) {
			t.Errorf("%s: %+v, want %q", name, h, c.want)
		}
	}
}

func TestHealthTellsOfTheLastPass(t *testing.T) {
	t.Parallel()
	m, c := fixed(time.Minute)
	m.Began()
	c.pass(time.Second)
	m.Ended("complete", true, true)
	whole := c.Time
	c.pass(time.Minute)
	m.Began()
	began := c.Time
	c.pass(time.Second)
	m.Ended("incomplete", false, true)
	h := m.Health()
	if h.Running || h.Passes != 2 || h.Outcome != "incomplete" || !h.Whole.Equal(whole) || !h.Started.Equal(began) {
		t.Errorf("%+v", h)
	}
}

// Without a monitor everything works as with one, but nothing is shown.
func TestNoMonitorIsTold(t *testing.T) {
	t.Parallel()
	var m *Monitor
	m.Began()
	m.Known(1)
	m.Item("signed", "")
	m.Read("app", nil)
	m.Unread("app", "transient", false)
	m.Request("notary", 200)
	m.Waits("429", time.Second)
	m.KeyFailed("release", "denied")
	m.SetKeys(nil)
	m.SetLedger(nil)
	m.Ended("complete", true, true)
	m.Over("")
}
