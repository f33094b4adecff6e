package report

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/schematest"
	"github.com/dct2notation/dct2notation/migrate"
)

// anyOf returns the values of string types, as an enum.
func anyOf(s *schematest.Source, types ...string) []any {
	all := map[string]bool{}
	for _, t := range types {
		for _, v := range s.Values(t) {
			all[v] = true
		}
	}
	var list []any
	for v := range all {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	return list
}

// JSON for other programs has a schema, and no field that the schema lacks.
func TestSchemas(t *testing.T) {
	t.Parallel()
	s, err := schematest.Read(".", "..", filepath.Join("..", "verify"), filepath.Join("..", "undo"), filepath.Join("..", "..", "dct"), filepath.Join("..", "..", "dct", "snapshot"), filepath.Join("..", "..", "internal", "failure"))
	must(t, err)
	outcomes := []any{string(unsigned), string(pastDate)}
	for _, o := range s.Values("snapshot.Outcome") {
		outcomes = append(outcomes, o)
	}
	limits := schematest.Limits{
		"report.line": schematest.OneField, "report.Head.version": {1}, "report.Head.kind": {ResultKind}, "report.Head.of": {OfRun, OfVerify},
		"report.Section.class": anyOf(s, "failure.Class", "verify.Class"), "report.Row.class": anyOf(s, "migrate.Result", "verify.Class"),
		"report.Row.cause":   anyOf(s, "failure.Class"),
		"report.Run.version": {1}, "report.Run.kind": {RunKind}, "report.Verification.version": {1}, "report.Verification.kind": {VerifyKind},
		"report.Doctor.version": {1}, "report.Doctor.kind": {DoctorKind},
		"migrate.Plan.version": {migrate.PlanVersion}, "migrate.Plan.kind": {migrate.PlanKind}, "migrate.Plan.platforms": {"all"},
		"report.Ready.version": {1}, "report.Ready.kind": {ReadyKind}, "report.Undoing.version": {1}, "report.Undoing.kind": {UndoKind},
		"report.Images.version": {1}, "report.Images.kind": {ImagesKind}, "report.Inspected.version": {1}, "report.Inspected.kind": {InspectKind},
		"report.Snapshot.version": {1}, "report.Snapshot.kind": {SnapshotKind}, "report.SnapshotAttention.outcome": outcomes,
		"report.VerifiedSnapshot.version": {1}, "report.VerifiedSnapshot.kind": {SnapshotVerifyKind},
	}
	for kind, v := range map[string]any{"result": line{}, "run": Run{}, "verify": Verification{}, "plan": migrate.Plan{}, "doctor": Doctor{}, "ready": Ready{}, "undo": Undoing{}, "images": Images{}, "inspect": Inspected{}, "snapshot": Snapshot{}, "snapshot-verify": VerifiedSnapshot{}} {
		raw, err := s.Of(kind+".schema.json", schemaKinds[kind], v, limits)
		schematest.Same(t, filepath.Join("schema", kind+".schema.json"), raw, err, *update)
	}
	var kinds strings.Builder
	fmt.Fprint(&kinds, "| schema | of what |\n|---|---|\n")
	for _, kind := range SchemaKinds() {
		if raw, ok := Schema(kind); !ok || len(raw) == 0 {
			t.Errorf("%s: got no schema, want one", kind)
		}
		fmt.Fprintf(&kinds, "| `report --schema %s` | %s |\n", kind, of(schemaKinds[kind]))
	}
	schematest.Made(t, "../../docs/reference/json.md", "kinds", kinds.String(), *update)
}

// of returns the name of a document from its command line.
func of(what string) string {
	if verb, found := strings.CutSuffix(what, " -o json"); found {
		return "`" + verb + " -o json`"
	}
	return what
}

// Output matches the schemas, for every class and with hostile text.
func TestOutputIsOfItsSchema(t *testing.T) {
	t.Parallel()
	const app = "registry.example.com/team/app"
	check := func(kind, text string, want bool) {
		t.Helper()
		raw, _ := Schema(kind)
		strict, err := schematest.Strict(raw)
		must(t, err)
		if err := schematest.Validate(strict, []byte(text)); (err == nil) != want {
			t.Errorf("%s: got %v, want it valid: %t\n%s", kind, err, want, text)
		}
	}
	for of, all := range map[string][][]byte{
		OfRun:    {runSample(t, app, hostile), wellSample(t, OfRun), cutAfter(runSample(t, app, "x"), 1), recorded(t, OfRun, func(Sink) {}, End{})},
		OfVerify: {verifySample(t, app, hostile), wellSample(t, OfVerify), cutAfter(verifySample(t, app, "x"), 1)},
	} {
		for _, raw := range all {
			s := loaded(t, raw)
			text := rendered(t, "json", s)
			check(of, text, true)
			later := strings.Replace(text, `"version"`, `"new":1,"version"`, 1)
			check(of, later, false)
			// A reader that validates with the published schema accepts what a later version
			// writes.
			published, _ := Schema(of)
			must(t, schematest.Validate(published, []byte(later)))
			check(of, strings.Replace(text, `"complete"`, `"completed"`, 1), false)
			for line := range strings.Lines(rendered(t, "jsonl", s)) {
				check("result", line, true)
			}
		}
	}
	check("result", `{}`, false)
	check("result", `{"row":{"repository":"a","tags":[],"class":"fine","standing":"ok"}}`, false)
	var b strings.Builder
	must(t, JSON(&b, NewDoctor(nil, time.Now())))
	check("doctor", b.String(), true)
	b.Reset()
	must(t, JSON(&b, migrate.Plan{
		Version: migrate.PlanVersion, Kind: migrate.PlanKind, Keys: []migrate.PlanKey{{Name: "k"}}, Repositories: []migrate.PlanRepository{
			{GUN: "a", Error: &migrate.PlanReason{Class: failure.Security}},
			{GUN: "b", Judged: dct.Judged{Roles: []string{"root"}}, Items: []migrate.PlanItem{{Action: migrate.ActionSign, Tags: []migrate.PlanTag{{Tag: "v1", Now: migrate.TagOK}}}}},
		},
	}))
	check("plan", b.String(), true)
}
