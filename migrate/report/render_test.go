package report

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/dct2notation/dct2notation/internal/strictjson"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares the output with a golden file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, []byte(got)) {
		t.Errorf("%s: run go test -update and look at what git shows: got\n%s\nwant\n%s", path, got, want)
	}
}

// own are the formats whose golden files are beside their code.
var own = map[string]bool{"html": true}

func TestFormats(t *testing.T) {
	t.Parallel()
	const app = "registry.example.com/team/app"
	for name, raw := range map[string][]byte{
		"run": runSample(t, app, hostile), "verify": verifySample(t, app, hostile),
		"run-well": wellSample(t, OfRun), "verify-well": wellSample(t, OfVerify),
		"run-cut": cutAfter(runSample(t, app, "a reason"), 3), "verify-cut": cutAfter(verifySample(t, app, "a reason"), 3),
	} {
		s := loaded(t, raw)
		for _, format := range Formats() {
			if own[format] || format == "jsonl" && strings.HasSuffix(name, "-cut") {
				continue
			}
			got := rendered(t, format, s)
			golden(t, name+"."+format, got)
			if strings.HasSuffix(name, "-well") != looksWell(format, s, got) {
				t.Errorf("%s as %s: got well %t, want %t\n%s", name, format, looksWell(format, s, got), strings.HasSuffix(name, "-well"), got)
			}
		}
	}
}

// cutAfter returns what a killed process leaves behind.
func cutAfter(raw []byte, lines int) []byte {
	return bytes.Join(bytes.SplitAfter(raw, []byte("\n"))[:lines], nil)
}

// looksWell reports whether a reader of the format would conclude that all is well.
func looksWell(format string, s *Saved, text string) bool {
	has := func(part string) bool { return strings.Contains(text, part) }
	switch format {
	case "text":
		return s.Head.Of == OfRun && !has("not complete") || has("the signature sets agree\n")
	case "json":
		return has(`"complete": true`) || has(`"complete":true,"agree":true`)
	case "jsonl":
		return has(`"well":true`)
	case "csv":
		return !has(",problem,") && !has(",unknown,") && !has(",not-asked,")
	case "junit":
		return !has("<failure") && !has("<error") && !has("not-asked")
	case "markdown":
		return has(": complete\n") || has(": the signature sets agree\n")
	case "prometheus":
		return has("_well 1\n")
	case "failures":
		return !has("registry.example.com") && !has("did not finish")
	}
	return s.End.Well // a format that another test covers
}

// parsers read each format as its consumers do. They return an error if a consumer would take text
// for anything else.
var parsers = map[string]func(text string) error{
	"csv": parseCSV, "junit": parseJUnit, "prometheus": parsePrometheus, "json": parseJSON, "jsonl": parseJSONLines, "failures": parseFailures,
}

func parseJSON(text string) error { return strictjson.Check([]byte(text)) }

func parseJSONLines(text string) error {
	for line := range strings.Lines(text) {
		if err := strictjson.Check([]byte(line)); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	return nil
}

// parseFailures checks that no name or reason added a line.
func parseFailures(text string) error {
	f, err := readFailures(text)
	if err != nil {
		return err
	}
	lines := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			lines++
		}
	}
	if len(f.Named) != lines || lines > 11 { // as many as in the samples
		return fmt.Errorf("%d lines, %d names", lines, len(f.Named))
	}
	return nil
}

// formulas are characters that begin a formula in some spreadsheet.
const formulas = "=+-@＝＋－＠\t\r"

func parseCSV(text string) error {
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll() // checks that all have the same number of cells
	if err != nil {
		return err
	}
	if !slices.Equal(rows[0], csvColumns) {
		return fmt.Errorf("columns %q", rows[0])
	}
	for _, row := range rows {
		for _, cell := range row {
			// Where the comma is the decimal separator, the semicolon separates cells.
			for _, part := range strings.Split(cell, ";") {
				if begin := strings.TrimLeft(part, ` "`); begin != "" && strings.ContainsRune(formulas, []rune(begin)[0]) {
					return fmt.Errorf("%q is a formula", part)
				}
			}
		}
	}
	return nil
}

func parseJUnit(text string) error {
	var suites struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
		Suite    struct {
			Cases []struct {
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(text), &suites); err != nil {
		return err
	}
	failures, errs, skipped := 0, 0, 0
	for _, c := range suites.Suite.Cases {
		switch {
		case c.Failure != nil:
			failures++
		case c.Error != nil:
			errs++
		case c.Skipped != nil:
			skipped++
		}
	}
	if len(suites.Suite.Cases) != suites.Tests || failures != suites.Failures || errs != suites.Errors || skipped != suites.Skipped {
		return fmt.Errorf("%d cases, %d failures, %d errors, %d skipped, and it says %+v", len(suites.Suite.Cases), failures, errs, skipped, suites)
	}
	return nil
}

func parsePrometheus(text string) error {
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return err
	}
	for name := range families {
		if !strings.HasPrefix(name, "dct2notation_") {
			return fmt.Errorf("metric %q", name)
		}
	}
	return nil
}

// obeyed returns an error for text that a terminal obeys or that changes the reading order.
func obeyed(text string) error {
	for i, r := range text {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)) {
			return fmt.Errorf("%q at %d of %q", r, i, text[max(0, i-20):min(len(text), i+20)])
		}
	}
	return nil
}

var span = regexp.MustCompile("`[^`\n]*`")

// skeleton returns Markdown without its code spans: our own words, and the number of cells of each
// line. Tables are split before spans are looked for.
func skeleton(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		fmt.Fprintf(&b, "%d %s", strings.Count(line, "|"), span.ReplaceAllString(line, ""))
	}
	return b.String()
}

var samples = map[string]func(t testing.TB, repository, text string) []byte{"run": runSample, "verify": verifySample}

// skeletons returns the skeletons of the samples without hostile text.
func skeletons(t testing.TB) map[string]string {
	all := map[string]string{}
	for name, sample := range samples {
		all[name] = skeleton(rendered(t, "markdown", loaded(t, sample(t, "repository", "text"))))
	}
	return all
}

// wellFormed checks every format of results whose names and reasons are the given texts.
func wellFormed(t testing.TB, ours map[string]string, repository, text string) {
	t.Helper()
	for name, sample := range samples {
		s := loaded(t, sample(t, repository, text))
		for _, format := range Formats() {
			got := rendered(t, format, s)
			if format == "csv" {
				got = strings.ReplaceAll(got, "\r\n", "\n")
			}
			if format == "html" {
				got = strings.ReplaceAll(got, "\t", " ") // its template may be indented
			}
			if err := obeyed(got); err != nil {
				t.Errorf("%s as %s: got %v, want nothing that a terminal obeys", name, format, err)
			}
			if parse := parsers[format]; parse != nil {
				if err := parse(got); err != nil {
					t.Errorf("%s as %s: got %v, want it parsed\n%s", name, format, err, got)
				}
			}
			if format == "markdown" {
				if want := ours[name]; skeleton(got) != want {
					t.Errorf("%s left its code span: got\n%s\nwant\n%s", name, skeleton(got), want)
				}
			}
		}
	}
}

// hostiles are texts that have a meaning to one of the consumers.
var hostiles = []string{
	hostile, "=HYPERLINK(\"http://evil\")", " +1", "x;=1+1", "x; \"@SUM(1)", "\t=1", "＝1", "-", "`", "``", "a`|b`", "| --- |", "\\|", "\\`",
	"]]>", "<!--", "</testcase>", "&lt;", "\x00", "\ufffe", "\U000e0041", "\u2028", "a\nb", "a\r\nb", "\n\n# all signed", "# HELP x", "\"} 1\nx 2", "\\", "\"", "'", ",", "${x}", "{{ x }}", "{% x %}",
	"[a](javascript:x)", "<script>", "@everyone", strings.Repeat("a", 5_000), " ", "é", "日本", "sha256:x", "a:b", "a@sha256:b", "::error::x", "##[error]x",
}

// Issue: hostile tags, annotations and messages harm no terminal, page, CSV, JUnit or Markdown.
func TestHostileTextHarmsNoFormat(t *testing.T) {
	t.Parallel()
	ours := skeletons(t)
	for _, text := range hostiles {
		wellFormed(t, ours, "registry.example.com/team/app", text)
	}
}

// FuzzFormats does the same with texts that no list has. Empty names show nothing.
func FuzzFormats(f *testing.F) {
	for i, text := range hostiles {
		f.Add(text, hostiles[len(hostiles)-1-i])
	}
	ours := skeletons(f)
	f.Fuzz(func(t *testing.T, repository, text string) {
		if repository == "" || text == "" || len(repository)+len(text) > 1<<14 {
			return
		}
		wellFormed(t, ours, repository, text)
	})
}

// If the reader goes away, rendering returns an error, in every format and however far it has read.
func TestRenderTellsOfAWriteThatFails(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string][]byte{"run": runSample(t, "a", "b"), "verify": verifySample(t, "a", "b")} {
		s := loaded(t, raw)
		for _, format := range Formats() {
			for _, room := range []int{0, 100, len(rendered(t, format, s)) - 1} {
				if err := Render(&full{room: room}, format, s, shown); !errors.Is(err, errFull) {
					t.Errorf("%s as %s into %d bytes: got %v, want %v", name, format, room, err, errFull)
				}
			}
		}
	}
}

type full struct{ room int }

var errFull = errors.New("no space left")

func (f *full) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}
