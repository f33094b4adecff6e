package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// hostile is text that a server may put into any name or message.
const hostile = "a\x1b]0;owned\a\x1b[2J\r\nok: all signed\u202e\u2066\u009b31m\xff"

// calm checks that the text has nothing that a terminal obeys, and that no rendered value added a
// line.
func calm(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			t.Errorf("got %q rendered, want no such character in\n%q", r, text)
			return
		}
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "ok: all signed") {
			t.Errorf("got a name that made a line of its own, want none in\n%s", text)
		}
	}
}

// Promise 7: nothing hostile is rendered.
func TestNothingHostileIsRendered(t *testing.T) {
	t.Parallel()
	var run Run
	run.Add(&migrate.Outcome{Repository: hostile, Digest: hostile, Key: hostile, Tags: []string{hostile}, Index: []string{hostile, hostile}, Platform: hostile, Result: migrate.ResultFailed, Class: failure.Permanent, Reason: "first\n" + hostile})
	run.Add(&migrate.Outcome{Result: migrate.ResultSigned, Notes: []string{hostile}})
	run.AddUnread(&migrate.TrustNews{GUN: hostile, Class: failure.Security, Err: errors.New(hostile)})
	run.AddFindings(&migrate.TrustNews{Findings: []dct.Finding{{Class: hostile}}})
	run.Close(migrate.Summary{}, errors.New(hostile), time.Now())
	plan := &migrate.Plan{Keys: []migrate.PlanKey{{Name: hostile, Leaf: hostile, Roles: []string{hostile}, Repositories: []string{hostile}}}, Repositories: []migrate.PlanRepository{
		{GUN: hostile, Error: &migrate.PlanReason{Class: failure.Security, Reason: hostile}},
		{
			GUN: hostile, Findings: []migrate.PlanFinding{{Tag: hostile, Role: hostile, Class: hostile, Detail: hostile}},
			Items: []migrate.PlanItem{{
				Digest: hostile, Key: hostile, Index: []string{hostile}, Platform: hostile, Action: migrate.ActionSkip, Reason: &migrate.PlanReason{Reason: hostile}, Notes: []string{hostile},
				Tags: []migrate.PlanTag{{Tag: hostile, Now: migrate.TagMoved, MovedTo: hostile, Flags: []string{hostile}}},
			}},
		},
	}}
	verified := verify.Repository{GUN: hostile, Totals: map[verify.Class]int{verify.Moved: 1}, Tags: []verify.Row{
		{Tag: hostile, Class: verify.Moved, Reason: hostile, DCT: hostile, Registry: "x" + hostile},
	}}
	unread := verify.Repository{GUN: hostile, Class: verify.Untrusted, Reason: hostile}
	for name, render := range map[string]func(b *bytes.Buffer) error{
		"run":  func(b *bytes.Buffer) error { return RunText(b, &run) },
		"plan": func(b *bytes.Buffer) error { return PlanText(b, plan) },
		"verify": func(b *bytes.Buffer) error {
			v := NewVerifyText(b, true, time.Now())
			return errors.Join(v.Repository(verified), v.Repository(unread), v.End(Totals{}, nil))
		},
		"run as JSON": func(b *bytes.Buffer) error { return JSON(b, &run) },
		"verify as JSON": func(b *bytes.Buffer) error {
			v := NewVerifyJSON(b, hostile, "")
			return errors.Join(v.Repository(verified), v.Repository(unread), v.End(Totals{}, nil))
		},
	} {
		var b bytes.Buffer
		if err := render(&b); err != nil {
			t.Errorf("%s: got %v, want no error", name, err)
		}
		if strings.Contains(name, "JSON") {
			if !json.Valid(b.Bytes()) || bytes.ContainsAny(b.Bytes(), "\x1b\a\r") {
				t.Errorf("%s: got %q, want JSON without control characters", name, b.String())
			}
			continue
		}
		calm(t, b.String())
	}
}

func TestTotalsTellWhetherAllIsWell(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		repository        verify.Repository
		disagree, unknown bool
	}{
		{verify.Repository{}, false, false},
		{verify.Repository{Totals: map[verify.Class]int{verify.Agree: 3, verify.NoneSigned: 1}}, false, false},
		{verify.Repository{Totals: map[verify.Class]int{verify.Agree: 3, verify.Unknown: 1}}, false, true},
		{verify.Repository{Totals: map[verify.Class]int{verify.Conflict: 1, verify.Unknown: 1}}, true, true},
		{verify.Repository{Class: verify.Unknown}, false, true},
		{verify.Repository{Class: verify.Untrusted}, true, false},
		{verify.Repository{Class: verify.Expired}, true, false},
	} {
		totals := Totals{}
		totals.Add(c.repository)
		if totals.Disagree() != c.disagree || totals.Unknown() != c.unknown {
			t.Errorf("%v: got disagree %t, unknown %t, want %t, %t", totals, totals.Disagree(), totals.Unknown(), c.disagree, c.unknown)
		}
	}
	for _, class := range classes {
		if (Totals{class: 1}).Disagree() == (class == verify.Agree || class == verify.NoneSigned || class == verify.Unknown) {
			t.Errorf("%s: got disagree %t, want %t", class, Totals{class: 1}.Disagree(), !Totals{class: 1}.Disagree())
		}
	}
}

func TestPlanIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	plan := &migrate.Plan{
		Version: 1, Kind: migrate.PlanKind, Created: time.Unix(1, 0).UTC(), Keys: []migrate.PlanKey{{Name: "k", Leaf: "l", Roles: []string{"targets"}}},
		Repositories: []migrate.PlanRepository{{GUN: "registry.example.com/a", Items: []migrate.PlanItem{{Digest: "sha256:1", Action: migrate.ActionSign, Tags: []migrate.PlanTag{{Tag: "v1", Role: "targets"}}}}}},
	}
	var b bytes.Buffer
	if err := JSON(&b, plan); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	got, err := ReadPlan(strings.NewReader(text))
	if err != nil || got.Repositories[0].Items[0].Tags[0].Tag != "v1" {
		t.Errorf("got %+v, %v, want tag v1", got, err)
	}
	for name, bad := range map[string]string{
		"an unknown field": strings.Replace(text, `"gun"`, `"gun2"`, 1), "data behind it": text + "{}", "nothing": "", "a list": "[]",
	} {
		if _, err := ReadPlan(strings.NewReader(bad)); err == nil {
			t.Errorf("%s: got no error, want it refused", name)
		}
	}
}

// A report says that all is well only if nothing failed and nothing is unknown.
func TestReportsSayThatAllIsWellOnlyWhereItIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		totals Totals
		err    error
		want   bool
	}{
		"agree":       {Totals{verify.Agree: 2, verify.NoneSigned: 1}, nil, true},
		"unknown":     {Totals{verify.Agree: 2, verify.Unknown: 1}, nil, false},
		"conflict":    {Totals{verify.Agree: 2, verify.Conflict: 1}, nil, false},
		"interrupted": {Totals{verify.Agree: 2}, context.Canceled, false},
	} {
		var b, text bytes.Buffer
		if err := errors.Join(NewVerifyJSON(&b, "test", "").End(c.totals, c.err), NewVerifyText(&text, false, time.Now()).End(c.totals, c.err)); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text.String(), "sets agree") != c.want {
			t.Errorf("%s: got %s, want it to say that the sets agree: %t", name, text.String(), c.want)
		}
		var got struct {
			Agree *bool `json:"agree"`
		}
		if err := json.Unmarshal(b.Bytes(), &got); err != nil || got.Agree == nil || *got.Agree != c.want {
			t.Errorf("%s: got %s, %v, want agree %t", name, b.String(), err, c.want)
		}
	}
	for name, c := range map[string]struct {
		summary migrate.Summary
		err     error
		want    bool
	}{
		"done":            {migrate.Summary{}, nil, true},
		"a failed item":   {migrate.Summary{Failed: map[failure.Class]int{failure.Permanent: 1}}, nil, false},
		"ended by itself": {migrate.Summary{}, errors.New("ledger"), false},
	} {
		var r Run
		r.Close(c.summary, c.err, time.Now())
		if r.Complete != c.want || (r.Error != "") != (c.err != nil) {
			t.Errorf("%s: got %+v, want complete %t, error %v", name, r, c.want, c.err)
		}
	}
}
