package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/dct2notation/dct2notation/internal/strictjson"
)

// A result is saved as lines of JSON (the format jsonl): its head, then sections and rows
// as they come, then its end. All other formats can be made from them.
type line struct {
	Head    *Head    `json:"head,omitempty"`
	Section *Section `json:"repository,omitempty"`
	Row     *Row     `json:"row,omitempty"`
	End     *End     `json:"end,omitempty"`
}

// Lines writes a result as lines of JSON. It is not safe for concurrent use.
type Lines struct {
	w      *bufio.Writer
	counts counts
}

// NewLines writes the head.
func NewLines(w io.Writer, h Head) (*Lines, error) {
	l := &Lines{w: bufio.NewWriterSize(w, 64<<10)}
	return l, l.write(line{Head: &h})
}

func (l *Lines) write(one line) error {
	raw, err := json.Marshal(one)
	if err == nil {
		_, err = l.w.Write(append(raw, '\n'))
	}
	return err
}

// Section writes a repository.
func (l *Lines) Section(s Section) error {
	l.counts.section(s)
	return l.write(line{Section: &s})
}

// Row writes a row.
func (l *Lines) Row(r Row) error {
	l.counts.row(r)
	return l.write(line{Row: &r})
}

// End writes the end, with the totals of what was written, and flushes.
func (l *Lines) End(e End) error {
	e.Ended = e.Ended.UTC()
	e.Totals, e.Unread = l.counts.classes, l.counts.unread
	e.Items = max(e.Items, l.counts.rows)
	if err := l.write(line{End: &e}); err != nil {
		return err
	}
	return l.w.Flush()
}

// Saved is a result that was written as lines. Its methods may be called several times.
type Saved struct {
	Head   Head
	End    End // of a result that did not come to its end: not Complete, and not Well
	Counts map[Standing]int
	open   func() (io.ReadCloser, error)
}

// maxLine bounds a line, in bytes; a reason is some hundred.
const maxLine = 1 << 20

// ErrNoResult is returned for a file that is no saved result of ours.
var ErrNoResult = errors.New("not a saved result")

// Load reads a saved result once from its beginning to its end. The error is ErrNoResult
// for what [Lines] has not written, or was changed since.
func Load(open func() (io.ReadCloser, error)) (*Saved, error) {
	s := &Saved{open: open}
	var c counts
	ended := false
	err := s.lines(func(n int, one line) error {
		if one.Head != nil {
			s.Head = *one.Head
		}
		if one.Row != nil {
			c.row(*one.Row)
		}
		if one.Section != nil {
			c.section(*one.Section)
		}
		if one.End != nil {
			s.End, ended = *one.End, true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !ended {
		s.End = End{Error: "it did not come to its end", Totals: c.classes, Unread: c.unread, Items: c.rows}
	}
	if !maps.Equal(s.End.Totals, c.classes) || s.End.Unread != c.unread {
		return nil, fmt.Errorf("%w: its totals are not those of its rows", ErrNoResult)
	}
	s.Counts = c.standings
	// Never by a file's word alone.
	s.End.Well = s.End.Well && s.End.Complete && s.End.Error == "" && c.standings[Problem] == 0 && c.standings[Unclear] == 0
	return s, nil
}

// Each calls section and row for all that the result has, in its order.
func (s *Saved) Each(section func(Section) error, row func(Row) error) error {
	return s.lines(func(_ int, one line) error {
		switch {
		case one.Section != nil && section != nil:
			return section(*one.Section)
		case one.Row != nil && row != nil:
			return row(*one.Row)
		}
		return nil
	})
}

// lines reads and checks the lines. Each row's standing is what its class says.
func (s *Saved) lines(each func(n int, one line) error) (err error) {
	f, err := s.open()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	in := bufio.NewScanner(f)
	in.Buffer(make([]byte, 64<<10), maxLine)
	of, ended, n := "", false, 0
	for in.Scan() {
		n++
		one, err := parseLine(in.Bytes())
		switch {
		case err != nil:
			return fmt.Errorf("%w: line %d: %w", ErrNoResult, n, err)
		case (one.Head != nil) != (n == 1), ended:
			return fmt.Errorf("%w: line %d is out of place", ErrNoResult, n)
		case one.Head != nil:
			of = one.Head.Of
		case one.Row != nil:
			one.Row.Standing = standing(of, one.Row.Class, one.Row.Cause)
		}
		ended = one.End != nil
		if err := each(n, one); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("reading line %d: %w", n+1, err)
	}
	if n == 0 {
		return fmt.Errorf("%w: it is empty", ErrNoResult)
	}
	return nil
}

// parseLine reads one line. Fields that this version does not know are passed over: a
// later one may have added them.
func parseLine(raw []byte) (one line, err error) {
	if err := strictjson.Check(raw); err != nil {
		return line{}, err
	}
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&one); err != nil {
		return line{}, err
	}
	parts := 0
	for _, there := range []bool{one.Head != nil, one.Section != nil, one.Row != nil, one.End != nil} {
		if there {
			parts++
		}
	}
	if parts != 1 {
		return line{}, errors.New("it is none of head, repository, row and end")
	}
	if h := one.Head; h != nil && (h.Kind != ResultKind || h.Version != 1 || h.Of != OfRun && h.Of != OfVerify) {
		return line{}, fmt.Errorf("kind %.40q, version %d, of %.20q: this program does not read that", h.Kind, h.Version, h.Of)
	}
	return one, nil
}

// counts adds up what a result has.
type counts struct {
	classes   map[string]int
	standings map[Standing]int
	unread    int
	rows      int
}

func (c *counts) section(s Section) {
	if s.Class != "" {
		c.unread++
	}
	if st := sectionStanding(s); st != Well {
		c.stand(st)
	}
}

func (c *counts) row(r Row) {
	c.rows++
	if c.classes == nil {
		c.classes = map[string]int{}
	}
	c.classes[r.Class]++
	c.stand(r.Standing)
}

func (c *counts) stand(s Standing) {
	if c.standings == nil {
		c.standings = map[Standing]int{}
	}
	c.standings[s]++
}
