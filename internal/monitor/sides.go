package monitor

import (
	"maps"
	"slices"
	"time"
)

// A Comparison is what a pass found of both sides of one repository.
type Comparison struct {
	Repository string
	Rows       map[string]int       // tags by class; nil: none could be compared
	Tags       map[string]string    // the class of each
	Unread     string               // why it was not compared, or not as a whole; empty: all of it was
	Whole      bool                 // all of it was compared, and nothing left unknown
	Expires    map[string]time.Time // of its trust data, by role; nil: not known now
	Signed     time.Time            // until when the first trusted signature verifies; zero: no date ends any
}

// unknown is the class of what the last pass did not come to.
const unknown = "unknown"

// sides are what is known of one repository. They are replaced and never changed.
type sides struct {
	seen    time.Time // when a pass came to the repository last
	whole   time.Time // when all of it was compared last
	rows    map[string]int
	came    map[inClass]time.Time // tags of the classes whose first is to be seen; zero: as long as the repository is known
	unread  string
	expires map[string]time.Time
	signed  time.Time
}

// inClass is a tag that a class has.
type inClass struct{ class, tag string }

// newFor is how long a tag counts as new in a class.
const newFor = 24 * time.Hour

// Compared says what a pass found of a repository. Where no tag could be compared, what was known to be
// amiss still is, and nothing is known to be well.
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
			// A class that a repository has had is 0 from then on: an alert sees it end, and come again.
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

// came are the tags that are in a class, as far as is known: where one could not be looked at, as it was. Those that an
// earlier pass had elsewhere came with this one. The caller holds mu.
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

// newRows counts the tags that have come into a class of late.
func (s sides) newRows(class string, now time.Time) (n int) {
	for one, at := range s.came {
		if one.class == class && !at.IsZero() && now.Sub(at) < newFor {
			n++
		}
	}
	return n
}

// amiss are rows of an earlier pass without those on which all was well.
func (m *Monitor) amiss(rows map[string]int) map[string]int {
	left := maps.Clone(rows)
	for class := range left {
		if slices.Contains(m.o.Fine, class) {
			left[class] = 0
		}
	}
	return left
}

// leave deals with the repositories that the pass did not come to. If it has come to all there are,
// these are not there any more. The caller holds mu.
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
