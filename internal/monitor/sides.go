package monitor

import (
	"maps"
	"slices"
	"time"
)

// A Comparison is what a pass found of both sides of one repository.
type Comparison struct {
	Repository string
	Rows       map[string]int       // tags by class; nil if none could be compared
	Tags       map[string]string    // the class of each
	Unread     string               // why it was not compared completely; empty if it was
	Whole      bool                 // all of it was compared, and nothing is unknown
	Expires    map[string]time.Time // of its trust data, by role; nil: not known now
	Signed     time.Time            // when the first trusted signature stops verifying; zero: never
}

// unknown is the class of what the last pass did not reach.
const unknown = "unknown"

// sides is what is known of one repository. Values are replaced, never changed.
type sides struct {
	seen    time.Time // when a pass last reached the repository
	whole   time.Time // when it was last compared completely
	rows    map[string]int
	came    map[inClass]time.Time // when each tag came into its class; zero: as long as the repository is known
	unread  string
	expires map[string]time.Time
	signed  time.Time
}

// inClass is a tag in a class.
type inClass struct{ class, tag string }

// newFor is how long a tag counts as new in a class.
const newFor = 24 * time.Hour

// Compared records what a pass found of a repository. If no tag could be compared, known problems remain, and nothing
// counts as well.
func (m *Monitor) Compared(c Comparison) {
	m.with(func() {
		before := m.sides[c.Repository]
		now := sides{seen: m.sign, whole: before.whole, unread: c.Unread, expires: before.expires, signed: before.signed}
		if c.Whole {
			now.whole = m.sign
		}
		if c.Expires != nil {
			now.expires = byKind(c.Expires)
		}
		if c.Rows == nil {
			now.rows = m.amiss(before.rows)
		} else {
			// A class that a repository once had is 0 from then on, so that an alert sees it end and return.
			now.rows, now.signed = map[string]int{}, c.Signed
			for _, class := range m.o.Counted {
				now.rows[class] = 0
			}
			for class := range before.rows {
				now.rows[class] = 0
			}
			maps.Copy(now.rows, c.Rows)
		}
		now.came = m.came(before, c)
		m.sides[c.Repository] = now
	})
}

// came returns since when each tag is in its class. A tag that could not be compared keeps its class. A tag that an
// earlier pass saw in another class came with this pass. The caller holds mu.
func (m *Monitor) came(before sides, c Comparison) map[inClass]time.Time {
	if c.Rows == nil {
		return before.came
	}
	now := map[inClass]time.Time{}
	for tag, class := range c.Tags {
		if !slices.Contains(m.o.Counted, class) {
			continue
		}
		at, was := before.came[inClass{class, tag}]
		if !was && before.came != nil {
			at = m.sign
		}
		now[inClass{class, tag}] = at
	}
	for one, at := range before.came {
		if class, ok := c.Tags[one.tag]; class == unknown || !ok && !c.Whole {
			now[one] = at
		}
	}
	return now
}

// newRows counts the tags that came into a class recently.
func (s sides) newRows(class string, now time.Time) (n int) {
	for one, at := range s.came {
		if one.class == class && !at.IsZero() && now.Sub(at) < newFor {
			n++
		}
	}
	return n
}

// amiss returns the rows of an earlier pass without the classes on which all is well.
func (m *Monitor) amiss(rows map[string]int) map[string]int {
	left := maps.Clone(rows)
	for class := range left {
		if slices.Contains(m.o.Fine, class) {
			left[class] = 0
		}
	}
	return left
}

// leave handles the repositories that the pass did not reach. If it reached all existing ones, these are gone. The
// caller holds mu.
func (m *Monitor) leave(began time.Time, all bool) {
	for name, s := range m.sides {
		switch {
		case !s.seen.Before(began):
		case all:
			delete(m.sides, name)
		default:
			s.rows, s.unread = m.amiss(s.rows), unknown
			m.sides[name] = s
		}
	}
}
