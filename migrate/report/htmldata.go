package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// How much of a text the page keeps, in characters.
const (
	maxName   = 1024
	maxReason = 2000
)

// A column of the page's rows. Columns that are empty in all rows are left out.
type column struct {
	name string
	of   func(r *Row) string
}

var pageColumns = []column{
	{"standing", func(r *Row) string { return string(r.Standing) }},
	{"class", func(r *Row) string { return safetext.Safe(r.Class, maxName) }},
	{"cause", func(r *Row) string { return safetext.Safe(r.Cause, maxName) }},
	{"repository", func(r *Row) string { return safetext.Safe(r.Repository, maxName) }},
	{"tags", func(r *Row) string { return safetext.Safe(strings.Join(r.Tags, " "), maxReason) }},
	{"digest", func(r *Row) string { return safetext.Safe(r.Digest, maxName) }},
	{"registry", registryColumn},
	{"role", func(r *Row) string { return safetext.Safe(r.Role, maxName) }},
	{"key", func(r *Row) string { return safetext.Safe(r.Key, maxName) }},
	{"platform", func(r *Row) string { return safetext.Safe(r.Platform, maxName) }},
	{"index", func(r *Row) string { return safetext.Safe(strings.Join(r.Index, " "), maxReason) }},
	{"bound", func(r *Row) string { return optional(r.Bound) }},
	{"expires", func(r *Row) string { return date(r.Expires) }},
	{"notes", func(r *Row) string { return safetext.Lines(strings.Join(r.Notes, "\n"), maxReason) }},
	{"reason", func(r *Row) string { return hinted(r.Reason, maxReason, safetext.Lines) }},
}

// asRow returns the row of a repository with something to report besides its rows. Its class cannot be mistaken for a
// class of a tag.
func asRow(s *Section) (row Row, ok bool) {
	st := sectionStanding(*s)
	class := notLookedAt
	if s.Class != "" {
		class = "trust data: " + s.Class
	}
	return Row{Repository: s.Repository, Class: class, Standing: st, Reason: s.Reason}, st != Well
}

// sameDigest replaces a digest that the row already has: most rows have it twice.
const sameDigest = "="

func registryColumn(r *Row) string {
	if r.Registry != "" && r.Registry == r.Digest {
		return sameDigest
	}
	return safetext.Safe(r.Registry, maxName)
}

// writeData writes what the page's script shows, in the order of the result: for each row a list of its cells, and an
// object for each repository about which more is known. A text that a column had before is replaced by its number. No
// character can end the element that contains it: characters of JSON that mean something in HTML are escaped.
func (s *Saved) writeData(out *bufio.Writer, columns []column, now time.Time) error {
	names := make([]string, len(columns))
	seen := make([]numbers, len(columns))
	for i, c := range columns {
		names[i], seen[i] = c.name, numbers{known: map[string]int{}}
	}
	if err := writeJSON(out, `{"of":`, s.Head.Of, `,"columns":`, names, `,"lines":[`); err != nil {
		return err
	}
	cells, between := make([]any, len(columns)), "\n"
	write := func(line any) error {
		err := writeJSON(out, between, line)
		between = ",\n"
		return err
	}
	row := func(r *Row) error {
		for i, c := range columns {
			cells[i] = seen[i].cell(c.of(r))
		}
		return write(cells)
	}
	err := s.Each(func(one Section) error {
		if facts := one.facts(now); len(facts) > 0 {
			if err := write(known{safetext.Safe(one.Repository, maxName), facts}); err != nil {
				return err
			}
		}
		if r, ok := asRow(&one); ok {
			return row(&r)
		}
		return nil
	}, func(r Row) error { return row(&r) })
	if err == nil {
		_, err = out.WriteString("\n]}")
	}
	return err
}

// known is what is known about a repository.
type known struct {
	Repository string      `json:"repository"`
	Facts      [][2]string `json:"facts"`
}

// writeJSON writes parts in turn: a literal as it is, then a value as JSON.
func writeJSON(out *bufio.Writer, parts ...any) error {
	for i, p := range parts {
		if literal, ok := p.(string); ok && i%2 == 0 {
			out.WriteString(literal)
			continue
		}
		raw, err := json.Marshal(p)
		if err != nil {
			return err
		}
		if _, err := out.Write(raw); err != nil {
			return err
		}
	}
	return nil
}

// numbers are the numbers of a column's texts. Only a limited count is kept, so that memory does not grow with the
// rows.
type numbers struct {
	known map[string]int
	next  int
}

const (
	maxKnown     = 4096
	maxKnownText = 256 // bytes
)

// cell returns the text's number if it is kept, else the text, which gets the next number.
func (n *numbers) cell(text string) any {
	if at, ok := n.known[text]; ok {
		return at
	}
	if len(n.known) < maxKnown && len(text) <= maxKnownText {
		n.known[text] = n.next
	}
	n.next++
	return text
}

// facts returns what is known about a repository besides its rows, as pairs of texts for people.
func (s *Section) facts(now time.Time) (all [][2]string) {
	add := func(what, text string) {
		if text != "" {
			all = append(all, [2]string{what, safetext.Safe(text, maxReason)})
		}
	}
	add("images are in", s.Place)
	if s.Deleted {
		add("deleted from Notary", "what it signed is compared as withdrawn")
	}
	add("root vouched for by", s.PinnedBy)
	add("expired, allowed by --allow-expired", strings.Join(s.Expired, ", "))
	if !s.Judged.IsZero() {
		add("expired now, valid when it was saved", s.Judged.String())
	}
	var dates []string
	for _, e := range s.Expiries {
		dates = append(dates, fmt.Sprintf("%s %s (%s)", e.Role, day(e.At), timeLeft(e.At, now)))
	}
	add("trust data expires", strings.Join(dates, ", "))
	var findings []string
	for class, n := range s.Findings {
		findings = append(findings, fmt.Sprintf("%s %d", class, n))
	}
	slices.Sort(findings)
	add("tags that are not to be signed", strings.Join(findings, ", "))
	return all
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}
