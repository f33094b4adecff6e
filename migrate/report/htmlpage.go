package report

import (
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

const (
	maxPageExpiries = 200 // dates that are listed; only some are shown at first
	maxPageFirst    = 8
	maxPageWorst    = 500 // rows that are listed without the script, and on paper
)

// page is what the template shows. All its texts have passed through safetext.
type page struct {
	Policy                                string
	Title, Lead, Verdict, Mood            string
	Of, Tool, Scope, Started, Ended, Took string
	Error                                 string
	Cards                                 []card
	All                                   int
	Bar                                   []segment
	Totals                                []total
	Remarks                               []string
	Todos, MoreTodos                      []todo
	FirstMore                             int // the number of the first of MoreTodos
	Gates                                 []gateLine
	GatesVerdict                          string
	Folders                               []*folder
	MoreFolders                           int
	Progress                              *progress
	Expiries, LaterExpiries               []expiryLine
	UnlistedExpiries, BeyondExpiries      int // within a year, and later
	Worst                                 []worstLine
	NotWell                               int
	Now                                   string
	columns                               []column
}

// A card shows the count of one standing.
type card struct {
	Standing    Standing
	Mark, Label string
	Count       int
	Link        string
}

// A total is a line of the totals by class.
type total struct {
	Class, Link, Meaning string
	Standing             Standing
	Mark, Shade          string
	Count                int
	Share                string
	Causes               []string
}

type worstLine struct {
	Standing                        Standing
	Mark                            string
	Class, Repository, Name, Reason string
}

// marks accompany the colours, so that nobody depends on seeing those.
var marks = map[Standing]string{Well: "✓", Problem: "✕", Unclear: "?", Aside: "–"}

func newPage(s *Saved, o Options) (*page, error) {
	t, err := s.tally()
	if err != nil {
		return nil, err
	}
	p := &page{
		Verdict: sentence(s.verdict()), Mood: s.mood(), Of: s.Head.Of, Tool: safetext.Safe(s.Head.Tool, maxName), Scope: safetext.Safe(s.Head.Scope, maxReason),
		Started: moment(s.Head.Started), Ended: moment(s.End.Ended), Error: hinted(s.End.Error, maxReason, safetext.Lines), NotWell: s.notWell(), Now: day(o.Now),
	}
	p.Title = "dct2notation " + s.Head.Of + ": " + s.verdict()
	if took := s.End.Ended.Sub(s.Head.Started); took >= 0 {
		p.Took = took.Round(1e9).String()
	}
	p.All = sum(t.totals, func(kind) bool { return true })
	p.Bar, p.Totals = stack(t.totals), t.lines(s.Head.Of, p.All)
	p.Cards, p.Remarks = s.cards(), s.remarks(t)
	p.Folders, p.MoreFolders = t.folders()
	todos := t.todo.todos(s.Head.Of)
	first := min(len(todos), maxCausesFirst)
	p.Todos, p.MoreTodos, p.FirstMore = todos[:first], todos[first:], first+1
	if s.Ready != nil {
		p.Gates, p.GatesVerdict = s.Ready.lines(), sentence(s.Ready.verdict())+", planned for "+day(s.Ready.Planned)
	}
	p.Progress = s.newProgress(o.History)
	for _, c := range pageColumns {
		if t.used[c.name] {
			p.columns = append(p.columns, c)
		}
	}
	for _, one := range t.troubles.worst() {
		p.addWorst(one)
	}
	dates := soonest(t.dates.all)
	p.Lead = s.lead(t, len(todos), dates, o.Now)
	for i, e := range dates {
		switch line := newExpiryLine(e, o.Now); {
		case e.At.After(o.Now.AddDate(1, 0, 0)):
			p.BeyondExpiries++
		case i < maxPageFirst:
			p.Expiries = append(p.Expiries, line)
		case i < maxPageExpiries:
			p.LaterExpiries = append(p.LaterExpiries, line)
		default:
			p.UnlistedExpiries++
		}
	}
	return p, nil
}

// mood returns the colour of the verdict. It is good only if End.Well is set.
func (s *Saved) mood() string {
	switch {
	case s.End.Well:
		return "good"
	case s.Ready != nil && s.Ready.Ready:
		return "unsure" // a decision accepts something
	case s.Ready != nil && slices.ContainsFunc(s.Ready.Gates, func(g verify.Gate) bool { return g.State == verify.Fails }):
		return "bad"
	case s.Counts[Problem] > 0:
		return "bad"
	}
	return "unsure"
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

func (s *Saved) cards() (all []card) {
	labels := map[Standing]string{Problem: "problems", Unclear: "unknown", Aside: "skipped", Well: "ok"}
	for _, st := range worstFirst {
		if st == Aside && s.Head.Of == OfVerify {
			continue // a verification has none
		}
		n := s.Counts[st]
		label := labels[st]
		if st == Problem && n == 1 {
			label = "problem"
		}
		all = append(all, card{st, marks[st], label, n, link("standing", string(st))})
	}
	return all
}

// lines returns the totals by class.
func (t *tally) lines(of string, all int) (lines []total) {
	for _, k := range inOrder(t.totals) {
		n := t.totals[k]
		line := total{
			Class: safetext.Safe(k.class, maxName), Meaning: meanings[of][k.class], Standing: k.standing, Mark: marks[k.standing], Shade: shade(k),
			Count: n, Share: share(n, all), Causes: sortedCounts(t.causes[k]),
		}
		if k.class != trustDataNotRead {
			line.Link = link("class", line.Class)
		} else {
			line.Link = link("q", "trust data:")
			line.Meaning = "repositories whose trust data could not be read: nothing is known of their tags"
		}
		lines = append(lines, line)
	}
	return lines
}

func share(n, all int) string {
	switch permille := n * 1000 / max(1, all); {
	case n == all:
		return "100 %"
	case permille == 0:
		return "< 0.1 %"
	default:
		return itoa(permille/10) + "." + itoa(permille%10) + " %"
	}
}

// remarks returns what a person should know besides the totals.
func (s *Saved) remarks(t *tally) (all []string) {
	if rows := sum(t.totals, func(k kind) bool { return k.class != trustDataNotRead }); s.End.Items > rows {
		all = append(all, thousands(s.End.Items-rows)+" more were not finished when it ended")
	}
	if t.allowed > 0 {
		all = append(all, "Trust data past its date, which was allowed: "+thousands(t.allowed)+" repositories")
	}
	if t.judged > 0 {
		all = append(all, "Trust data past its date now, judged at the time it was saved: "+thousands(t.judged)+" repositories")
	}
	if found := sortedCounts(t.findings); len(found) > 0 {
		all = append(all, "Tags in the trust data that are not to be signed: "+strings.Join(found, ", "))
	}
	return all
}

func (p *page) addWorst(t trouble) {
	p.Worst = append(p.Worst, worstLine{
		t.standing, marks[t.standing], safetext.Safe(t.class, maxName), safetext.Safe(t.repository, maxName),
		safetext.Safe(t.name, maxName), hinted(t.reason, maxReason, safetext.Lines),
	})
}
