package report

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/strictjson"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// A result is saved as lines of JSON (the format jsonl): its head, then sections and rows as they come, then its end.
// All other formats can be made from them.
type line struct {
	Head    *Head    `json:"head,omitempty"`
	Section *Section `json:"repository,omitempty"`
	Row     *Row     `json:"row,omitempty"`
	Ready   *Ready   `json:"ready,omitempty"` // for a verification by ready: once, after all rows
	End     *End     `json:"end,omitempty"`
}

// Lines writes a result as lines of JSON. It is not safe for concurrent use.
type Lines struct {
	w      *bufio.Writer
	sum    hash.Hash // of all lines
	counts counts

	// What Load would find.
	order order
	saved Saved
	unfit error // the first reason why it would refuse the lines
}

// NewLines writes the head.
func NewLines(w io.Writer, h Head) (*Lines, error) {
	l := &Lines{w: bufio.NewWriterSize(w, 64<<10), sum: sha256.New()}
	return l, l.write(line{Head: &h})
}

// Begun writes the head of a result that has not finished.
func Begun(w io.Writer, h Head) error {
	l, err := NewLines(w, h)
	if err != nil {
		return err
	}
	return l.w.Flush()
}

func (l *Lines) write(one line) error {
	raw, err := compact(one)
	if err != nil {
		return err
	}
	if len(raw) > maxLine {
		return fmt.Errorf("a line of %d bytes: no reader takes more than %d", len(raw), maxLine)
	}
	if l.unfit == nil {
		l.unfit = l.keep(one, raw)
	}
	raw = append(raw, '\n')
	_, _ = l.sum.Write(raw) // a hash returns no error
	_, err = l.w.Write(raw)
	return err
}

// keep keeps what Saved returns of a line, as it can be read again.
func (l *Lines) keep(one line, raw []byte) (err error) {
	if !l.order.next(one) {
		return fmt.Errorf("%w: a line is out of place", ErrNoResult)
	}
	if one.Row != nil || one.Section != nil {
		return nil // counted
	}
	if one, err = parseLine(raw); err != nil {
		return fmt.Errorf("%w: %w", ErrNoResult, err)
	}
	l.saved.take(one)
	return nil
}

// Section writes a repository.
func (l *Lines) Section(s Section) error {
	l.counts.section(s)
	return l.write(line{Section: &s})
}

// Row writes a row, with the standing that its class has.
func (l *Lines) Row(r Row) error {
	r.Standing = standing(l.order.of, r.Class, r.Cause)
	l.counts.row(r)
	return l.write(line{Row: &r})
}

// Ready writes the results of the gates.
func (l *Lines) Ready(r *Ready) error { return l.write(line{Ready: r}) }

// End writes the end, with the totals of what was written, and flushes.
func (l *Lines) End(e End) error {
	e.Ended = e.Ended.UTC()
	if e.Totals, e.Unread = l.counts.classes, l.counts.unread; e.Totals == nil {
		e.Totals = map[string]int{}
	}
	e.Items, e.Sum = max(e.Items, l.counts.rows), hex.EncodeToString(l.sum.Sum(nil))
	if err := l.write(line{End: &e}); err != nil {
		return err
	}
	return l.w.Flush()
}

// Saved returns the ended result, which open reads, as Load would. It does not read it: that would take as long as
// writing it did.
func (l *Lines) Saved(open func() (io.ReadCloser, error)) (*Saved, error) {
	if l.unfit != nil {
		return nil, l.unfit
	}
	s, c := l.saved, l.counts
	s.open, s.Counts, s.leftOut, s.sum = open, c.standings, c.leftOut, hex.EncodeToString(l.sum.Sum(nil))
	c.classes = s.End.Totals // the same, but for what JSON does to invalid UTF-8
	return &s, s.judge(c)
}

// Saved is a result that was written as lines. Its methods may be called several times.
type Saved struct {
	Head   Head
	End    End // if the result did not finish: neither Complete nor Well
	Counts map[Standing]int
	Ready  *Ready // for a verification by ready; else nil
	// leftOut counts the tags that a sample or a selection left out.
	leftOut int
	open    func() (io.ReadCloser, error)
	sum     string // of all lines, as Load has read and checked them
}

// maxLine limits the length of a line, in bytes: a digest with a hundred thousand tags.
const maxLine = 16 << 20

// ErrNoResult is returned for a file that is not a saved result of ours.
var ErrNoResult = errors.New("not a saved result")

// Load reads a saved result once from beginning to end. The error is ErrNoResult if [Lines] did not write it, or it
// was changed since.
func Load(open func() (io.ReadCloser, error)) (*Saved, error) {
	s := &Saved{open: open}
	var c counts
	ended := false
	sum, err := s.lines(checkedLine, func(one line) error {
		if one.Row != nil {
			c.row(*one.Row)
		}
		if one.Section != nil {
			c.section(*one.Section)
		}
		s.take(one)
		ended = one.End != nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.Counts, s.leftOut, s.sum = c.standings, c.leftOut, sum
	if !ended {
		s.Ready = nil
		s.End = End{Error: "no end was recorded: the process was killed or is still running", Totals: c.classes, Unread: c.unread, Items: c.rows}
	}
	return s, s.judge(c)
}

// take keeps what is not a row or a repository.
func (s *Saved) take(one line) {
	switch {
	case one.Head != nil:
		s.Head = *one.Head
	case one.Ready != nil:
		s.Ready = one.Ready
		s.Ready.Ready = verify.Ready(s.Ready.Gates) // whatever the file says
	case one.End != nil:
		s.End = *one.End
	}
}

// judge compares the end with the rows. That everything is well, or was looked at, is never taken from the file's
// word alone.
func (s *Saved) judge(c counts) error {
	e := &s.End
	switch {
	case !maps.Equal(e.Totals, c.classes), e.Unread != c.unread, e.Items < c.rows, e.Complete && e.Items != c.rows:
		return fmt.Errorf("%w: its totals are not those of its rows", ErrNoResult)
	case e.Complete && e.Error != "":
		return fmt.Errorf("%w: it is complete, and ended with an error", ErrNoResult)
	case e.Complete && s.Head.Of == OfVerify && s.Head.Shard == "" && c.rows+c.unread+c.standings[Unclear]+c.deleted == 0:
		return fmt.Errorf("%w: it is complete, and nothing was compared", ErrNoResult)
	}
	well := e.Complete && c.standings[Problem] == 0 && c.standings[Unclear] == 0 && c.left+c.leftOut == 0 && (s.Ready == nil || s.Ready.Ready)
	if well && !e.Well {
		// A later version may know of other problems.
		e.Complete, e.Error = false, "it says that not all is well, and not why"
	}
	e.Well = e.Well && well
	if s.Ready != nil && !e.Complete {
		s.Ready.Ready = false // of what was not looked at, gates say nothing
	}
	return nil
}

// Each calls section and row for everything in the result, in its order.
func (s *Saved) Each(section func(Section) error, row func(Row) error) error {
	sum, err := s.lines(parseLine, func(one line) error {
		switch {
		case one.Section != nil && section != nil:
			return section(*one.Section)
		case one.Row != nil && row != nil:
			return row(*one.Row)
		}
		return nil
	})
	if err == nil && sum != s.sum {
		err = fmt.Errorf("%w: it changed while it was read", ErrNoResult)
	}
	return err
}

// lines reads the lines and returns their sum. It sets each row's standing by its class.
func (s *Saved) lines(parse func([]byte) (line, error), each func(line) error) (string, error) {
	f, err := s.open()
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read from
	in := bufio.NewScanner(f)
	in.Buffer(make([]byte, 64<<10), maxLine)
	n, sum := 0, sha256.New()
	var before order
	for in.Scan() {
		n++
		one, err := parse(in.Bytes())
		switch {
		case err != nil:
			return "", fmt.Errorf("%w: line %d: %w", ErrNoResult, n, err)
		case !before.next(one):
			return "", fmt.Errorf("%w: line %d is out of place", ErrNoResult, n)
		case one.Row != nil:
			one.Row.Standing = standing(before.of, one.Row.Class, one.Row.Cause)
		case one.End != nil && one.End.Sum != hex.EncodeToString(sum.Sum(nil)):
			return "", fmt.Errorf("%w: it was changed since it was written", ErrNoResult)
		}
		_, _ = sum.Write(in.Bytes()) // a hash returns no error
		_, _ = sum.Write([]byte{'\n'})
		if err := each(one); err != nil {
			return "", err
		}
	}
	if err := in.Err(); errors.Is(err, bufio.ErrTooLong) {
		return "", fmt.Errorf("%w: line %d: %w", ErrNoResult, n+1, err)
	} else if err != nil {
		return "", fmt.Errorf("reading line %d: %w", n+1, err)
	}
	if n == 0 {
		return "", fmt.Errorf("%w: it is empty", ErrNoResult)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// order is what came before a line.
type order struct {
	of         string
	repository string // of the section, if it may have rows
	gates      bool
	ended      bool
}

// next reports whether the line may come now. The rows of a verification follow their section.
func (o *order) next(one line) bool {
	switch {
	case (one.Head != nil) != (o.of == ""), o.ended, o.gates && one.End == nil, one.Ready != nil && o.of != OfVerify:
		return false
	case one.Head != nil:
		o.of = one.Head.Of
	case one.Section != nil:
		o.repository = one.Section.Repository
		if one.Section.Class != "" {
			o.repository = ""
		}
	case one.Row != nil:
		return o.of == OfRun || one.Row.Repository == o.repository && o.repository != ""
	}
	o.gates, o.ended = one.Ready != nil, one.End != nil
	return true
}

// checkedLine is parseLine for lines that were not checked yet.
func checkedLine(raw []byte) (line, error) {
	if err := strictjson.Check(raw); err != nil {
		return line{}, err
	}
	return parseLine(raw)
}

// parseLine parses one line. It ignores unknown fields: a later version may have added them.
func parseLine(raw []byte) (one line, err error) {
	if err := json.Unmarshal(raw, &one); err != nil {
		return line{}, err
	}
	parts := 0
	for _, there := range []bool{one.Head != nil, one.Section != nil, one.Row != nil, one.Ready != nil, one.End != nil} {
		if there {
			parts++
		}
	}
	if parts != 1 {
		return line{}, errors.New("its kind is not head, repository, row, ready or end")
	}
	if h := one.Head; h != nil && (h.Kind != ResultKind || h.Version != 1 || h.Of != OfRun && h.Of != OfVerify) {
		return line{}, fmt.Errorf("kind %.40q, version %d, of %.20q: this program does not read that", h.Kind, h.Version, h.Of)
	}
	if r := one.Ready; r != nil && (r.Kind != ReadyKind || r.Version != 1 || len(r.Gates) == 0) {
		return line{}, fmt.Errorf("kind %.40q, version %d, with %d gates: this program does not read that", r.Kind, r.Version, len(r.Gates))
	}
	return one, nil
}

// counts counts what a result has.
type counts struct {
	classes   map[string]int
	standings map[Standing]int
	unread    int
	rows      int
	left      int // rows of what was not requested, and is not done
	leftOut   int
	deleted   int // repositories of which nothing may be left to compare
}

func (c *counts) section(s Section) {
	c.leftOut += s.LeftOut
	if s.Deleted {
		c.deleted++
	}
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
	if cause := failure.Class(r.Cause); cause == failure.NotAsked || cause == failure.NotPlanned {
		c.left++
	}
	c.stand(r.Standing)
}

func (c *counts) stand(s Standing) {
	if c.standings == nil {
		c.standings = map[Standing]int{}
	}
	c.standings[s]++
}
