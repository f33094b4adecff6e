package output

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/tools/txtar"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/ptytest"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

var update = flag.Bool("update", false, "write the golden files of screens")

func init() { // independent of the terminal in which the tests run
	_, _ = os.Unsetenv("NO_COLOR"), os.Unsetenv("TERM")
}

// today is the time at which the screens are shown.
var today = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// The golden files have what each verb shows on a terminal, at two widths, for repositories of
// every shape and for 300 similar ones. No line is longer than the terminal, and what is well takes
// few lines.
func TestScreens(t *testing.T) {
	t.Parallel()
	shapes, many := newShapes(), newMany()
	for verb, of := range map[string]func(*wholeResult, report.Screen, cli.Streams) error{
		"plan": func(r *wholeResult, s report.Screen, to cli.Streams) error {
			return s.Plan(to.Out, r.plan)
		},
		"run": func(r *wholeResult, s report.Screen, to cli.Streams) error { return s.Run(to.Out, r.run) },
		"verify": func(r *wholeResult, s report.Screen, to cli.Streams) error {
			v, totals := s.Verify(to.Out, today), report.Totals{}
			for _, one := range r.compared {
				totals.Add(one)
				if err := v.Repository(one); err != nil {
					return err
				}
			}
			return v.End(totals, nil)
		},
		"ready": func(r *wholeResult, s report.Screen, to cli.Streams) error {
			v := s.Ready(to.Out, today)
			for _, one := range r.compared {
				v.Repository(one)
			}
			return v.End(report.NewReady("dct2notation/test", r.gates, today, today.AddDate(0, 0, 8)))
		},
	} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			var got txtar.Archive
			for _, world := range []struct {
				name string
				*wholeResult
			}{{"shapes", shapes}, {"300 repositories", many}} {
				for _, columns := range []int{100, 160} {
					text := ptytest.Capture(t, columns, func(terminal *os.File) {
						o := &cli.Common{Output: "text", LogFormat: "text"}
						to := cli.Streams{Out: terminal, Err: terminal}.OnTerminals()
						screen, ok := o.Screen(to.Out)
						if !ok {
							t.Error("got no screen, want one on a terminal")
						}
						if err := of(world.wholeResult, screen, to); err != nil {
							t.Error(err)
						}
					})
					lines := strings.Split(text, "\n")
					for _, line := range lines {
						if n := ptytest.Width(line); n > columns {
							t.Errorf("%s, %d columns: got a line of %d: %s", world.name, columns, n, line)
						}
					}
					if world.wholeResult == many && len(lines) > 20 {
						t.Errorf("%s, %d columns: got %d lines, want no more than 20 where all is well", world.name, columns, len(lines))
					}
					got.Files = append(got.Files, txtar.File{Name: fmt.Sprintf("%s, %d columns", world.name, columns), Data: []byte(text)})
				}
			}
			golden(t, verb, &got)
		})
	}
}

func golden(t *testing.T, name string, got *txtar.Archive) {
	t.Helper()
	path := filepath.Join("testdata", name+".txtar")
	if *update {
		if err := os.WriteFile(path, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range got.Files {
		if i >= len(want.Files) || string(want.Files[i].Data) != string(f.Data) {
			t.Errorf("%s: got\n%s\nwant what %s has; go test -update writes it", f.Name, f.Data, path)
		}
	}
}

// wholeResult has the same repositories as each verb sees them.
type wholeResult struct {
	plan     *migrate.Plan
	run      *report.Run
	compared []verify.Repository
	gates    []verify.Gate
}

func sum(name string) digest.Digest { return digest.FromString(name) }

// newMany has 300 repositories of ten tags: to be signed in the plan, signed by the run, and in
// agreement afterwards.
func newMany() *wholeResult {
	w := &wholeResult{plan: &migrate.Plan{Keys: planKeys(), Cost: migrate.PlanCost{Operations: 3001, Proofs: 1, RateFrom: migrate.RateSet, Minutes: 25}}, run: newRun()}
	for i := range 300 {
		gun := fmt.Sprintf("registry.example.com/team/service-%03d", i)
		part := migrate.PlanRepository{GUN: gun, PinnedBy: "configuration"}
		one := verify.Repository{GUN: gun, Totals: map[verify.Class]int{verify.Agree: 10}, Expiries: []dct.Expiry{{Role: "targets", At: today.AddDate(0, 0, 60+i)}}}
		w.run.AddFindings(&migrate.TrustNews{GUN: gun})
		for n := range 10 {
			tag := fmt.Sprintf("1.%d", n)
			d := sum(gun + tag)
			part.Items = append(part.Items, migrate.PlanItem{Digest: d.String(), Action: migrate.ActionSign, Tags: []migrate.PlanTag{{Tag: tag, Role: "targets", Now: migrate.TagOK}}})
			w.run.Add(&migrate.Outcome{Repository: gun, Digest: d.String(), Tags: []string{tag}, Result: migrate.ResultSigned, Leaf: sum("leaf").Encoded()})
			one.Tags = append(one.Tags, verify.Row{Tag: tag, Class: verify.Agree, Classes: []verify.Class{verify.Agree}, DCT: d, Registry: d, CertificateExpires: today.AddDate(1, 0, 0)})
		}
		w.plan.Repositories = append(w.plan.Repositories, part)
		w.compared = append(w.compared, one)
	}
	w.run.Close(migrate.Summary{Repositories: 300, Items: 3000, Results: w.run.Counts()}, nil, w.run.Started.Add(250*time.Second))
	w.gates = []verify.Gate{
		{ID: "listed", Title: "the comparison covers every repository that the Notary server has", State: verify.Holds, Count: 1, Evidence: []string{"the changefeed names 300 repositories"}},
		{ID: "agreed", Title: "DCT and Notation agree on every tag, or a decision waives it", State: verify.Holds, Count: 1, Evidence: []string{"in agreement: 3000 tags; waived: 0"}},
		{ID: "clients", Title: "DOCKER_CONTENT_TRUST and DOCKER_CONTENT_TRUST_SERVER are unset in CI and on hosts", Manual: true, State: verify.Holds, Count: 1, Evidence: []string{"ticked by Jane on 2026-11-20"}},
	}
	return w
}

func planKeys() []migrate.PlanKey {
	return []migrate.PlanKey{{Name: "release", Leaf: sum("leaf").Encoded(), Operations: 3001}}
}

func newRun() *report.Run {
	return &report.Run{Started: today, Keys: []report.SigningKey{{Name: "release", Certificate: sum("leaf").Encoded(), Ends: today.AddDate(1, 0, 0)}}}
}

// newShapes has a repository of each shape, 30 with the same problem, and names that are long or
// hostile.
func newShapes() *wholeResult {
	w := &wholeResult{plan: &migrate.Plan{Keys: planKeys(), Cost: migrate.PlanCost{Operations: 34, Proofs: 1}}, run: newRun()}
	add := func(gun string, tags ...verify.Row) { w.add(gun, tags) }
	tag := func(name string, c verify.Class, reason string) verify.Row {
		d := sum(name)
		return verify.Row{Tag: name, Class: c, Classes: []verify.Class{c}, Reason: reason, DCT: d, Registry: d, CertificateExpires: today.AddDate(0, 6, 0)}
	}
	moved := tag("latest", verify.Moved, "the tag has another digest than DCT's, which Notation does not trust")
	moved.Registry = sum("other")
	both := tag("v2", verify.Untrusted, "a\x1b[31m signature\u202e: its identity is not trusted\nhint: dct2notation policy notation -O DIR writes a policy")
	both.Classes = []verify.Class{verify.Untrusted, verify.Expired}
	bound := tag("v1", verify.Agree, "")
	bound.Flags = []string{"not-bound"}
	add("registry.example.com/team/app", bound, tag("v2", verify.Agree, ""), moved)
	add("registry.example.com/team/api", tag("v1", verify.Agree, ""), tag("v2", verify.Agree, ""))
	add("registry.example.com/team/web", tag("v1", verify.Agree, ""), both, tag("v3", verify.Gone, "the registry does not have it"))
	add("registry.example.com/a-very-long-organisation-name/with-a-department/and-a-product/of-long-names/service-that-serves-all", tag("v1", verify.Unknown, "registry.example.com does not answer: dial tcp: i/o timeout"))
	add("registry.example.com/team/\x1b[2J\u202e", tag("v1", verify.NotationOnly, "DCT does not name it"))
	for i := range 30 {
		gun := fmt.Sprintf("registry.example.com/legacy/job-%02d", i)
		add(gun, tag("v1", verify.DCTOnly, gun+"@"+sum("v1").String()+" has no Notation signature\nhint: run signs it"))
	}
	w.unread("registry.example.com/team/expired", failure.Expired, verify.Expired, dct.ErrExpired, "role timestamp: it expired on 2026-10-01T00:00:00Z", "docker refuses it as well; the owner of the repository has to publish it again")
	for i := range 2 {
		w.unread(fmt.Sprintf("registry.example.com/other/new-%d", i), failure.Unpinned, verify.Unknown, dct.ErrUnpinnedRoot, "version 1 with key ids "+sum(fmt.Sprint("root", i)).Encoded(), "compare the ids with those the owner of the repository gives you")
	}
	w.run.Close(migrate.Summary{Repositories: 34, Items: 38, Results: w.run.Counts(), Unread: map[failure.Class]int{failure.Expired: 1, failure.Unpinned: 2}}, nil, w.run.Started.Add(3*time.Second))
	w.gates = []verify.Gate{
		{ID: "listed", Title: "the comparison covers every repository that the Notary server has", State: verify.Holds, Count: 5, Evidence: []string{"the changefeed names 37 repositories", "waived: a", "waived: b", "waived: c", "waived: d"}},
		{ID: "agreed", Title: "DCT and Notation agree on every tag, or a decision waives it", State: verify.Fails, Hint: "sign what is dct-only"},
		{ID: "dates", Title: "no trust data and no signature expires before the planned date", State: verify.NotTold, Count: 1, Evidence: []string{"registry.example.com/team/expired: its dates are not known, as its trust data is expired"}},
		{ID: "clients", Title: "DOCKER_CONTENT_TRUST and DOCKER_CONTENT_TRUST_SERVER are unset in CI and on hosts", Manual: true, State: verify.Open, Hint: "docker CLI 29 and later checks nothing, with the variable or without: what relies on it is not protected today"},
	}
	for i := range 30 {
		g := &w.gates[1]
		g.Count++
		g.Evidence = append(g.Evidence, fmt.Sprintf("registry.example.com/legacy/job-%02d:v1 is dct-only: it has no Notation signature", i))
	}
	return w
}

// add adds a repository in the state in which plan and run could have left it for verify to find
// these tags.
func (w *wholeResult) add(gun string, tags []verify.Row) {
	one := verify.Repository{GUN: gun, Totals: map[verify.Class]int{}, Tags: tags, Expiries: []dct.Expiry{{Role: "targets", At: today.AddDate(0, 2, 0)}}}
	part := migrate.PlanRepository{GUN: gun, PinnedBy: "configuration", Expired: []string{"snapshot"}}
	w.run.AddFindings(&migrate.TrustNews{GUN: gun})
	for _, t := range tags {
		one.Totals[t.Class]++
		it := migrate.PlanItem{Digest: t.DCT.String(), Action: migrate.ActionSign, Tags: []migrate.PlanTag{{Tag: t.Tag, Role: "targets", Now: migrate.TagOK}}}
		o := &migrate.Outcome{Repository: gun, Digest: t.DCT.String(), Tags: []string{t.Tag}, Result: migrate.ResultSigned, Leaf: sum("leaf").Encoded()}
		switch t.Class {
		case verify.Moved:
			it.Tags[0].Now, it.Tags[0].MovedTo = migrate.TagMoved, t.Registry.String()
			it.Notes = []string{"crowded: 4 signatures"}
		case verify.Gone:
			it.Action, it.Reason = migrate.ActionSkip, &migrate.PlanReason{Class: failure.Missing, Reason: t.Reason}
			o.Result, o.Class, o.Reason = migrate.ResultSkipped, failure.Missing, t.Reason
		case verify.Unknown:
			it.Action, it.Reason = migrate.ActionUnknown, &migrate.PlanReason{Class: failure.Transient, Reason: t.Reason}
			o.Result, o.Class, o.Reason = migrate.ResultFailed, failure.Transient, t.Reason
		case verify.DCTOnly:
			o.Result, o.Class, o.Reason = migrate.ResultFailed, failure.Denied, "signing "+gun+"@"+t.DCT.String()+": the key refuses\nhint: see its policy"
		}
		part.Items = append(part.Items, it)
		w.run.Add(o)
	}
	if strings.HasSuffix(gun, "/api") {
		part.Findings = []migrate.PlanFinding{{Tag: "odd\x07", Role: "targets", Class: "no-image", Detail: "its digest is none"}}
	}
	w.plan.Repositories = append(w.plan.Repositories, part)
	w.compared = append(w.compared, one)
}

func (w *wholeResult) unread(gun string, class failure.Class, as verify.Class, kind error, text, hint string) {
	err := &dct.Error{GUN: gun, Role: "root", Kind: kind, Err: errors.New(text), Hint: hint}
	w.plan.Repositories = append(w.plan.Repositories, migrate.PlanRepository{GUN: gun, Error: &migrate.PlanReason{Class: class, Reason: err.Error()}})
	w.run.AddUnread(&migrate.TrustNews{GUN: gun, Class: class, Err: err})
	w.compared = append(w.compared, verify.Repository{GUN: gun, Class: as, Reason: err.Error()})
}
