package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// chance makes random results from a seed.
type chance struct{ *rand.Rand }

func (c chance) text() string {
	return []string{"", "a", "registry.example.com/app", "two\nlines", "ü\u202e", "\x1b[31m"}[c.IntN(6)]
}

func (c chance) list() []string {
	var all []string
	for range c.IntN(3) {
		all = append(all, c.text())
	}
	return all
}

func pick[T any](c chance, from []T) T { return from[c.IntN(len(from))] }

// The saved result of a verification shows what the verification showed when it ended.
func TestVerificationIsShownAgainAsItWas(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		c := chance{rand.New(rand.NewPCG(seed, 1))}
		verbose := c.IntN(2) == 0
		var text, js bytes.Buffer
		var onScreen, again bytes.Buffer
		screen := Screen{Width: 60 + c.IntN(100), Quiet: c.IntN(4) == 0}
		live := []Verify{NewVerifyText(&text, verbose, shown.Now), NewVerifyJSON(&js, "dct2notation/test", ""), screen.Verify(&onScreen, shown.Now)}
		totals := Totals{}
		var failed error
		if c.IntN(4) == 0 {
			failed = errors.New("ended: " + c.text())
		}
		saved := savedVerification(t, c, live, totals, failed)
		for _, one := range live {
			must(t, one.End(totals, failed))
		}
		must(t, screen.Saved(&again, saved, shown.Now))
		checkScreen(t, seed, again.String(), onScreen.String())
		o := shown
		o.Verbose = verbose
		for format, want := range map[string]string{"text": text.String(), "json": js.String()} {
			var got bytes.Buffer
			must(t, Render(&got, format, saved, o))
			if got.String() != want {
				t.Fatalf("seed %d as %s: got\n%s\nwant\n%s", seed, format, got.String(), want)
			}
		}
		if saved.End.Well != (failed == nil && !totals.Disagree() && !totals.Unknown()) {
			t.Errorf("seed %d: got well %t, want %t: %v, %v", seed, saved.End.Well, !saved.End.Well, totals, failed)
		}
	}
}

// checkScreen compares what a terminal shows of a saved result with what it showed before. It also
// checks that no line controls the terminal.
func checkScreen(t *testing.T, seed uint64, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("seed %d on a screen: got\n%s\nwant\n%s", seed, got, want)
	}
	if i := strings.IndexFunc(got, func(r rune) bool { return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) }); i >= 0 {
		t.Fatalf("seed %d on a screen: got %q, want nothing that a terminal obeys", seed, got[i:])
	}
}

func savedVerification(t *testing.T, c chance, live []Verify, totals Totals, failed error) *Saved {
	var all []verify.Repository
	for i := range 1 + c.IntN(4) {
		all = append(all, randomRepository(c, i))
	}
	for _, r := range all {
		totals.Add(r)
		for _, one := range live {
			must(t, one.Repository(r))
		}
	}
	end := End{Complete: failed == nil, Well: failed == nil && !totals.Disagree() && !totals.Unknown()}
	if failed != nil {
		end.Error = failed.Error()
	}
	return loaded(t, recorded(t, OfVerify, func(to Sink) {
		for _, r := range all {
			must(t, Verified(to, r))
		}
	}, end))
}

func randomRepository(c chance, i int) verify.Repository {
	r := verify.Repository{GUN: fmt.Sprintf("registry.example.com/%d%s", i, c.text()), Place: c.text()}
	if c.IntN(4) == 0 {
		r.Class, r.Reason = pick(c, []verify.Class{verify.Unknown, verify.Untrusted, verify.Expired}), "x"+c.text()
		return r
	}
	r.PinnedBy, r.Expired, r.Totals = c.text(), c.list(), map[verify.Class]int{}
	if c.IntN(3) == 0 {
		r.Reason = "not looked at: " + c.text()
		r.Totals[verify.Unknown]++
	}
	if c.IntN(2) == 0 {
		r.Expiries, r.Judged = expiriesOf(), dct.Judged{Roles: []string{c.text()}, At: began, By: c.text()}
	}
	for range 1 + c.IntN(4) {
		tag := verify.Row{Tag: c.text(), Class: pick(c, classes), Reason: c.text(), Role: c.text(), Bound: c.IntN(2) == 0, Flags: c.list()}
		if c.IntN(2) == 0 {
			tag.DCT, tag.CertificateExpires = digestOf(c.text()), began.AddDate(0, 0, c.IntN(100))
		}
		if c.IntN(2) == 0 {
			tag.Registry = digestOf(c.text())
		}
		if c.IntN(3) > 0 {
			tag.Class = verify.Agree
		}
		if tag.Classes = []verify.Class{tag.Class}; !tag.Class.Agrees() && c.IntN(3) == 0 {
			tag.Classes = append(tag.Classes, verify.Unknown)
		}
		r.Tags = append(r.Tags, tag)
		r.Totals[tag.Class]++
	}
	return r
}

// The saved result of a run shows what the run showed when it ended.
func TestRunIsShownAgainAsItWas(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		c := chance{rand.New(rand.NewPCG(seed, 2))}
		live := Run{Started: began}
		var failed error
		if c.IntN(4) == 0 {
			failed = errors.New("ended: " + c.text())
		}
		sum := migrate.Summary{Unread: map[failure.Class]int{}, Results: map[migrate.Result]int{}, Failed: map[failure.Class]int{}, Skipped: map[failure.Class]int{}, Drained: c.IntN(5) == 0}
		sum.Spent = sum.Drained && c.IntN(2) == 0
		var pieces []func(Sink) error
		for range c.IntN(8) {
			pieces = append(pieces, randomPiece(c, &live, &sum))
		}
		if failed != nil || sum.Drained {
			sum.Items += c.IntN(3)
		}
		live.Close(sum, failed, ended)
		end := End{Well: live.Complete, Complete: failed == nil && !sum.Drained, Stopped: sum.Drained, Spent: sum.Spent, Items: sum.Items, Error: live.Error}
		saved := loaded(t, recorded(t, OfRun, func(to Sink) {
			for _, p := range pieces {
				must(t, p(to))
			}
		}, end))
		var text, js, onScreen, again bytes.Buffer
		screen := Screen{Width: 60 + c.IntN(100), Quiet: c.IntN(4) == 0}
		must(t, errors.Join(RunText(&text, &live), JSON(&js, &live), screen.Run(&onScreen, &live), screen.Saved(&again, saved, ended)))
		checkScreen(t, seed, again.String(), onScreen.String())
		for format, want := range map[string]string{"text": text.String(), "json": js.String()} {
			if got := rendered(t, format, saved); got != want {
				t.Fatalf("seed %d as %s: got\n%s\nwant\n%s", seed, format, got, want)
			}
		}
		if saved.End.Well != live.Complete {
			t.Errorf("seed %d: got well %t, want %t", seed, saved.End.Well, live.Complete)
		}
	}
}

// randomPiece adds a repository or an item to the live report, and returns a function that writes
// it again.
func randomPiece(c chance, live *Run, sum *migrate.Summary) func(Sink) error {
	if c.IntN(3) == 0 {
		n := &migrate.TrustNews{GUN: "registry.example.com/" + c.text(), PinnedBy: c.text()}
		if c.IntN(3) == 0 {
			n.Class, n.Err = pick(c, []failure.Class{failure.Transient, failure.Security, failure.Unsigned}), errors.New("x"+c.text())
			sum.Unread[n.Class]++
			live.AddUnread(n)
		} else {
			sum.Repositories++
			for range c.IntN(3) {
				n.Findings = append(n.Findings, dct.Finding{Class: "f" + c.text()})
			}
			live.AddFindings(n)
		}
		return func(to Sink) error { return Read(to, n) }
	}
	o := &migrate.Outcome{
		Repository: c.text(), Digest: c.text(), Key: c.text(), Tags: c.list(), Index: c.list(), Platform: c.text(), Notes: c.list(),
		Result: pick(c, []migrate.Result{migrate.ResultSigned, migrate.ResultAlready, migrate.ResultReplayed, migrate.ResultSkipped, migrate.ResultFailed}),
	}
	if o.Result == migrate.ResultSigned || o.Result == migrate.ResultAlready {
		o.Leaf, o.Wasted = c.text(), c.IntN(3) == 0
	}
	switch o.Result {
	case migrate.ResultSkipped:
		o.Class, o.Reason = pick(c, []failure.Class{failure.Missing, failure.Unsignable, failure.NotPlanned, failure.PlanUnknown, failure.NotAsked}), c.text()
		sum.Skipped[o.Class]++
	case migrate.ResultFailed:
		o.Class, o.Reason = pick(c, []failure.Class{failure.Transient, failure.Denied, failure.Security}), c.text()
		sum.Failed[o.Class]++
	}
	sum.Items++
	sum.Results[o.Result]++
	live.Add(o)
	return func(to Sink) error { return Settled(to, o) }
}

// A saved result is read exactly as written, or not at all.
func TestLoadRefusesWhatWasChanged(t *testing.T) {
	t.Parallel()
	raw := verifySample(t, "registry.example.com/team/app", "a reason")
	lines := bytes.SplitAfter(raw, []byte("\n"))
	lines = lines[:len(lines)-1] // nothing follows the last
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
			t.Errorf("%s: got %v, want %v", name, err, ErrNoResult)
		}
	}
	if _, err := Load(opener(bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n")))); err != nil {
		t.Errorf("with the line ends of Windows: got %v, want no error", err)
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
				t.Errorf("%s: got %v, want %v", name, err, ErrNoResult)
			}
			continue
		}
		must(t, err)
		for _, format := range Formats() {
			if format == "csv" || format == "junit" {
				continue // they list rows and their status, and say nothing of the whole
			}
			if text := rendered(t, format, s); looksWell(format, s, text) && format != "failures" {
				t.Errorf("%s as %s: got what looks well, want what does not:\n%s", name, format, text)
			}
		}
	}
}

// A deleted repository may have nothing left to compare. Its result is then complete and well, and
// says so.
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

// A file that changes between two reads never gives a report that looks complete.
func TestEachRefusesAFileThatChanges(t *testing.T) {
	t.Parallel()
	raw := wellSample(t, OfVerify)
	now := raw
	s, err := Load(func() (io.ReadCloser, error) { return opener(now)() })
	must(t, err)
	now = cutAfter(raw, 2)
	for _, format := range Formats() {
		if err := Render(io.Discard, format, s, shown); !errors.Is(err, ErrNoResult) {
			t.Errorf("%s: got %v, want %v", format, err, ErrNoResult)
		}
	}
}

// A digest may have as many tags as nightly builds make in years.
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
		t.Error("got a result that is not well, want it well")
	}
	l, err := NewLines(io.Discard, NewHead(OfRun, "", "", began))
	must(t, err)
	if err := l.Row(Row{Reason: strings.Repeat("r", maxLine)}); err == nil {
		t.Error("a line that is too long to be read: got no error, want it refused")
	}
}
