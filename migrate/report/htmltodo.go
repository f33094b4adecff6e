package report

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

const (
	maxPageCauses      = 100 // causes that are distinguished; the rest is counted as one
	maxCausesFirst     = 10  // shown at first
	maxCauseFirst      = 6   // repositories of a cause that are shown at first
	maxCauseRepository = 100 // and listed
	maxPageFolders     = 60  // folders of repositories
	maxCauseText       = 4000
	otherCauses        = "other causes"
	maxLeadDays        = 90 // how far ahead the first line looks for dates
)

// A cause is what rows with a problem have in common: whoever knows what to do about one of them knows it for all.
type cause struct {
	standing      Standing
	class, reason string
}

// ofCause is everything with the same cause.
type ofCause struct {
	cause
	whole        string // the reason of the first
	link         string
	hint, remedy string
	rows, unread int
	repositories map[string]int
}

// causes holds a limited number of causes.
type causes map[cause]*ofCause

func (c causes) add(key cause, whole, link, hint, remedy, repository string, unread bool) {
	if _, ok := c[key]; !ok && len(c) >= maxPageCauses {
		key, whole, link, hint, remedy = cause{key.standing, otherCauses, ""}, "", "standing="+string(key.standing), "", "Look at the rows below."
	}
	of := c[key]
	if of == nil {
		of = &ofCause{cause: key, whole: whole, link: link, hint: hint, remedy: remedy, repositories: map[string]int{}}
		c[key] = of
	}
	of.repositories[repository]++
	if unread {
		of.unread++
	} else {
		of.rows++
	}
}

// section records a repository with a problem besides its rows.
func (c causes) section(of string, s *Section) {
	row, ok := asRow(s)
	if !ok {
		return
	}
	class := cmp.Or(s.Class, string(verify.Unknown))
	whole, reason, hint := alike(strings.TrimPrefix(s.Reason, "reading trust data of "+s.Repository+": "), s.Repository)
	c.add(cause{row.Standing, row.Class, reason}, whole, "class="+url.QueryEscape(safetext.Safe(row.Class, maxName)), hint, remedy(of, class, s.Class != ""), s.Repository, true)
}

// row records a row. Rows that are only for information are no cause to do something.
func (c causes) row(of string, r *Row) {
	if r.Standing != Problem && r.Standing != Unclear {
		return
	}
	names := []string{r.Repository + "@" + r.Digest, r.Digest, r.Registry}
	for _, t := range r.Tags {
		names = append(names, r.Repository+":"+t, "tag "+t)
	}
	whole, reason, hint := alike(r.Reason, append(names, r.Repository)...)
	class, link := r.Class, "class="+url.QueryEscape(safetext.Safe(r.Class, maxName))
	if r.Cause != "" {
		class += ": " + r.Cause
	}
	c.add(cause{r.Standing, class, reason}, whole, link, hint, remedy(of, typeOf(*r), false), r.Repository, false)
}

// alike splits a reason into the whole text, the text without what is specific to one row, and the hint.
func alike(reason string, names ...string) (whole, what, hint string) {
	whole, hint, _ = strings.Cut(reason, "\nhint: ")
	whole = whole[:min(len(whole), maxCauseText)]
	what = requested.ReplaceAllString(whole, "$1/…")
	for _, n := range names {
		if n == "tag " {
			continue // an image without a tag
		}
		what = without(what, strings.Trim(n, "@:"))
		if _, path, ok := strings.Cut(n, "/"); ok { // the registry's name for it
			what = without(what, path)
		}
	}
	return whole, varying.ReplaceAllString(what, "…"), hint
}

// requested matches the path of a request after the server: it has the repository's name, and the digest or tag.
var requested = regexp.MustCompile(`(?i)\b(https?://[^/\s"'<>]+)/[^\s"'<>]*[^\s"'<>:;,.)]`)

// varying matches what differs between equal reasons: ids, times and local ports.
var varying = regexp.MustCompile(`(sha256:)?\b[0-9a-f]{64}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\d{4}-\d\d-\d\dT[0-9:.]+Z|(\[[0-9a-f:]+\]|[0-9.]+):\d+->`)

// without removes a name from a text, unless it is part of another word. A name of one element may be an ordinary
// word: it is removed only within quotes, brackets or the like.
func without(text, name string) string {
	if name == "" {
		return text
	}
	var b strings.Builder
	for {
		at := strings.Index(text, name)
		if at < 0 {
			return b.String() + text
		}
		end := at + len(name)
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		after, _ := utf8.DecodeRuneInString(text[end:])
		name, apart := name, !partOfWord(before) && !partOfWord(after)
		if !strings.ContainsAny(name, "/ ") {
			apart = apart && unicode.IsPunct(before) && unicode.IsPunct(after)
		}
		if apart {
			name = "…"
		}
		b.WriteString(text[:at] + name)
		text = text[end:]
	}
}

func partOfWord(r rune) bool {
	return r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

// A todo is a cause as the page shows it.
type todo struct {
	Standing                       Standing
	Mark, Class, Link              string
	Count, Reason, Hint, Remedy    string
	Repositories, MoreRepositories []inTodo
	UnlistedRepositories           int
}

// inTodo is a repository with rows of a cause.
type inTodo struct {
	Name, Link string
	Rows       int
}

// todos returns the causes, worst first, then those with most rows.
func (c causes) todos(of string) (all []todo) {
	list := slices.SortedFunc(maps.Values(c), func(a, b *ofCause) int {
		return cmp.Or(cmp.Compare(slices.Index(worstFirst, a.standing), slices.Index(worstFirst, b.standing)), b.rows+b.unread-a.rows-a.unread,
			strings.Compare(a.class, b.class), strings.Compare(a.reason, b.reason))
	})
	for _, one := range list {
		t := todo{
			Standing: one.standing, Mark: marks[one.standing], Class: safetext.Safe(one.class, maxName), Link: "#" + one.link,
			Count: one.count(of), Reason: safetext.Lines(one.reason, maxReason), Hint: safetext.Lines(one.hint, maxHint), Remedy: one.remedy,
		}
		if one.rows+one.unread == 1 {
			t.Reason = safetext.Lines(one.whole, maxReason)
		}
		names := slices.SortedFunc(maps.Keys(one.repositories), func(a, b string) int {
			return cmp.Or(one.repositories[b]-one.repositories[a], strings.Compare(a, b))
		})
		for i, name := range names {
			shown := safetext.Safe(name, maxName)
			in := inTodo{shown, "#" + one.link + "&repository=" + url.QueryEscape(shown), one.repositories[name]}
			switch {
			case i < maxCauseFirst:
				t.Repositories = append(t.Repositories, in)
			case i < maxCauseRepository:
				t.MoreRepositories = append(t.MoreRepositories, in)
			default:
				t.UnlistedRepositories++
			}
		}
		all = append(all, t)
	}
	return all
}

// count returns how much has the cause. Repositories and tags are never added together.
func (c *ofCause) count(of string) string {
	repositories := thousandsOf(len(c.repositories), "repository")
	if c.rows == 0 {
		return repositories
	}
	return thousandsOf(c.rows, noun(of)) + " in " + repositories
}

// noun returns what a row is called.
func noun(of string) string {
	if of == OfRun {
		return "image"
	}
	return "tag"
}

func thousandsOf(n int, what string) string {
	return thousands(n) + strings.TrimPrefix(safetext.Count(n, what), itoa(n))
}

// lead returns the first line: the progress, how many decisions remain, and which date comes first.
func (s *Saved) lead(t *tally, todos int, soonest []Expiring, now time.Time) string {
	unread := sum(t.totals, func(k kind) bool { return k.class == trustDataNotRead })
	rows := sum(t.totals, func(k kind) bool { return k.class != trustDataNotRead && k.class != notLookedAt })
	well := sum(t.totals, func(k kind) bool { return k.standing == Well })
	does, all := "agree", thousandsOf(rows, noun(s.Head.Of))
	if s.Head.Of == OfRun {
		does = "are signed"
	}
	if rows == 1 {
		does = map[string]string{"agree": "agrees", "are signed": "is signed"}[does]
	}
	if !s.End.Complete {
		all = "the " + all + " looked at"
	}
	parts := []string{percent(well, rows) + " of " + all + " " + does}
	if rows == 0 {
		parts[0] = "No " + noun(s.Head.Of) + " was looked at"
	}
	if s.rest() == Unclear {
		parts[0] = "Not finished: " + strings.ToLower(parts[0][:1]) + parts[0][1:]
	}
	if unread > 0 {
		parts = append(parts, thousandsOf(unread, "repository")+" not read")
	}
	switch {
	case todos == 1:
		parts = append(parts, "1 thing to decide")
	case todos > 0:
		parts = append(parts, thousands(todos)+" things to decide")
	}
	if s.Ready != nil {
		parts = append(parts, s.Ready.toGo(now))
	}
	if len(soonest) > 0 && daysLeft(soonest[0].At, now) <= maxLeadDays {
		what := "trust data"
		if e := soonest[0]; e.What == certificate {
			what = "certificate"
		}
		parts = append(parts, what+" "+endsIn(soonest[0].At, now))
	}
	return strings.Join(parts, ", ")
}

// percent never returns 100 for less than everything, nor 0 for more than nothing.
func percent(n, all int) string {
	switch {
	case n == all:
		return "100 %"
	case n > 0 && n*100/all == 0:
		return "Less than 1 %"
	}
	return itoa(n*100/max(1, all)) + " %"
}

// calendarDays returns the number of calendar days in UTC from now.
func calendarDays(at, now time.Time) int {
	whole := func(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }
	return int(whole(at).Sub(whole(now)) / (24 * time.Hour))
}

// endsIn describes when a date is, in calendar days in UTC.
func endsIn(at, now time.Time) string {
	days := calendarDays(at, now)
	switch {
	case at.Before(now):
		return "ended on " + day(at)
	case days == 0:
		return "ends today"
	case days == 1:
		return "ends tomorrow"
	}
	return fmt.Sprintf("ends in %d days", days)
}

// A folder is the repositories of a registry with the same first path element.
type folder struct {
	Name, Count        string
	Open, Calm         bool // shown at first; without a problem
	Segments           []segment
	Trouble, Rest      []string
	Bars               []bar
	More, MoreTroubled int

	all                   []bar
	counts                map[kind]int
	trouble, aside, total int
}

// folderOf returns the registry and the first path element, if more follows.
func folderOf(repository string) string {
	parts := strings.SplitN(repository, "/", 3)
	return strings.Join(parts[:max(1, min(2, len(parts)-1))], "/")
}

// folders returns the folders with most trouble first, and so their repositories, and how many folders are not shown.
func (t *tally) folders() (shown []*folder, more int) {
	by := map[string]*folder{}
	for name, counts := range t.repositories {
		at := folderOf(name)
		if by[at] == nil {
			by[at] = &folder{Name: safetext.Safe(at, maxName), counts: map[kind]int{}}
		}
		f, b := by[at], newBar(name, counts)
		f.all = append(f.all, b)
		f.trouble, f.aside, f.total = f.trouble+b.trouble, f.aside+b.aside, f.total+b.Total
		for k, n := range counts {
			f.counts[k] += n
		}
	}
	shown = slices.SortedFunc(maps.Values(by), func(a, b *folder) int {
		return cmp.Or(b.trouble-a.trouble, b.aside-a.aside, b.total-a.total, strings.Compare(a.Name, b.Name))
	})
	more = max(0, len(shown)-maxPageFolders)
	shown = shown[:len(shown)-more]
	room := maxChartRepositories
	for i, f := range shown {
		slices.SortFunc(f.all, func(a, b bar) int {
			return cmp.Or(b.trouble-a.trouble, b.aside-a.aside, b.Total-a.Total, strings.Compare(a.name, b.name))
		})
		f.Bars = f.all[:min(len(f.all), maxChartRepositories)]
		for j := range f.Bars {
			f.Bars[j].draw(t.repositories[f.Bars[j].name])
		}
		for _, b := range f.all[len(f.Bars):] {
			f.More++
			if b.trouble > 0 {
				f.MoreTroubled++
			}
		}
		f.Count = thousandsOf(len(f.all), "repository")
		f.Calm, f.Segments = f.trouble == 0, stack(f.counts)
		f.Trouble, f.Rest = inWords(f.counts)
		f.Open = i == 0 || !f.Calm && len(f.Bars) <= room
		if f.Open {
			room -= len(f.Bars)
		}
	}
	return shown, more
}
