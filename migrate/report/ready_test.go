package report

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/migrate/verify"
)

// A saved result of ready looks well in a format only if every gate holds, whatever its own verdict
// says. It is written again unchanged.
func TestSavedGates(t *testing.T) {
	t.Parallel()
	gate := func(id string, st verify.GateState) verify.Gate {
		return verify.Gate{ID: id, Title: "title of " + id, State: st, Evidence: []string{hostile, "2 repositories"}, Count: 30, Hint: "do " + id}
	}
	holds, fails, open := gate("agreed", verify.Holds), gate("listed", verify.Fails), gate("clients", verify.Open)
	for name, c := range map[string]struct {
		gates []verify.Gate
		class string
		end   End
		mood  string
		says  string
	}{
		"ready":               {[]verify.Gate{holds}, "agree", End{Complete: true, Well: true}, "good", "Ready: all 1 gates hold"},
		"ready, with waivers": {[]verify.Gate{holds}, "missing", End{Complete: true}, "unsure", "Ready: all 1 gates hold"},
		"a gate fails":        {[]verify.Gate{holds, fails}, "agree", End{Complete: true, Well: true}, "bad", "Not ready: of 2 gates 1 failed"},
		"one is open":         {[]verify.Gate{holds, open}, "agree", End{Complete: true, Well: true}, "unsure", "Not ready: of 2 gates 0 failed"},
		"unknown state":       {[]verify.Gate{holds, gate("x", "splendid")}, "agree", End{Complete: true, Well: true}, "unsure", "Not ready: of 2 gates"},
		"did not finish":      {[]verify.Gate{holds}, "agree", End{Error: "stopped"}, "unsure", "Did not finish"},
	} {
		r := NewReady("test/1", c.gates, noon, noon.AddDate(0, 0, 8))
		r.Ready = true // what the file claims
		s := saved(t, OfVerify, func(l *Lines) error {
			return errors.Join(l.Section(Section{Repository: "example.com/a"}), l.Row(Row{Repository: "example.com/a", Tags: []string{"v1"}, Class: c.class}), l.Ready(r))
		}, c.end)
		for _, format := range Formats() {
			text := rendered(t, format, s)
			ready := c.mood == "good" || name == "ready, with waivers"
			if well := c.mood == "good"; own[format] || format == "csv" || format == "failures" { // these show only rows
				continue
			} else if format == "text" && strings.Contains(text, "\nready: ") != ready || format == "json" && strings.Contains(text, `"ready": true`) != ready ||
				format != "text" && format != "json" && format != "markdown" && format != "junit" && looksWell(format, s, text) != well {
				t.Errorf("%s as %s: got well other than %t\n%s", name, format, well, text)
			}
			if format == "junit" && (strings.Contains(text, "<failure") || strings.Contains(text, "<error")) == (s.Ready.Ready && c.class == "agree" && c.end.Complete) {
				t.Errorf("%s: got\n%s\nwant a failure or error where a gate does not hold", name, text)
			}
			if format == "markdown" && !strings.Contains(text, "# dct2notation verify: "+strings.ToLower(c.says[:1])+c.says[1:]) {
				t.Errorf("%s: got\n%s\nwant the verdict %s", name, text, c.says)
			}
			calm(t, text)
		}
		if again := loaded(t, []byte(rendered(t, "jsonl", s))); again.Ready == nil || len(again.Ready.Gates) != len(c.gates) || again.End.Well != s.End.Well {
			t.Errorf("%s: got %+v, want the gates written again", name, again)
		}
		page := asPage(t, s, Options{})
		for _, want := range []string{`class="verdict ` + c.mood + `"`, `<strong class="judgement">` + c.says, "8 days to 2026-10-13"} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: got a page without %s, want it", name, want)
			}
		}
		for _, g := range c.gates {
			if !strings.Contains(page, "title of "+g.ID) || strings.Contains(page, "do "+g.ID) == (g.State == verify.Holds) || !strings.Contains(page, "and 28 more") {
				t.Errorf("%s: got a page without the gate %s, its evidence and its hint, want them", name, g.ID)
			}
		}
	}
	// A file that was cut after its gates has no gates, and neither has a run.
	r := NewReady("test/1", []verify.Gate{holds}, noon, noon)
	raw := recorded(t, OfVerify, func(to Sink) { must(t, to.(*Lines).Ready(r)) }, End{})
	if s := loaded(t, cutAfter(raw, 2)); s.Ready != nil || s.End.Well {
		t.Errorf("got %+v of a file that was cut, want no gates", s)
	}
	for _, raw := range [][]byte{
		recorded(t, OfRun, func(to Sink) { must(t, to.(*Lines).Ready(r)) }, End{}),
		recorded(t, OfVerify, func(to Sink) { must(t, to.(*Lines).Ready(NewReady("test/1", nil, noon, noon))) }, End{}),
		recorded(t, OfVerify, func(to Sink) { must(t, to.(*Lines).Ready(r)); must(t, to.(*Lines).Ready(r)) }, End{}),
	} {
		if _, err := Load(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }); !errors.Is(err, ErrNoResult) {
			t.Errorf("got %v for gates out of place, want %v", err, ErrNoResult)
		}
	}
}

// Servers choose the names in the evidence, but cannot forge the gates around them.
func TestReadyRendersNothingHostile(t *testing.T) {
	t.Parallel()
	gate := verify.Gate{ID: "agreed", Title: "both sides agree", State: verify.Fails, Evidence: []string{hostile, "`|\n- [x] **holds** (`agreed`)"}, Count: 3, Hint: hostile}
	r := NewReady("test/1", []verify.Gate{gate, {ID: "clients", Title: "unset", Manual: true, State: verify.Open}}, time.Unix(1, 0), time.Unix(2, 0))
	var text, markdown bytes.Buffer
	if err := ReadyText(&text, r); err != nil {
		t.Fatal(err)
	}
	if err := ReadyMarkdown(&markdown, r); err != nil {
		t.Fatal(err)
	}
	calm(t, text.String())
	calm(t, markdown.String())
	if r.Ready || !strings.Contains(text.String(), "not ready: of 2 gates 1 failed, 0 could not be found out, 1 open; 0 hold") || !strings.Contains(text.String(), "and 1 more") {
		t.Errorf("got ready %t\n%s\nwant not ready, of 2 gates 1 failed and 1 open, and 1 more", r.Ready, text.String())
	}
	for line := range strings.Lines(markdown.String()) {
		if strings.HasPrefix(strings.TrimSpace(line), "- [x]") {
			t.Errorf("ticked by a name: got %q, want none", line)
		}
	}
}
