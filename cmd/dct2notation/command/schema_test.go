package command

import (
	"flag"
	"path/filepath"
	"testing"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/internal/schematest"
	"github.com/dct2notation/dct2notation/migrate/report"
)

var update = flag.Bool("update", false, "write the schemas and the golden files of screens")

// As in package report, for results that only one verb has.
func TestSchemas(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..", "..")
	s, err := schematest.Read(".", filepath.Join("..", "internal", "output"), filepath.Join(root, "migrate"))
	if err != nil {
		t.Fatal(err)
	}
	limits := schematest.Limits{
		"output.Status.version": {1}, "output.Status.kind": {output.StatusKind},
		"command.pushedReport.version": {1}, "command.pushedReport.kind": {reportPushKind},
		"command.versionResult.version": {1}, "command.versionResult.kind": {versionKind},
		"command.policyResult.version": {1}, "command.policyResult.kind": {policyKind}, "command.policyResult.stage": {"audit", "enforce"},
	}
	for kind, v := range map[string]any{"status": output.Status{}, "report-push": pushedReport{}, "policy": policyResult{}, "version": versionResult{}} {
		raw, err := s.Of(kind+".schema.json", kind+" -o json", v, limits)
		schematest.Same(t, filepath.Join(root, "migrate", "report", "schema", kind+".schema.json"), raw, err, *update)
		if _, ok := report.Schema(kind); !ok {
			t.Errorf("%s: got no schema, want one", kind)
		}
	}
}
