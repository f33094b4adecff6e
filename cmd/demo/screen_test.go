package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestFoldCountsWhatItLeavesOut(t *testing.T) {
	t.Parallel()
	in := []string{
		"h/a  root pinned by config",
		"  sign     x  1", "  sign     x  2", "  sign     x  3 [legacy-targets]", "  sign     x  4", "  skip     x  5",
		"    missing: gone", "  sign     x  6 (moved to y)", "  sign     x  7",
		"",
		"h/b  root pinned by config",
		"  sign     x  8",
	}
	want := []string{
		"h/a  root pinned by config",
		"  sign     x  1", "  sign     x  2", "  sign     x  3 [legacy-targets]", "  skip     x  5",
		"    missing: gone", "  sign     x  6 (moved to y)",
		"  sign: and 2 more",
		"",
		"h/b  root pinned by config",
		"  sign     x  8",
	}
	if got := fold(in); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWrapKeepsEveryWord(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"short":     "  a b",
		"long":      "    " + strings.Repeat("word ", 60) + "end",
		"one word":  "  " + strings.Repeat("x", 3*width),
		"word last": "  verified  " + strings.Repeat("x", width),
		"empty":     "",
	} {
		got := wrap(line)
		if !slices.Equal(strings.Fields(strings.Join(got, " ")), strings.Fields(line)) {
			t.Errorf("%s: words differ: %q", name, got)
		}
		for _, l := range got {
			if len(l) > width && len(strings.Fields(l)) > 1 {
				t.Errorf("%s: %d columns: %q", name, len(l), l)
			}
		}
	}
}

func TestCommandIsOneThatCanBeTyped(t *testing.T) {
	t.Parallel()
	args := []string{"dct2notation", "verify", "--config", "migration.yaml", "--notary-server", "https://127.0.0.1:40000", "-o", "json", ">", "verify.json"}
	var out bytes.Buffer
	(&screen{out: &out}).command(args...)
	typed := strings.ReplaceAll(strings.TrimPrefix(out.String(), "$ "), "\\\n", " ")
	if got := strings.Fields(typed); !slices.Equal(got, args) {
		t.Errorf("got %q, want %q", got, args)
	}
	for l := range strings.Lines(out.String()) {
		if strings.HasSuffix(strings.TrimRight(l, " \\\n"), "json >") || strings.HasPrefix(strings.TrimSpace(l), "https:") {
			t.Errorf("a flag is cut from its value: %q", l)
		}
	}
}

func TestShortenLeavesOtherNumbersAlone(t *testing.T) {
	t.Parallel()
	sum := strings.Repeat("0123456789abcdef", 4)
	for in, want := range map[string]string{
		"sha256:" + sum + "  1.0": "sha256:0123456789ab..  1.0",
		sum[:63] + " x":           sum[:63] + " x",
		sum + "0":                 sum + "0",
	} {
		if got := shorten(in); got != want {
			t.Errorf("%s: got %s", in, got)
		}
	}
}
