package e2epolicy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/internal/e2e-policy/published"
)

// modules lists the modules with the consumers' definitions, in the versions that policy writes
// for, and the folders or files that contain them.
var modules = map[string][]string{
	"github.com/notaryproject/ratify@v1.4.6":                                                {"config/crd/bases"},
	"github.com/ratify-project/ratify/v2@v2.0.0-beta.2":                                     {"config/crd/bases"},
	"github.com/kyverno/kyverno@v1.19.1":                                                    {"config/crds/kyverno", "config/crds/policies.kyverno.io"},
	"github.com/fluxcd/source-controller@v1.9.4":                                            {"config/crd/bases"},
	"github.com/open-policy-agent/frameworks/constraint@v0.0.0-20260616163050-e1eaa1bf6d62": {"deploy"},
}

// definition judges objects of one version of a kind, as the API server does when they are created.
type definition struct {
	kind       string
	deprecated string // the reason
	structural *structuralschema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

// definitions reads all definitions of the modules, by group, version and kind.
func definitions(t *testing.T) map[string]*definition {
	t.Helper()
	all := map[string]*definition{}
	for module, places := range modules {
		root, err := published.Folder(module)
		if err != nil {
			t.Fatal(err)
		}
		for _, place := range places {
			err := filepath.WalkDir(filepath.Join(root, filepath.FromSlash(place)), func(path string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
					return err
				}
				raw, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				return define(all, raw)
			})
			if err != nil {
				t.Fatalf("%s: %v", module, err)
			}
		}
	}
	return all
}

func define(all map[string]*definition, raw []byte) error {
	for _, part := range bytes.Split(raw, []byte("\n---")) {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(part, &crd); err != nil || crd.Kind != "CustomResourceDefinition" {
			continue // the folder also has patches and lists
		}
		for _, v := range crd.Spec.Versions {
			if !v.Served || v.Schema == nil {
				continue
			}
			d, err := newDefinition(crd.Spec.Names.Kind, v.Schema)
			if err != nil {
				return fmt.Errorf("%s %s: %w", crd.Name, v.Name, err)
			}
			if v.Deprecated {
				d.deprecated = "deprecated"
				if v.DeprecationWarning != nil {
					d.deprecated = *v.DeprecationWarning
				}
			}
			all[crd.Spec.Group+"/"+v.Name+" "+crd.Spec.Names.Kind] = d
		}
	}
	return nil
}

func newDefinition(kind string, v1 *apiextensionsv1.CustomResourceValidation) (*definition, error) {
	var schema apiextensions.CustomResourceValidation
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(v1, &schema, nil); err != nil {
		return nil, err
	}
	d := &definition{kind: kind}
	var err error
	if d.structural, err = structuralschema.NewStructural(schema.OpenAPIV3Schema); err != nil {
		return nil, err
	}
	if d.schema, _, err = validation.NewSchemaValidator(schema.OpenAPIV3Schema); err != nil {
		return nil, err
	}
	d.rules = cel.NewValidator(d.structural, true, celconfig.PerCallLimit)
	return d, nil
}

// judge returns the API server's objections to an object: unknown fields, schema violations,
// violated CEL rules.
func (d *definition) judge(t *testing.T, object map[string]any) []string {
	t.Helper()
	var wrong []string
	unknown := pruning.PruneWithOptions(runtimeCopy(t, object), d.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	for _, path := range unknown {
		wrong = append(wrong, "unknown field "+path)
	}
	for _, err := range validation.ValidateCustomResource(nil, object, d.schema) {
		wrong = append(wrong, err.Error())
	}
	if d.rules != nil {
		errs, _ := d.rules.Validate(t.Context(), field.NewPath(""), d.structural, object, nil, celconfig.RuntimeCELCostBudget)
		for _, err := range errs {
			wrong = append(wrong, err.Error())
		}
	}
	return wrong
}

func runtimeCopy(t *testing.T, object map[string]any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var other map[string]any
	if err := json.Unmarshal(raw, &other); err != nil {
		t.Fatal(err)
	}
	return other
}

// undefined lists kinds without a definition in these modules: kinds of Kubernetes itself, and the
// constraint, whose kind the template creates.
var undefined = []string{"v1 Secret", "constraints.gatekeeper.sh/v1beta1 NotationVerified"}

// The consumers' API servers would store what policy writes.
func TestGoldenManifestsFitTheConsumersDefinitions(t *testing.T) {
	known := definitions(t)
	seen := map[string]int{}
	golden := filepath.Join("..", "..", "notation", "policy", "testdata", "golden")
	err := filepath.WalkDir(golden, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, o := range objects(t, raw) {
			kind := fmt.Sprint(o["apiVersion"], " ", o["kind"])
			if o["kind"] == nil || slices.Contains(undefined, kind) {
				continue
			}
			seen[kind]++
			if known[kind] == nil {
				t.Errorf("%s: no API server knows %s", path, kind)
				continue
			}
			if why := known[kind].deprecated; why != "" && o["kind"] != "ClusterPolicy" { // which is written only on request
				t.Errorf("%s: %s: %s", path, kind, why)
			}
			for _, w := range known[kind].judge(t, o) {
				t.Errorf("%s: %s: %s", path, kind, w)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"KeyManagementProvider", "Verifier", "Store", "Policy", "ImageValidatingPolicy", "ClusterPolicy", "ConstraintTemplate", "Provider", "Executor"} {
		if !slices.ContainsFunc(keys(seen), func(k string) bool { return strings.HasSuffix(k, " "+kind) }) {
			t.Errorf("no golden file has a %s", kind)
		}
	}
	t.Run("the patch of an OCIRepository", func(t *testing.T) { patched(t, known, golden) })
	t.Run("what is wrong is found", func(t *testing.T) { wrong(t, known, golden) })
}

// patched applies Flux's patch to an OCIRepository.
func patched(t *testing.T, known map[string]*definition, golden string) {
	raw, err := os.ReadFile(filepath.Join(golden, "flux-enforce", "patch-migrated-release.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"OCIRepository", "HelmChart"} {
		o := map[string]any{"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": kind, "metadata": map[string]any{"name": "app"}}
		spec := map[string]any{"interval": "5m", "url": "oci://registry.example.com/team/app"}
		if kind == "HelmChart" {
			spec = map[string]any{"interval": "5m", "chart": "app", "sourceRef": map[string]any{"kind": "HelmRepository", "name": "app"}}
		}
		spec["verify"] = objects(t, raw)[0]["spec"].(map[string]any)["verify"]
		o["spec"] = spec
		if found := known["source.toolkit.fluxcd.io/v1 "+kind].judge(t, o); len(found) > 0 {
			t.Errorf("%s: %v", kind, found)
		}
		spec["verify"].(map[string]any)["provider"] = "notary"
		if found := known["source.toolkit.fluxcd.io/v1 "+kind].judge(t, o); len(found) == 0 {
			t.Errorf("%s: a provider that Flux does not know passes", kind)
		}
	}
}

// These are mistakes in published guides, which the judge finds.
func wrong(t *testing.T, known map[string]*definition, golden string) {
	raw, err := os.ReadFile(filepath.Join(golden, "kyverno-enforce", "kyverno.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(spec map[string]any){
		"an unknown field":    func(s map[string]any) { s["trustedIdentities"] = []any{"*"} },
		"an unknown action":   func(s map[string]any) { s["validationActions"] = []any{"Enforce"} },
		"an attestor of none": func(s map[string]any) { s["attestors"] = []any{map[string]any{"name": 1}} },
	} {
		o := objects(t, raw)[0]
		change(o["spec"].(map[string]any))
		if found := known["policies.kyverno.io/v1 ImageValidatingPolicy"].judge(t, o); len(found) == 0 {
			t.Errorf("%s passes", what)
		}
	}
}

func keys(m map[string]int) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	return all
}

func objects(t testing.TB, raw []byte) []map[string]any {
	t.Helper()
	var all []map[string]any
	for _, part := range bytes.Split(raw, []byte("\n---\n")) {
		var o map[string]any
		if err := yaml.Unmarshal(part, &o); err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}
