package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares with a file that a reviewer can read.
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
		t.Errorf("%s: run go test -update and look at what git shows\n%s", path, got)
	}
}

// own are the formats whose golden files are kept beside their code.
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
				t.Errorf("%s as %s: well is %t\n%s", name, format, looksWell(format, s, got), got)
			}
		}
	}
}

// cutAfter is what a killed process leaves.
func cutAfter(raw []byte, lines int) []byte {
	return bytes.Join(bytes.SplitAfter(raw, []byte("\n"))[:lines], nil)
}

// looksWell reports whether a reader of the format would take it that all is well.
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
		return !has("registry.example.com") && !has("not come to its end")
	}
	return s.End.Well // a format of another test
}
