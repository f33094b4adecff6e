package report

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// A Screen shows a result on a terminal: first a table of the repositories, then what is unusual, by class and
// reason, then what to do next. Repositories with the same result share one line, as do rows with the same reason.
// Digests are shortened. The text for files and pipes is complete, and -v shows that one.
type Screen struct {
	Width int  // columns; 0: nothing is shortened
	Color bool // words that mean something have a color
	Quiet bool // only what is not well, and the last line
}

// nameColumns limits how much of a repository's name the table shows, so that the counts stay near it.
const nameColumns = 72

// A terminal shows examples of what does not fit: ten of three hundred say as much as twenty.
const (
	maxShown    = 20 // up to this many repositories, or rows of a class, are all listed
	maxExamples = 10 // shown of a class with more rows, for all its causes together; and repositories of a cause with more
	maxReasons  = 10 // reasons of a class that are distinguished
)

// colors of a standing.
var colors = map[Standing]string{Well: "32", Unclear: "33", Aside: "33", Problem: "31"}

// paint gives a word the color of its standing.
func (s Screen) paint(st Standing, word string) string {
	if !s.Color || word == "" || st == "" {
		return word
	}
	return "\x1b[" + colors[st] + "m" + word + "\x1b[0m"
}

// An overview collects a result for a Screen. Its size grows neither with the rows nor, beyond maxShown for each
// cause, with the repositories.
type overview struct {
	Screen
	columns  []string // of counts; a column without any is left out
	beside   string   // heading of the notes
	groups   []*group
	sections []*section
	all      int // repositories
	unread   int
	sums     []int
	notes    map[string]int // how often something was noted, by its first word
}

// A group is the repositories with the same cause.
type group struct {
	standing Standing
	cause    string
	unread   bool
	n        int
	sums     []int
	rows     []tableRow // the first of them
}

type tableRow struct {
	name   string
	counts []int
	note   string // shown beside the columns
	mark   Standing
}

// repository adds a repository to the table. cause is what it has in common with others; if all is well, what could
// follow "repositories". Without counts it was not read.
func (o *overview) repository(name string, st Standing, cause, note string, counts []int) {
	o.all++
	if counts == nil {
		o.unread++
	}
	i := slices.IndexFunc(o.groups, func(g *group) bool { return g.standing == st && g.cause == cause && g.unread == (counts == nil) })
	if i < 0 {
		i, o.groups = len(o.groups), append(o.groups, &group{standing: st, cause: cause, unread: counts == nil})
	}
	g := o.groups[i]
	g.n++
	g.sums, o.sums = plus(g.sums, counts), plus(o.sums, counts)
	if o.Width == 0 && st != Well || len(g.rows) < maxShown {
		g.rows = append(g.rows, tableRow{safetext.Safe(name, 256), counts, safetext.Safe(note, 200), st})
	}
}

func plus(a, b []int) []int {
	for i, n := range b {
		if i == len(a) {
			a = append(a, 0)
		}
		a[i] += n
	}
	return a
}

// A section is the rows of one class.
type section struct {
	standing    Standing
	class, noun string
	n           int
	causes      []*alikeRows
	others      int // rows of causes beyond maxReasons
}

// alikeRows are the rows of a section with the same reason, apart from what is specific to each row.
type alikeRows struct {
	alike, whole, hint string
	request            string // the request that failed, and how; empty: another reason
	n                  int
	rows               []unusual // the first of them
}

// failed matches a failed request, to the end of the reason.
var failed = regexp.MustCompile(`(?i)\b(get|head|put|post|patch|delete) ("https?://[^"]*": )`)

// requestOf returns the last request of a reason, and how it failed: the purpose of the request does not make it a
// different cause.
func requestOf(reason string) string {
	all := failed.FindAllStringSubmatchIndex(reason, -1)
	if all == nil {
		return ""
	}
	return triedText.ReplaceAllString(reason[all[len(all)-1][4]:], "")
}

var triedText = regexp.MustCompile(` \(tried \d+ times\)`)

// unusual is a row that is not well.
type unusual struct{ name, text string }

// row adds a row that is not well. names are what its reason says about this row alone, so that rows with otherwise
// equal reasons are grouped.
func (o *overview) row(st Standing, class, noun, reason, name, text string, names ...string) {
	i := slices.IndexFunc(o.sections, func(s *section) bool { return s.class == class && s.noun == noun })
	if i < 0 {
		i, o.sections = len(o.sections), append(o.sections, &section{standing: st, class: class, noun: noun})
	}
	s := o.sections[i]
	s.n++
	whole, what, hint := alike(strings.Replace(reason, "reading trust data of "+name+": ", "", 1), names...)
	request := requestOf(what)
	i = slices.IndexFunc(s.causes, func(c *alikeRows) bool { return c.alike == what || request != "" && c.request == request })
	if i < 0 && o.Width > 0 && len(s.causes) == maxReasons {
		s.others++
		return
	}
	if i < 0 {
		i, s.causes = len(s.causes), append(s.causes, &alikeRows{alike: what, request: request, whole: whole, hint: hint})
	}
	c := s.causes[i]
	if c.alike != what {
		c.alike = request // whatever the request was for
	}
	c.n++
	if o.Width == 0 || len(c.rows) < maxShown {
		c.rows = append(c.rows, unusual{safetext.Safe(name, 400), safetext.Safe(text, 300)})
	}
}

// note counts the notes on images with nothing else unusual.
func (o *overview) note(notes []string) {
	for _, n := range notes {
		if o.notes == nil {
			o.notes = map[string]int{}
		}
		kind, _, _ := strings.Cut(n, ":")
		o.notes[kind]++
	}
}

// noted describes how often something was noted.
func noted(n int, kind, where string) string {
	return fmt.Sprintf("noted %s: %s (%s)", thousandsOf(n, "time"), safetext.Safe(kind, 60), where)
}

var sha256Text = regexp.MustCompile(`(--yes \S+@)?sha256:([0-9a-f]{12})[0-9a-f]{52}`)

// short shortens digests, except one in a command to type.
func (s Screen) short(text string) string {
	if s.Width == 0 {
		return text
	}
	return sha256Text.ReplaceAllStringFunc(text, func(found string) string {
		if strings.HasPrefix(found, "--yes ") {
			return found
		}
		return found[len("sha256:"):][:12]
	})
}

// write writes the table and the rows, worst first, and then the end.
func (o *overview) write(w io.Writer, end string) error {
	var b strings.Builder
	o.table(&b)
	for _, st := range worstFirst {
		for _, s := range o.sections {
			if s.standing == st {
				o.section(&b, s)
			}
		}
	}
	if b.Len() > 0 && end != "" && !o.Quiet {
		b.WriteString("\n")
	}
	for line := range strings.Lines(end) {
		begin := line[:len(line)-len(strings.TrimLeft(line, " "))]
		if o.Width == 0 || visible(line) <= o.Width {
			b.WriteString(line)
			continue
		}
		o.wrap(&b, begin, begin+"  ", line)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// tableRows are the rows of the table, worst first, and the total where there are several.
func (o *overview) tableRows() (rows []tableRow) {
	for _, st := range worstFirst {
		for _, g := range o.groups {
			switch {
			case g.standing != st, st == Well && o.Quiet:
			case g.unread: // the reasons name them
				rows = append(rows, tableRow{thousandsOf(g.n, "repository"), nil, g.rows[0].note, st})
			case st == Well && o.all > maxShown && g.n > 1:
				rows = append(rows, tableRow{thousandsOf(g.n, "repository") + " " + g.cause, g.sums, "", Well})
			case g.n > len(g.rows), o.Width > 0 && o.all > maxShown && g.n > maxExamples:
				rows = append(rows, tableRow{thousandsOf(g.n, "repository") + ": -v", g.sums, g.cause, st})
			default:
				rows = append(rows, g.rows...)
			}
		}
	}
	if len(rows) > 1 {
		note := ""
		if o.unread > 0 {
			note = thousands(o.unread) + " not read"
		}
		rows = append(rows, tableRow{"total: " + thousandsOf(o.all, "repository"), o.sums, note, Problem})
	}
	return rows
}

func (o *overview) table(b *strings.Builder) {
	rows := o.tableRows()
	if len(rows) == 0 {
		return
	}
	heads, cells := o.cells(rows)
	widths, notes := make([]int, len(heads)), 0
	for i, h := range heads {
		widths[i] = len(h)
		for _, c := range cells {
			widths[i] = max(widths[i], len(c[i]))
		}
	}
	numbers, name := 0, len("repository")
	for _, n := range widths {
		numbers += n + 2
	}
	for _, r := range rows {
		name = max(name, utf8.RuneCountInString(r.name))
		if r.counts != nil {
			notes = max(notes, utf8.RuneCountInString(r.note))
		}
	}
	if o.Width > 0 {
		notes = min(notes, 40)
		name = max(min(name, nameColumns, o.Width-1-numbers-2-notes), 24)
	}
	line := func(first string, cells []string, note string, st Standing) {
		first = middle(first, name)
		text := first + strings.Repeat(" ", name-utf8.RuneCountInString(first))
		for i, c := range cells {
			text += fmt.Sprintf("  %*s", widths[i], c)
		}
		if note != "" {
			if o.Width > 0 {
				note = middle(note, max(o.Width-1-visible(text)-2, 20))
			}
			text += "  " + o.paint(st, note)
		}
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	if notes == 0 {
		line("repository", heads, "", "")
	} else {
		line("repository", heads, o.beside, "")
	}
	for i, r := range rows {
		if r.counts == nil {
			cells[i] = nil // the note replaces the counts
		}
		line(r.name, cells[i], r.note, r.mark)
	}
}

// cells returns the counts as they are shown, without zeros, and the headings of the columns that have any.
func (o *overview) cells(rows []tableRow) (heads []string, cells [][]string) {
	cells = make([][]string, len(rows))
	for i, head := range o.columns {
		var column []string
		some := false
		for _, r := range rows {
			text := ""
			if i < len(r.counts) && r.counts[i] > 0 {
				text, some = thousands(r.counts[i]), true
			}
			column = append(column, text)
		}
		if !some {
			continue
		}
		heads = append(heads, head)
		for n := range rows {
			cells[n] = append(cells[n], column[n])
		}
	}
	return heads, cells
}

// section writes the rows of a class, grouped by reason.
func (o *overview) section(b *strings.Builder, s *section) {
	fmt.Fprintf(b, "\n%s: %s\n", o.paint(s.standing, safetext.Safe(s.class, 40)), thousandsOf(s.n, s.noun))
	most := maxShown
	switch {
	case o.Width == 0:
		most = s.n
	case s.n > maxShown:
		most = max(1, maxExamples/len(s.causes))
	}
	for _, c := range s.causes {
		reason := c.alike
		if c.n == 1 {
			reason = c.whole
		}
		o.wrap(b, "  ", "    ", o.short(safetext.Lines(reason, 2048)))
		shown, names := c.rows[:min(most, len(c.rows))], 0
		for _, r := range shown {
			names = max(names, utf8.RuneCountInString(r.name))
		}
		if o.Width > 0 {
			names = min(names, o.Width-4-1-20)
		}
		for _, r := range shown {
			name := r.name
			if o.Width > 0 {
				name = middle(o.short(name), names)
			}
			b.WriteString(strings.TrimRight("    "+name+strings.Repeat(" ", max(0, names-utf8.RuneCountInString(name)))+"  "+o.short(r.text), " ") + "\n")
		}
		if more := c.n - len(shown); more > 0 {
			fmt.Fprintf(b, "    and %s more: -v\n", thousands(more))
		}
		if c.hint != "" {
			o.wrap(b, "  ", "    ", "hint: "+safetext.Lines(c.hint, maxHint))
		}
	}
	if s.others > 0 {
		fmt.Fprintf(b, "  and %s for other reasons: -v\n", thousandsOf(s.others, s.noun))
	}
}

// Wrap breaks a text into lines that fit the screen: the first line follows begin, the others follow margin.
func (s Screen) Wrap(begin, margin, text string) string {
	var b strings.Builder
	s.wrap(&b, begin, margin, text)
	return b.String()
}

// A Lack is why something is incomplete, and what it affects.
type Lack struct{ What, Of, Text, Hint string }

// Lacks writes what is missing under a title with its count and noun, grouped by kind.
func (s Screen) Lacks(w io.Writer, title, noun string, all []Lack) error {
	o := &overview{Screen: s}
	for _, l := range all {
		what := l.What
		if l.Hint != "" {
			what += "\nhint: " + l.Hint
		}
		o.row(Problem, title, noun, what, l.Of, strings.TrimSpace(l.Text), l.Of)
	}
	return o.write(w, "")
}

// wrap writes text after begin, with further lines after margin, and breaks it only at spaces.
func (s Screen) wrap(b *strings.Builder, begin, margin, text string) {
	for line := range strings.Lines(text) {
		at := 0
		for i, word := range strings.Fields(line) {
			n := visible(word)
			switch {
			case i == 0:
				b.WriteString(begin)
				at = len(begin)
			case s.Width > 0 && at+1+n >= s.Width:
				b.WriteString("\n" + margin)
				at = len(margin)
			default:
				b.WriteString(" ")
				at++
			}
			b.WriteString(word)
			at += n
		}
		if at > 0 {
			b.WriteString("\n")
		}
		begin = margin
	}
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

// visible returns how many columns a text takes.
func visible(text string) int { return utf8.RuneCountInString(escape.ReplaceAllString(text, "")) }

// middle cuts a name in the middle: its end distinguishes it.
func middle(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	head := (most - 1) / 3
	return string(r[:head]) + "…" + string(r[len(r)-(most-1-head):])
}
