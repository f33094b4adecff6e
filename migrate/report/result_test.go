package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// The results of these tests begin and end at the same times, and are shown some days later.
var (
	began = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	ended = began.Add(90 * time.Second)
	shown = Options{Now: began.Add(48 * time.Hour)}
)

// A hint stands alone and is never shortened, however long the reason before it is: the user types
// it.
func TestHintsAreWholeInRows(t *testing.T) {
	t.Parallel()
	hint := "have the proxy send X-Forwarded-Proto: https, " + strings.Repeat("and so on ", 60) + "to the end"
	reason := strings.Repeat("the server says a lot of this ", 200) + "\nhint: " + hint
	run := loaded(t, recorded(t, OfRun, func(s Sink) {
		if err := Settled(s, &migrate.Outcome{Repository: "registry.example.com/team/app", Digest: digestOf("1").String(), Result: migrate.ResultFailed, Class: failure.Denied, Reason: reason}); err != nil {
			t.Fatal(err)
		}
		if err := Read(s, &migrate.TrustNews{GUN: "registry.example.com/team/other", Class: failure.Denied, Err: errors.New(reason)}); err != nil {
			t.Fatal(err)
		}
	}, End{}))
	verified := loaded(t, recorded(t, OfVerify, func(s Sink) {
		if err := Verified(s, verify.Repository{GUN: "registry.example.com/team/app", Tags: []verify.Row{{Tag: "v1", Class: verify.Unknown, Reason: reason}}}); err != nil {
			t.Fatal(err)
		}
	}, End{}))
	for _, format := range Formats() {
		if format == "prometheus" { // it shows no reasons
			continue
		}
		for what, saved := range map[string]*Saved{"run": run, "verify": verified} {
			text := rendered(t, format, saved)
			if !strings.Contains(text, hint) || strings.Contains(text, `\x0a`) {
				t.Errorf("%s of a %s: got\n%s\nwant the hint whole and not escaped: %s", format, what, text, hint)
			}
		}
	}
	if text := code(reason); !strings.Contains(text, hint) {
		t.Errorf("in a cell: got %s, want %s in it", text, hint)
	}
}

// An item that a signal interrupted says so in one word. This hides no other error beside it.
func TestInterruptionsAreSaidInAWord(t *testing.T) {
	t.Parallel()
	disk := errors.New("closing ledger m.db: no space left on device")
	for want, err := range map[string]error{
		"interrupted":                  fmt.Errorf("waiting for registry.example.com: %w", context.Canceled),
		"interrupted\n" + disk.Error(): errors.Join(context.Canceled, fmt.Errorf("again: %w", context.Canceled), disk),
		disk.Error():                   disk,
		"reading: " + context.DeadlineExceeded.Error(): fmt.Errorf("reading: %w", context.DeadlineExceeded),
	} {
		if got := Why(err); got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
}

func digestOf(text string) digest.Digest { return digest.FromString(text) }

// recorded returns a result written as lines, in memory. Whoever has written it knows whether it can be loaded.
func recorded(t testing.TB, of string, write func(Sink), end End) []byte {
	t.Helper()
	var b bytes.Buffer
	l, err := NewLines(&b, NewHead(of, "dct2notation/test", "registry.example.com/team/*", began))
	if err != nil {
		t.Fatal(err)
	}
	write(l)
	end.Ended = ended
	if err := l.End(end); err != nil {
		t.Fatal(err)
	}
	_, own := l.Saved(nil)
	if _, err := Load(opener(b.Bytes())); (own == nil) != (err == nil) {
		t.Errorf("as written: got %v, want as loaded, %v", own, err)
	}
	return b.Bytes()
}

func opener(raw []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
}

func loaded(t testing.TB, raw []byte) *Saved {
	t.Helper()
	s, err := Load(opener(raw))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func rendered(t testing.TB, format string, s *Saved) string {
	t.Helper()
	var b bytes.Buffer
	if err := Render(&b, format, s, shown); err != nil {
		t.Fatalf("%s: got %v, want no error", format, err)
	}
	return b.String()
}

// must fails the test on an error from a writer in memory.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// outcomes returns outcomes of a run with every result and class of note, with the given names.
func outcomes(repository, text string) []*migrate.Outcome {
	return []*migrate.Outcome{
		{Repository: repository, Digest: digestOf("v1").String(), Key: "release", Tags: []string{"v1", "latest"}, Result: migrate.ResultSigned, Leaf: digestOf("renewed").Encoded()},
		{Repository: repository, Digest: digestOf("v1").String(), Key: "alice", Tags: []string{"v1", "latest"}, Result: migrate.ResultFailed, Class: failure.Denied, Reason: text},
		{Repository: repository, Digest: digestOf("v2").String(), Key: "release", Tags: []string{text}, Result: migrate.ResultAlready, Leaf: digestOf("leaf").Encoded(), Wasted: true, Notes: []string{"tag-moved: " + text, "allowed-expired: targets"}},
		{Repository: repository, Digest: digestOf("child").String(), Key: "release", Tags: []string{}, Index: []string{digestOf("v2").String()}, Platform: "linux/arm64", Result: migrate.ResultReplayed, Leaf: digestOf("renewed").Encoded()},
		{Repository: repository, Digest: digestOf("gone").String(), Key: "release", Tags: []string{"old"}, Result: migrate.ResultSkipped, Class: failure.Missing, Reason: "the registry has no such digest"},
		{Repository: repository, Digest: digestOf("kept").String(), Key: "release", Tags: []string{"kept"}, Result: migrate.ResultSkipped, Class: failure.NotPlanned, Reason: "it is not in the plan"},
		{Repository: repository, Digest: digestOf("odd").String(), Key: "release", Tags: []string{"odd"}, Result: migrate.ResultSkipped, Class: failure.PlanUnknown, Reason: "the plan does not sign it: transient: " + text},
		{Repository: repository, Digest: digestOf("left").String(), Key: "release", Tags: []string{"left"}, Result: migrate.ResultSkipped, Class: failure.NotAsked, Reason: "--only does not name it"},
	}
}

func news(repository, text string) []*migrate.TrustNews {
	return []*migrate.TrustNews{
		{GUN: repository, PinnedBy: "configuration", Expiries: expiriesOf(), Findings: []dct.Finding{{Tag: "dev", Class: "signer-only"}, {Tag: text, Class: "not-a-tag"}}},
		{GUN: "registry.example.com/team/lost", Class: failure.Unsigned, Err: errors.New("no trust data\nhint: " + text)},
		{GUN: "registry.example.com/team/busy", Class: failure.Throttled, Err: errors.New(text)},
	}
}

func expiriesOf() []dct.Expiry {
	return []dct.Expiry{
		{Role: "root-cert", At: began.AddDate(10, 0, 0)}, {Role: "targets", At: began.AddDate(0, 0, 30)},
		{Role: "targets/releases", At: began.AddDate(0, 0, -1)}, {Role: "timestamp", At: began.AddDate(0, 0, 3)},
	}
}

// runSample returns a run with one of everything.
func runSample(t testing.TB, repository, text string) []byte {
	return recorded(t, OfRun, func(to Sink) {
		for _, n := range news(repository, text) {
			must(t, Read(to, n))
		}
		for _, o := range outcomes(repository, text) {
			must(t, Settled(to, o))
		}
	}, End{Complete: true})
}

// verifications returns repositories with every class.
func verifications(repository, text string) []verify.Repository {
	v1, v2 := digestOf("v1"), digestOf("v2")
	first := verify.Repository{
		GUN: repository, Place: "mirror.example.com/app", PinnedBy: "configuration", Expiries: expiriesOf(), Expired: []string{"targets"},
		Judged: dct.Judged{Roles: []string{"root-cert"}, At: began.AddDate(-1, 0, 0), By: digestOf("cert").Encoded()}, Totals: map[verify.Class]int{},
	}
	for _, c := range classes {
		tag := verify.Row{Tag: "is-" + string(c), Class: c, Reason: text, DCT: v1, Role: "targets/releases", Registry: v1}
		switch c {
		case verify.Agree:
			tag.Reason, tag.Bound, tag.Flags, tag.CertificateExpires = "", true, []string{"legacy-targets", text}, began.AddDate(0, 2, 0)
		case verify.Conflict, verify.Moved:
			tag.Registry = v2
		case verify.NotationOnly:
			tag.Tag, tag.DCT, tag.CertificateExpires = text, "", began.AddDate(0, 1, 0)
		case verify.Gone:
			tag.Registry = ""
		}
		tag.Classes = []verify.Class{c}
		if c == verify.Conflict {
			tag.Classes = append(tag.Classes, verify.Gone, verify.Unknown)
		}
		first.Tags = append(first.Tags, tag)
		first.Totals[c]++
	}
	return []verify.Repository{
		first,
		{GUN: "registry.example.com/team/empty", Totals: map[verify.Class]int{}},
		{GUN: "registry.example.com/team/half", PinnedBy: "configuration", Reason: "tags other than DCT's were not compared: " + text, Totals: map[verify.Class]int{verify.Unknown: 1}},
		{GUN: "registry.example.com/team/forged", Class: verify.Untrusted, Reason: text},
		{GUN: "registry.example.com/team/old", Class: verify.Expired, Reason: "targets is past its date\nhint: " + text},
		{GUN: "registry.example.com/team/busy", Class: verify.Unknown, Reason: text},
	}
}

// verifySample returns a verification with one of everything.
func verifySample(t testing.TB, repository, text string) []byte {
	return recorded(t, OfVerify, func(to Sink) {
		for _, r := range verifications(repository, text) {
			must(t, Verified(to, r))
		}
	}, End{Complete: true})
}

// wellSample returns a result in which all is well.
func wellSample(t testing.TB, of string) []byte {
	return recorded(t, of, func(to Sink) {
		if of == OfRun {
			must(t, Read(to, &migrate.TrustNews{GUN: "registry.example.com/team/app", PinnedBy: "configuration"}))
			must(t, Settled(to, &migrate.Outcome{Repository: "registry.example.com/team/app", Digest: digestOf("v1").String(), Tags: []string{"v1"}, Result: migrate.ResultSigned}))
			return
		}
		for _, name := range []string{"app", "web"} {
			must(t, Verified(to, verify.Repository{GUN: "registry.example.com/team/" + name, Totals: map[verify.Class]int{verify.Agree: 1}, Tags: []verify.Row{{Tag: name, Class: verify.Agree, DCT: digestOf("v1"), Registry: digestOf("v1")}}}))
		}
	}, End{Complete: true, Well: true})
}
