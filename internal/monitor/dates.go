package monitor

import (
	"strings"
	"time"
)

// dates are the expiry dates of a repository's trust data, by kind of role.
type dates struct {
	seen time.Time // when the repository was last read
	at   map[string]time.Time
}

// kind returns the label for a role. Delegations share one, since there are as many as signers.
func kind(role string) string {
	if strings.Contains(role, "/") {
		return "delegations"
	}
	return role
}

// Read records that a repository's trust data was read, and when each role expires.
func (m *Monitor) Read(repository string, expires map[string]time.Time) {
	m.with(func() {
		m.dates[repository] = dates{seen: m.sign, at: byKind(expires)}
	})
}

// byKind returns the earliest date of each kind of role.
func byKind(expires map[string]time.Time) map[string]time.Time {
	first := map[string]time.Time{}
	for role, at := range expires {
		k := kind(role)
		if before, ok := first[k]; !ok || at.Before(before) {
			first[k] = at
		}
	}
	return first
}

// Unread records that a repository's trust data could not be read. The known dates still hold, unless its trust data
// is gone.
func (m *Monitor) Unread(repository, class string, gone bool) {
	m.with(func() {
		m.unread.WithLabelValues(class).Inc()
		d, known := m.dates[repository]
		if known && !gone {
			d.seen = m.sign
			m.dates[repository] = d
			return
		}
		delete(m.dates, repository)
	})
}

// forget drops the repositories that were not read since. The caller holds mu.
func (m *Monitor) forget(since time.Time) {
	for name, d := range m.dates {
		if d.seen.Before(since) {
			delete(m.dates, name)
		}
	}
}

// soonest returns the earliest dates of all repositories, by kind. The caller holds mu.
func (m *Monitor) soonest() map[string]time.Time {
	first := map[string]time.Time{}
	for _, d := range m.dates {
		for k, at := range d.at {
			if t, ok := first[k]; !ok || at.Before(t) {
				first[k] = at
			}
		}
	}
	return first
}
