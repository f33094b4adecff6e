package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// A kind is the key by which the page's totals and charts count rows.
type kind struct {
	standing Standing
	class    string
}

// trustDataNotRead is the class, in totals and charts, of the repositories without rows.
const trustDataNotRead = "trust data not read"

// notLookedAt is the class of a repository that was not looked at as a whole.
const notLookedAt = "not looked at"

// tally collects what the page's summary is made from. It grows with the repositories, not with the rows.
type tally struct {
	totals       map[kind]int
	causes       map[kind]map[string]int // why a run did not sign
	repositories map[string]map[kind]int
	findings     map[string]int
	allowed      int             // repositories with expired trust data that was allowed
	judged       int             // repositories with expired trust data that was judged when it was saved
	used         map[string]bool // columns that are not empty
	troubles     troubles
	dates        dates
	todo         causes
	of           string
}

// maxCauses limits how many causes and findings are distinguished.
const maxCauses = 50

// tally reads the result once.
func (s *Saved) tally() (*tally, error) {
	t := &tally{
		totals: map[kind]int{}, causes: map[kind]map[string]int{}, repositories: map[string]map[kind]int{}, findings: map[string]int{}, used: map[string]bool{},
		troubles: troubles{limit: maxPageWorst}, todo: causes{}, of: s.Head.Of,
	}
	for _, k := range s.Head.Keys {
		if !k.Ends.IsZero() {
			t.dates.add(Expiring{What: certificate, Key: k.Name, At: k.Ends})
		}
	}
	err := s.Each(func(one Section) error { t.section(&one); return nil }, func(r Row) error { t.row(&r); return nil })
	return t, err
}

func (t *tally) section(s *Section) {
	t.troubles.section(s)
	t.dates.section(s)
	t.todo.section(t.of, s)
	if row, ok := asRow(s); ok {
		t.columns(&row)
		class := row.Class
		if s.Class != "" {
			class = trustDataNotRead
		}
		t.add(s.Repository, kind{row.Standing, class}, s.Class)
	}
	if len(s.Expired) > 0 {
		t.allowed++
	}
	if !s.Judged.IsZero() {
		t.judged++
	}
	for class, n := range s.Findings {
		addBounded(t.findings, class, n)
	}
}

func (t *tally) row(r *Row) {
	t.troubles.row(r)
	t.dates.row(r)
	t.todo.row(t.of, r)
	t.columns(r)
	t.add(r.Repository, kind{r.Standing, r.Class}, r.Cause)
}

// columns records which columns are not empty. Almost all are known after a few rows.
func (t *tally) columns(r *Row) {
	for _, c := range pageColumns {
		if !t.used[c.name] && c.of(r) != "" {
			t.used[c.name] = true
		}
	}
}

func (t *tally) add(repository string, k kind, cause string) {
	t.totals[k]++
	of := t.repositories[repository]
	if of == nil {
		of = map[kind]int{}
		t.repositories[repository] = of
	}
	of[k]++
	if cause != "" {
		if t.causes[k] == nil {
			t.causes[k] = map[string]int{}
		}
		addBounded(t.causes[k], cause, 1)
	}
}

func addBounded(to map[string]int, what string, n int) {
	if _, ok := to[what]; !ok && len(to) >= maxCauses {
		what = "others"
	}
	to[what] += n
}

// inOrder returns the kinds, worst standing first.
func inOrder(counts map[kind]int) []kind {
	return slices.SortedFunc(maps.Keys(counts), func(a, b kind) int {
		return cmp.Or(cmp.Compare(slices.Index(worstFirst, a.standing), slices.Index(worstFirst, b.standing)), strings.Compare(a.class, b.class))
	})
}

func sum[K comparable](counts map[K]int, count func(K) bool) (n int) {
	for k, c := range counts {
		if count(k) {
			n += c
		}
	}
	return n
}
