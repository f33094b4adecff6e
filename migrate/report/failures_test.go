package report

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate"
)

func readFailures(text string) (*Failures, error) {
	return ReadFailures(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil })
}

func listOf(f *Failures) []string {
	var all []string
	for _, n := range f.Named {
		all = append(all, n.String())
	}
	return all
}

// A list of failures names the same images in every format in which it was saved.
func TestFailuresAreTheSameInEachFormat(t *testing.T) {
	t.Parallel()
	const app = "registry.example.com/team/app"
	for name, c := range map[string]struct {
		raw  []byte
		want []string
	}{
		"run": {runSample(t, app, hostile), []string{
			"registry.example.com/team/lost", "registry.example.com/team/busy",
			app + "@" + digestOf("v1").String(), app + "@" + digestOf("odd").String(),
		}},
		"verify": {verifySample(t, app, hostile), slices.Concat(
			slices.Repeat([]string{app + "@" + digestOf("v1").String()}, 8), // one more tag has no digest, and no name that a registry could have
			[]string{"registry.example.com/team/forged", "registry.example.com/team/old", "registry.example.com/team/busy"})},
		"well": {wellSample(t, OfRun), nil},
	} {
		s := loaded(t, c.raw)
		for _, format := range []string{"failures", "jsonl", "json"} {
			got, err := readFailures(rendered(t, format, s))
			if err != nil || !got.Whole {
				t.Errorf("%s as %s: got %+v, %v, want it whole", name, format, got, err)
				continue
			}
			list, want := listOf(got), slices.Clone(c.want)
			slices.Sort(list)
			slices.Sort(want)
			if !slices.Equal(list, want) {
				t.Errorf("%s as %s: got\n%q\nwant\n%q", name, format, list, want)
			}
		}
	}
}

// An incomplete list says so, or is refused.
func TestFailuresThatAreNotAll(t *testing.T) {
	t.Parallel()
	cut, err := readFailures(string(cutAfter(runSample(t, "registry.example.com/a", "x"), 4)))
	if err != nil || cut.Whole {
		t.Errorf("cut lines: got %+v, %v, want a part", cut, err)
	}
	var long Run
	for range maxListed + 1 {
		long.Add(&migrate.Outcome{Repository: "registry.example.com/a", Digest: digestOf("a").String(), Result: migrate.ResultFailed, Class: failure.Denied})
	}
	long.Close(migrate.Summary{Items: maxListed + 1}, nil, ended)
	var b strings.Builder
	must(t, JSON(&b, &long))
	if _, err := readFailures(b.String()); err == nil || !strings.Contains(err.Error(), "does not list all") {
		t.Errorf("a list that was too long: got %v, want that it does not list all", err)
	}
	early := Run{Results: map[migrate.Result]int{}}
	early.Close(migrate.Summary{Items: 3, Drained: true}, nil, ended)
	b.Reset()
	must(t, JSON(&b, &early))
	if got, err := readFailures(b.String()); err != nil || got.Whole {
		t.Errorf("ended early: got %+v, %v, want a part", got, err)
	}
}

func TestFailuresWrittenByHand(t *testing.T) {
	t.Parallel()
	d := digestOf("x").String()
	got, err := readFailures("# all of these\r\n\r\nalpine\n  host:5000/a/b:v1   # why\nhost:5000/a:v1@" + d + "\n")
	must(t, err)
	want := []string{"docker.io/library/alpine", "host:5000/a/b:v1", "host:5000/a@" + d}
	if list := listOf(got); !slices.Equal(list, want) {
		t.Errorf("got %q, want %q", list, want)
	}
	for bad, says := range map[string]string{
		"a\n\na/B/c\n":              "line 3",
		"a b\n":                     "line 1",
		"a:\x1b[31m\n":              `line 1: a:\x1b[31m`,
		"a@sha256:12\n":             "line 1",
		"registry.example.com/*\n":  "line 1",
		"{}":                        "it takes a result",
		`{"version":1,"version":2}`: "twice",
		`{"version":1,"kind":"dct2notation.plan"}`: "it takes a result",
		strings.Repeat("x", 2*maxFailure):          "line 1",
		"{\"head\":{}}\n":                          "line 1",
	} {
		if _, err := readFailures(bad); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%.40q: got %v, want %q", bad, err, says)
		}
	}
}
