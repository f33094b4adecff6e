package report

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

const (
	maxChartRepositories = 15
	maxChartResults      = 60
)

// A segment is a part of a bar or a column, in per cent.
type segment struct {
	From, Size float64
	Standing   Standing
	Shade      string // a class of the style sheet
	Label      string
}

// stack places the counts one after the other on a length of 100. Every count that is not zero stays visible: the
// chart has to show one conflict among thousands that agree.
func stack(counts map[kind]int) []segment {
	const least = 2.5
	total := max(1, sum(counts, func(kind) bool { return true }))
	var all []segment
	length := 0.0
	for _, k := range inOrder(counts) {
		if counts[k] == 0 {
			continue
		}
		size := max(least, 100*float64(counts[k])/float64(total))
		all = append(all, segment{Size: size, Standing: k.standing, Shade: shade(k), Label: words(k, counts[k])})
		length += size
	}
	at := 0.0
	for i := range all {
		all[i].From, all[i].Size = at, all[i].Size*100/length
		at += all[i].Size
	}
	return all
}

// shades are the classes for which the style sheet has a colour.
var shades = []string{
	"agree", "unsigned", "dct-only", "notation-only", "conflict", "tag-moved", "missing", "untrusted", "expired", "unknown",
	"signed", "already", "replayed", "skipped", "failed", "ok", "problem",
}

func shade(k kind) string {
	switch {
	case slices.Contains(shades, k.class):
		return k.class
	case k.standing == Unclear:
		return "unknown"
	case k.standing == Aside:
		return "skipped"
	}
	return "other"
}

func words(k kind, n int) string {
	if k.class == trustDataNotRead && n == 1 {
		return k.class
	}
	return thousands(n) + " " + safetext.Safe(k.class, 60)
}

// A bar is a repository in the chart.
type bar struct {
	Name     string
	Link     string
	Total    int
	Calm     bool // it has no problem
	Segments []segment
	Trouble  []string // what somebody has to look at, in words
	Rest     []string

	name           string
	trouble, aside int
}

// link returns a link that filters the table.
func link(by, value string) string { return "#" + by + "=" + url.QueryEscape(value) }

// troubling reports whether somebody has to look at this kind.
func troubling(k kind) bool { return k.standing == Problem || k.standing == Unclear }

// newBar counts a repository's rows; most bars are never drawn.
func newBar(name string, counts map[kind]int) bar {
	b := bar{
		name: name, trouble: sum(counts, troubling), aside: sum(counts, func(k kind) bool { return k.standing == Aside }),
		Total: sum(counts, func(kind) bool { return true }),
	}
	b.Calm = b.trouble == 0
	return b
}

func (b *bar) draw(counts map[kind]int) {
	b.Name = safetext.Safe(b.name, maxName)
	b.Link, b.Segments = link("repository", b.Name), stack(counts)
	b.Trouble, b.Rest = inWords(counts)
}

func inWords(counts map[kind]int) (trouble, rest []string) {
	for _, k := range inOrder(counts) {
		if troubling(k) {
			trouble = append(trouble, words(k, counts[k]))
		} else {
			rest = append(rest, words(k, counts[k]))
		}
	}
	return trouble, rest
}

// A columnOf is one result in the progress chart.
type columnOf struct {
	X, Width  float64 // per cent
	Middle    float64
	Date      string
	Ended     string // with the time
	Tick      bool   // the date is shown below it
	Segments  []segment
	Counts    []int // in the order of worstFirst, then what was not read
	State     string
	Cut, Well bool
}

// progress is the chart of the results of this scope.
type progress struct {
	Columns []columnOf
	Earlier int // results that are not shown
	Most    int
	Cut     bool // at least one did not finish
	Trend   string
}

// newProgress returns nil if there is nothing to compare the result with.
func (s *Saved) newProgress(history []Past) *progress {
	history = slices.Clone(history)
	if n := len(history); n == 0 || !history[n-1].Ended.Equal(s.End.Ended) {
		history = append(history, s.Past())
	}
	if len(history) < 2 {
		return nil
	}
	p := &progress{Earlier: max(0, len(history)-maxChartResults)}
	history = history[p.Earlier:]
	for _, h := range history {
		p.Most = max(p.Most, sum(h.kinds(), func(kind) bool { return true }))
	}
	p.Trend = trend(history)
	n := len(history)
	form := time.DateOnly
	if history[n-1].Ended.Sub(history[0].Ended) < 3*24*time.Hour {
		form = "01-02 15:04"
	}
	every := (n + 4) / 5
	for i, h := range history {
		c := h.column(p.Most)
		p.Cut = p.Cut || c.Cut
		c.Date, c.Ended = h.Ended.UTC().Format(form), moment(h.Ended)
		c.Width = min(70/float64(n), 8)
		c.Middle = (float64(i) + 0.5) * 100 / float64(n)
		c.X = c.Middle - c.Width/2
		c.Tick = (n-1-i)%every == 0
		p.Columns = append(p.Columns, c)
	}
	return p
}

// trend returns how the number of problems compares with the previous result, and with the first that is shown.
func trend(history []Past) string {
	amiss := func(p Past) int { return sum(p.kinds(), troubling) }
	last, n := history[len(history)-1], len(history)
	parts := []string{"With problems, unknown or not read: " + thousands(amiss(last)) + " now"}
	add := func(what string, p Past) {
		change := amiss(last) - amiss(p)
		text := "as many as"
		switch {
		case change < 0:
			text = thousands(-change) + " fewer than"
		case change > 0:
			text = thousands(change) + " more than"
		}
		if !p.Whole {
			what += ", which did not finish"
		}
		parts = append(parts, text+" in "+what+" ("+moment(p.Ended)+")")
	}
	add("the result before", history[n-2])
	if n > 2 {
		add("the first shown", history[0])
	}
	return strings.Join(parts, "; ")
}

// kinds returns the counts by standing: the history keeps no more than that.
func (p Past) kinds() map[kind]int {
	counts := map[kind]int{}
	for class, n := range p.Totals {
		st := standing(p.Of, class, "")
		counts[kind{st, string(st)}] += max(0, n)
	}
	counts[kind{Unclear, trustDataNotRead}] += max(0, p.Unread)
	return counts
}

func (p Past) column(most int) columnOf {
	counts := p.kinds()
	total := sum(counts, func(kind) bool { return true })
	c := columnOf{Cut: !p.Whole, Well: p.Well, Segments: stack(counts)}
	height := float64(total) / float64(max(1, most))
	for i := range c.Segments { // what is ok is at the bottom and grows
		c.Segments[i].From = 100 - 100*height + c.Segments[i].From*height
		c.Segments[i].Size *= height
	}
	for _, st := range worstFirst {
		c.Counts = append(c.Counts, counts[kind{st, string(st)}])
	}
	c.Counts = append(c.Counts, counts[kind{Unclear, trustDataNotRead}])
	switch {
	case !p.Whole:
		c.State = "did not finish"
	case p.Well:
		c.State = "all well"
	default:
		c.State = "not all well"
	}
	return c
}

// An expiryLine is a date in the list of those that end next.
type expiryLine struct {
	What, Key, Repository, Link, Date, Left, Mood string
	Size                                          float64 // of a year, in per cent
}

func newExpiryLine(e Expiring, now time.Time) expiryLine {
	left := daysLeft(e.At, now)
	repository := safetext.Safe(e.Repository, maxName)
	l := expiryLine{
		What: safetext.Safe(e.What, maxName), Key: safetext.Safe(e.Key, maxName), Repository: repository, Link: link("repository", repository),
		Date: day(e.At), Left: timeLeft(e.At, now), Size: float64(min(max(left, 0), 365)) / 3.65, Mood: "later",
	}
	switch {
	case left < 0:
		l.Mood = "past"
	case left <= 30:
		l.Mood = "month"
	case left <= 90:
		l.Mood = "quarter"
	}
	return l
}

// sortedCounts returns texts with their counts, the most frequent first.
func sortedCounts(counts map[string]int) (all []string) {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	for _, k := range keys {
		all = append(all, thousands(counts[k])+" "+safetext.Safe(k, 60))
	}
	return all
}
