package report

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// What was saved is read as it was written, or not at all.
func TestLoadRefusesWhatWasChanged(t *testing.T) {
	t.Parallel()
	raw := verifySample(t, "registry.example.com/team/app", "a reason")
	lines := bytes.SplitAfter(raw, []byte("\n"))
	lines = lines[:len(lines)-1] // nothing is behind the last
	join := func(l ...[]byte) []byte { return bytes.Join(l, nil) }
	swapped := append([][]byte{}, lines...)
	swapped[3], swapped[4] = swapped[4], swapped[3]
	for name, bad := range map[string][]byte{
		"nothing":                 nil,
		"cut in a line":           raw[:len(raw)/2],
		"cut in the end":          raw[:len(raw)-20],
		"a line left out":         join(append(append([][]byte{}, lines[:4]...), lines[5:]...)...),
		"lines swapped":           join(swapped...),
		"a line twice":            join(append(append([][]byte{}, lines[:5]...), lines[4:]...)...),
		"no head":                 join(lines[1:]...),
		"two heads":               join(append([][]byte{lines[0]}, lines...)...),
		"lines behind the end":    join(raw, lines[2]),
		"two results":             join(raw, raw),
		"a class changed":         bytes.Replace(raw, []byte(`"class":"conflict"`), []byte(`"class":"agree"`), 1),
		"a reason changed":        bytes.Replace(raw, []byte("a reason"), []byte("another"), 1),
		"the verdict changed":     bytes.Replace(raw, []byte(`"sum":"`), []byte(`"sum":"0`), 1),
		"another version":         bytes.Replace(raw, []byte(`"version":1`), []byte(`"version":2`), 1),
		"another kind":            bytes.Replace(raw, []byte(ResultKind), []byte(RunKind), 1),
		"a key twice":             bytes.Replace(raw, []byte(`"version":1`), []byte(`"version":1,"version":1`), 1),
		"not UTF-8":               bytes.Replace(raw, []byte("a reason"), []byte("\xff"), 1),
		"a row before a section":  join(lines[0], lines[2]),
		"a row of another":        join(lines[0], lines[1], bytes.Replace(lines[2], []byte("team/app"), []byte("team/web"), 1)),
		"a row of one not read":   join(lines[0], []byte(`{"repository":{"repository":"registry.example.com/team/app","class":"unknown"}}`+"\n"), lines[2]),
		"a line that is two":      join(lines[0], []byte(`{"end":{},"row":{}}`+"\n")),
		"an endless line":         append(bytes.Clone(lines[0]), bytes.Repeat([]byte("x"), maxLine+1)...),
		"another program's lines": []byte(`{"level":"info"}` + "\n"),
	} {
		if _, err := Load(opener(bad)); !errors.Is(err, ErrNoResult) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(opener(bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n")))); err != nil {
		t.Errorf("with the line ends of Windows: %v", err)
	}
}

// An end that does not follow from the rows was not written by this program.
func TestLoadTakesNoFilesWord(t *testing.T) {
	t.Parallel()
	agreed := verify.Repository{GUN: "registry.example.com/a", Tags: []verify.Row{{Tag: "v1", Class: verify.Agree}}}
	for name, c := range map[string]struct {
		raw     []byte
		refused bool
	}{
		"well with a conflict":        {recorded(t, OfVerify, func(to Sink) { must(t, Verified(to, verifications("a", "b")[0])) }, End{Well: true, Complete: true}), false},
		"well and not complete":       {recorded(t, OfVerify, func(to Sink) { must(t, Verified(to, agreed)) }, End{Well: true}), false},
		"well with an unread":         {recorded(t, OfRun, func(to Sink) { must(t, Read(to, news("a", "b")[1])) }, End{Well: true, Complete: true}), false},
		"well with some left":         {recorded(t, OfRun, func(to Sink) { must(t, Settled(to, outcomes("a", "b")[7])) }, End{Well: true, Complete: true}), false},
		"not well, and nothing amiss": {recorded(t, OfVerify, func(to Sink) { must(t, Verified(to, agreed)) }, End{Complete: true}), false},
		"a class of later":            {recorded(t, OfRun, func(to Sink) { must(t, to.Row(Row{Class: "skipped", Cause: "of-later", Standing: Well})) }, End{Well: true, Complete: true}), false},
		"nothing compared":            {recorded(t, OfVerify, func(Sink) {}, End{Well: true, Complete: true}), true},
		"a deleted one, and others unread": {recorded(t, OfVerify, func(to Sink) {
			must(t, Verified(to, verify.Repository{GUN: "registry.example.com/a", Deleted: true}))
			must(t, Verified(to, verifications("a", "b")[5]))
		}, End{Well: true, Complete: true}), false},
		"one with no rows that was not deleted": {recorded(t, OfVerify, func(to Sink) {
			must(t, Verified(to, verify.Repository{GUN: "registry.example.com/a"}))
		}, End{Well: true, Complete: true}), true},
		"complete with an error":              {recorded(t, OfVerify, func(to Sink) { must(t, Verified(to, agreed)) }, End{Complete: true, Error: "x"}), true},
		"complete with fewer rows than items": {recorded(t, OfRun, func(Sink) {}, End{Complete: true, Well: true, Items: 3}), true},
	} {
		s, err := Load(opener(c.raw))
		if c.refused {
			if !errors.Is(err, ErrNoResult) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		must(t, err)
		for _, format := range Formats() {
			if format == "csv" || format == "junit" {
				continue // they list rows and their standing, and say nothing of the whole
			}
			if text := rendered(t, format, s); looksWell(format, s, text) && format != "failures" {
				t.Errorf("%s looks well as %s:\n%s", name, format, text)
			}
		}
	}
}

// Of a repository that was deleted nothing may be left to compare: its result is whole, well, and says so.
func TestResultOfADeletedRepository(t *testing.T) {
	t.Parallel()
	s := loaded(t, recorded(t, OfVerify, func(to Sink) {
		must(t, Verified(to, verify.Repository{GUN: "registry.example.com/a", Deleted: true}))
	}, End{Well: true, Complete: true}))
	if !s.End.Complete || !s.End.Well {
		t.Errorf("got %+v, want it complete and well", s.End)
	}
	for _, format := range []string{"text", "html"} {
		if text := rendered(t, format, s); !strings.Contains(text, "deleted from Notary") {
			t.Errorf("%s: got %s, want that it was deleted", format, text)
		}
	}
}

// A file that changes between two reads gives no report that looks whole.
func TestEachRefusesAFileThatChanges(t *testing.T) {
	t.Parallel()
	raw := wellSample(t, OfVerify)
	now := raw
	s, err := Load(func() (io.ReadCloser, error) { return opener(now)() })
	must(t, err)
	now = cutAfter(raw, 2)
	for _, format := range Formats() {
		if err := Render(io.Discard, format, s, shown); !errors.Is(err, ErrNoResult) {
			t.Errorf("%s: %v", format, err)
		}
	}
}

// A digest with as many tags as a nightly build makes in years is no trouble.
func TestLongLinesAreReadBack(t *testing.T) {
	t.Parallel()
	tags := make([]string, 20_000)
	for i := range tags {
		tags[i] = strings.Repeat("t", 100)
	}
	s := loaded(t, recorded(t, OfRun, func(to Sink) {
		must(t, Settled(to, &migrate.Outcome{Repository: "a", Tags: tags, Result: migrate.ResultSigned}))
	}, End{Complete: true, Well: true}))
	if !s.End.Well {
		t.Error("not well")
	}
	l, err := NewLines(io.Discard, NewHead(OfRun, "", "", began))
	must(t, err)
	if err := l.Row(Row{Reason: strings.Repeat("r", maxLine)}); err == nil {
		t.Error("a line was written that cannot be read")
	}
}
