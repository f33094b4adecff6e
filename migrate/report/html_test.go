package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

func asPage(t *testing.T, s *Saved, o Options) string {
	t.Helper()
	o.Now = noon
	var b bytes.Buffer
	if err := Render(&b, "html", s, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// dataOf reads the rows from a page: for each, a list of texts by column.
func dataOf(t *testing.T, page string) (columns []string, rows [][]string, facts map[string][][2]string) {
	t.Helper()
	_, raw, ok := strings.Cut(page, `<script type="application/json" id="data">`)
	raw, _, ended := strings.Cut(raw, "<")
	if !ok || !ended {
		t.Fatal("the page: got no data, want some")
	}
	var data struct {
		Columns []string          `json:"columns"`
		Lines   []json.RawMessage `json:"lines"`
	}
	if err := json.Unmarshal([]byte(raw), &data); err != nil {
		t.Fatalf("data %.200s: got %v, want JSON", raw, err)
	}
	sent, facts := make([][]string, len(data.Columns)), map[string][][2]string{}
	for _, line := range data.Lines {
		var k known
		if line[0] == '{' {
			if err := json.Unmarshal(line, &k); err != nil {
				t.Fatal(err)
			}
			facts[k.Repository] = k.Facts
			continue
		}
		var cells []any
		if err := json.Unmarshal(line, &cells); err != nil || len(cells) != len(data.Columns) {
			t.Fatalf("row %s: got %d cells, %v, want %d", line, len(cells), err, len(data.Columns))
		}
		row := make([]string, len(cells))
		for i, c := range cells {
			switch c := c.(type) {
			case string:
				sent[i] = append(sent[i], c)
				row[i] = c
			case float64:
				row[i] = sent[i][int(c)]
			}
		}
		rows = append(rows, row)
	}
	return data.Columns, rows, facts
}

// The page shows exactly what was saved.
func TestPageHasAllRows(t *testing.T) {
	t.Parallel()
	for _, of := range []string{OfRun, OfVerify} {
		s := saved(t, of, many(4500), End{Complete: true})
		columns, rows, facts := dataOf(t, asPage(t, s, Options{}))
		i := 0
		err := s.Each(func(one Section) error {
			if !slices.Contains(facts[one.Repository], [2]string{"root vouched for by", "configuration"}) {
				t.Errorf("%s: got facts %q, want the root vouched for by configuration", one.Repository, facts[one.Repository])
			}
			return nil
		}, func(r Row) error {
			want := map[string]string{"repository": r.Repository, "tags": r.Tags[0], "digest": r.Digest, "registry": r.Registry, "class": r.Class, "standing": string(r.Standing), "reason": r.Reason, "role": r.Role, "bound": "true", "expires": "2027-10-05T12:00:00Z"}
			if r.Registry == r.Digest {
				want["registry"] = sameDigest
			}
			for at, name := range columns {
				if rows[i][at] != want[name] {
					t.Fatalf("row %d: %s: got %q, want %q", i, name, rows[i][at], want[name])
				}
			}
			if len(want) != len(columns) {
				t.Fatalf("got columns %q, want %d", columns, len(want))
			}
			i++
			return nil
		})
		if err != nil || i != len(rows) {
			t.Errorf("%s: got %d rows, %v, want %d", of, i, err, len(rows))
		}
	}
}

// A note about a repository has a row and a line in the totals, and is listed where no script runs.
func TestPageTellsWhatWasNotRead(t *testing.T) {
	t.Parallel()
	s := saved(t, OfVerify, func(l *Lines) error {
		return errors.Join(
			l.Section(Section{Repository: "example.com/gone", Class: "untrusted", Reason: "no root"}),
			l.Section(Section{Repository: "example.com/half", Unknown: true, Reason: "tags were not listed"}),
			l.Row(Row{Repository: "example.com/half", Tags: []string{"v1"}, Class: "agree"}),
		)
	}, End{Complete: true, Well: true})
	page := asPage(t, s, Options{})
	_, rows, _ := dataOf(t, page)
	if len(rows) != 3 || !slices.Contains(rows[0], "trust data: untrusted") || !slices.Contains(rows[1], "not looked at") {
		t.Errorf("got rows %q, want 3, the first untrusted, the second not looked at", rows)
	}
	for _, want := range []string{">trust data not read<", ">not looked at<", "<td class=\"reason\">no root</td>", `class="verdict bad"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page: got none of %s, want it", want)
		}
	}
}

// The page is green and says that all is well only if it is.
func TestPageIsGreenOnlyWhereAllIsWell(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		class string
		end   End
		mood  string
	}{
		"well":              {"agree", End{Well: true, Complete: true}, "good"},
		"cut":               {"agree", End{Well: true}, "unsure"},
		"with an error":     {"agree", End{Well: true, Error: "x"}, "unsure"},
		"not well":          {"agree", End{Complete: true}, "unsure"},
		"unknown":           {"unknown", End{Well: true, Complete: true}, "unsure"},
		"a problem":         {"conflict", End{Well: true, Complete: true}, "bad"},
		"a class of others": {"splendid", End{Well: true, Complete: true}, "bad"},
	} {
		s := saved(t, OfVerify, func(l *Lines) error {
			return errors.Join(l.Section(Section{Repository: "example.com/a"}), l.Row(Row{Repository: "example.com/a", Tags: []string{"v1"}, Class: c.class}))
		}, c.end)
		page := asPage(t, s, Options{})
		if !strings.Contains(page, `class="verdict `+c.mood+`"`) {
			t.Errorf("%s: got %q, want verdict %s", name, regexp.MustCompile(`class="verdict \w+"`).FindString(page), c.mood)
		}
		if said := strings.Contains(page, "sets agree"); said != (c.mood == "good") {
			t.Errorf("%s: says that the sets agree: got %t, want %t", name, said, c.mood == "good")
		}
	}
}

// Promise 7, for the page: no text ends the element or attribute that contains it.
// internal/e2e/browser tests this in a browser.
func TestPageTakesNothingForMarkup(t *testing.T) {
	t.Parallel()
	texts := []string{hostile, `</script><script>alert(1)</script>`, `<!--<script>`, `"><img src=x onerror=alert(1)>`, `' onfocus='alert(1)`, "javascript:alert(1)", "\u2028\u2029\u0085]]>", "{{.Policy}}", "__proto__", strings.Repeat("x", 5000)}
	harmless := saved(t, OfVerify, fillAll("harmless"), End{Error: "harmless"})
	want := elements(asPage(t, harmless, Options{History: []Past{{Ended: noon.Add(-time.Hour), Totals: map[string]int{"x": 1}}}}))
	for _, text := range texts {
		s := saved(t, OfVerify, fillAll(text), End{Error: text})
		page := asPage(t, s, Options{History: []Past{{Ended: noon.Add(-time.Hour), Totals: map[string]int{text: 1}}}})
		if got := elements(page); got != want {
			t.Errorf("%.40q: got the page's elements\n%s\nwant\n%s", text, got, want)
		}
		if _, rows, _ := dataOf(t, page); len(rows) != 2 || !slices.Contains(rows[1], safetext.Safe(strings.ToValidUTF8(text, "\ufffd"), maxName)) {
			t.Errorf("%.40q: got rows %.400q, want 2, the second with the text made safe", text, rows)
		}
		for _, r := range page {
			if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029') {
				t.Errorf("the page of %.40q: got %q, want no such character", text, r)
			}
		}
	}
}

// fillAll puts the text wherever a result has text.
func fillAll(text string) func(l *Lines) error {
	return func(l *Lines) error {
		bound := true
		return errors.Join(
			l.Section(Section{Repository: text, Place: text, Class: text, Reason: text, PinnedBy: text, Expiries: []dct.Expiry{{Role: text, At: noon}}, Expired: []string{text}, Judged: dct.Judged{Roles: []string{text}, By: text}, Findings: map[string]int{text: 1}}),
			l.Section(Section{Repository: text}),
			l.Row(Row{Repository: text, Tags: []string{text, text}, Digest: text, Registry: text + "2", Class: text, Cause: text, Reason: text, Role: text, Key: text, Index: []string{text}, Platform: text, Bound: &bound, Expires: noon, Notes: []string{text}}),
		)
	}
}

// elements returns the names of a page's tags and their attributes, in order.
func elements(page string) string {
	var b strings.Builder
	for _, tag := range regexp.MustCompile(`(?s)<[!/a-zA-Z](?:[^>"']|"[^"]*"|'[^']*')*>`).FindAllString(page, -1) {
		b.WriteString(regexp.MustCompile(`"[^"]*"|'[^']*'`).ReplaceAllString(tag, `""`))
	}
	return b.String()
}

// The content security policy allows the page's own style and script, and the page requests
// nothing.
func TestPagePolicy(t *testing.T) {
	t.Parallel()
	page := asPage(t, saved(t, OfRun, many(50), End{}), Options{})
	content := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(page)
	if content == nil {
		t.Fatal("the page: got no policy, want one")
	}
	style, script := between(page, "<style>", "</style>"), between(page, `<script type="module">`, "</script>")
	want := "default-src 'none'; style-src " + sourceHash(style) + "; script-src " + sourceHash(script) + "; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
	if got := html.UnescapeString(content[1]); got != want || len(style) < 1000 || len(script) < 1000 {
		t.Errorf("policy: got  %s\nwant %s", got, want)
	}
	for _, bad := range []string{"http://", "https://", " src=", "url(http", "@import", "<link", "<img", "<iframe", " style=", " onclick", "innerHTML", "eval(", "<noscript"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page: got %s in it, want none", bad)
		}
	}
	for _, href := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(href[1], "#") {
			t.Errorf("got a link to %s, want it within the page", href[1])
		}
	}
	for _, text := range []string{style, script} {
		if strings.Contains(text, "\r") || strings.Contains(text, "</") {
			t.Error("got a text that a browser would read otherwise than the policy's hash, want none")
		}
	}
}

func between(s, begin, end string) string {
	_, s, _ = strings.Cut(s, begin)
	s, _, _ = strings.Cut(s, end)
	return s
}

func TestPageIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	s := saved(t, OfVerify, many(300), End{})
	if first := asPage(t, s, Options{}); first != asPage(t, s, Options{}) {
		t.Error("got two pages of the same result that differ, want the same")
	}
}

// many writes n rows of 20 repositories, each with texts of its own.
func many(n int) func(l *Lines) error {
	return func(l *Lines) error {
		bound := true
		for i := range n {
			repository := fmt.Sprintf("registry.example.com/team/service-%02d", i*20/n)
			if i*20/n != (i-1)*20/n || i == 0 {
				if err := l.Section(Section{Repository: repository, PinnedBy: "configuration", Expiries: []dct.Expiry{{Role: "targets", At: noon.AddDate(0, 0, i%400)}}}); err != nil {
					return err
				}
			}
			d := fmt.Sprintf("sha256:%064x", i*7919)
			r := Row{Repository: repository, Tags: []string{fmt.Sprintf("v1.%d", i)}, Digest: d, Registry: d, Class: "agree", Role: "targets/releases", Bound: &bound, Expires: noon.AddDate(1, 0, 0)}
			if i%3 == 0 {
				r.Class, r.Registry = "tag-moved", fmt.Sprintf("sha256:%064x", i*104729)
				r.Reason = "the registry has " + r.Registry + " under this tag"
			}
			if err := l.Row(r); err != nil {
				return err
			}
		}
		return nil
	}
}

// A page of 50,000 rows, each with texts of its own, is smaller than 15 MB. No rows are kept in
// memory while it is written. internal/e2e/browser tests that many; this test has fewer because the
// race detector is slow with them.
func TestPageOfManyRows(t *testing.T) { // not parallel: it measures memory
	few, _ := mostHeld(t, 5_000)
	lots, size := mostHeld(t, 12_000)
	if lots > few+2<<20 {
		t.Errorf("memory: got %d kB, then %d kB of more rows, want at most %d kB", few>>10, lots>>10, (few+2<<20)>>10)
	}
	if size > 15<<20*12/50 {
		t.Errorf("the page: got %d bytes, want at most %d", size, 15<<20*12/50)
	}
}

// mostHeld returns the most additional memory in use while a page of n rows is written, and the
// size of the page.
func mostHeld(t *testing.T, n int) (most, size int) {
	t.Helper()
	s := saved(t, OfVerify, many(n), End{Complete: true})
	m := &meter{every: 128 << 10}
	before := inUse()
	if err := Render(m, "html", s, Options{Now: noon}); err != nil {
		t.Fatal(err)
	}
	return m.most - before, m.size
}

// meter measures the memory in use while it is written to.
type meter struct{ every, size, next, most int }

func (m *meter) Write(p []byte) (int, error) {
	if m.size += len(p); m.size >= m.next {
		m.most, m.next = max(m.most, inUse()), m.size+m.every
	}
	return len(p), nil
}

func inUse() int {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}
