package e2epolicy

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// ratifyJudges has Ratify's command judge by the Verifier, Store and Policy that policy wrote.
// These are the same at both stages: at audit, Gatekeeper lets the images pass.
func (w *world) ratifyJudges(t *testing.T) {
	enforced, audited := filepath.Join(w.dir, "enforce", "ratify", "ratify.yaml"), filepath.Join(w.dir, "audit", "ratify", "ratify.yaml")
	if !reflect.DeepEqual(objects(t, read(t, enforced)), objects(t, read(t, audited))) {
		t.Error("the stages differ in what Ratify verifies")
	}
	config := w.ratifyConfig(t, enforced)
	images := append(slices.Clone(w.images), w.elsewhere.judged(fails), w.unstamped.judged(passes))
	for _, i := range images {
		w.ratifyJudgesImage(t, config, i, w.reference(i, false))
		w.ratifyJudgesImage(t, config, i, w.reference(i, true))
	}
}

// ratifyConfig translates our objects into the command's configuration, field by field. The command
// loads no KeyManagementProvider, so it gets their certificates as files.
func (w *world) ratifyConfig(t testing.TB, path string) string {
	t.Helper()
	certificates := filepath.Join(filepath.Dir(path), "certificates")
	plugins := map[string]map[string]any{}
	for _, o := range objects(t, read(t, path)) {
		spec := o["spec"].(map[string]any)
		parameters := spec["parameters"].(map[string]any)
		switch kind := o["kind"].(string); kind {
		case "KeyManagementProvider":
			name := o["metadata"].(map[string]any)["name"].(string)
			servertest.WriteFile(t, filepath.Join(certificates, name+".crt"), []byte(parameters["value"].(string)))
		case "Verifier":
			delete(parameters, "verificationCertStores")
			parameters["verificationCerts"] = []any{certificates}
			parameters["name"], parameters["artifactTypes"] = spec["name"], spec["artifactTypes"]
			plugins["verifier"] = parameters
		case "Store":
			parameters["name"] = spec["name"]
			plugins["store"] = parameters
		case "Policy":
			parameters["name"] = spec["type"]
			plugins["policy"] = parameters
		default:
			t.Fatalf("Ratify's command has no %s", kind)
		}
	}
	if len(plugins) != 3 {
		t.Fatalf("%s has only %v", path, slices.Collect(maps.Keys(plugins)))
	}
	raw, err := json.Marshal(map[string]any{
		"store":    map[string]any{"version": "1.0.0", "plugins": []any{plugins["store"]}},
		"policy":   map[string]any{"version": "1.0.0", "plugin": plugins["policy"]},
		"verifier": map[string]any{"version": "1.0.0", "plugins": []any{plugins["verifier"]}},
	})
	must(t, err)
	config := filepath.Join(filepath.Dir(path), "config.json")
	servertest.WriteFile(t, config, raw)
	return config
}

func (w *world) ratifyJudgesImage(t testing.TB, config string, i image, reference string) {
	t.Helper()
	c := ratify.command(t, "verify", "-c", config, "-s", reference)
	c.Env, c.Dir = w.consumerEnv(), w.dir
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	var said struct {
		IsSuccess       bool              `json:"isSuccess"` // omitted if nothing was verified
		VerifierReports []json.RawMessage `json:"verifierReports"`
	}
	if jsonErr := json.Unmarshal(out, &said); err != nil || jsonErr != nil || len(said.VerifierReports) == 0 {
		t.Fatalf("ratify verify %s: %v %v\n%s%s", reference, err, jsonErr, out, &stderr)
	}
	got := fails
	if said.IsSuccess {
		got = passes
	}
	if got != i.want {
		t.Errorf("%s (%s): Ratify says %s, want %s\n%s", reference, i.why, got, i.want, out)
	}
}
