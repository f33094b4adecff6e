package e2epolicy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/types"
)

// ask runs the template's rule on a Pod. answer is what Gatekeeper's external data returns for the
// requested keys.
func ask(t *testing.T, golden string, spec map[string]any, answer func(provider string, keys []string) map[string]any) (violations []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "notation", "policy", "testdata", "golden", golden, "gatekeeper-template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	target := objects(t, raw)[0]["spec"].(map[string]any)["targets"].([]any)[0].(map[string]any)
	r := rego.New(
		rego.SetRegoVersion(ast.RegoV0),
		rego.Query("data.notationverified.violation"),
		rego.Module("template.rego", target["rego"].(string)),
		rego.Input(map[string]any{"review": map[string]any{"object": map[string]any{"spec": spec}}}),
		rego.Function1(&rego.Function{Name: "external_data", Decl: types.NewFunction(types.Args(types.A), types.A)},
			func(_ rego.BuiltinContext, request *ast.Term) (*ast.Term, error) {
				v, err := ast.JSON(request.Value)
				if err != nil {
					return nil, err
				}
				asked := v.(map[string]any)
				var keys []string
				for _, k := range asked["keys"].([]any) {
					keys = append(keys, k.(string))
				}
				slices.Sort(keys)
				out, err := ast.InterfaceToValue(answer(asked["provider"].(string), keys))
				return ast.NewTerm(out), err
			}),
	)
	set, err := r.Eval(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range set[0].Expressions[0].Value.([]any) {
		violations = append(violations, fmt.Sprint(v.(map[string]any)["msg"]))
	}
	return violations
}

// Every image of a Pod is looked up, and whatever is not reported as good is denied: if it is bad,
// if there is no answer for it, and if Ratify cannot be reached.
func TestGatekeeperAsksForEveryContainer(t *testing.T) {
	image := func(names ...string) []any {
		var all []any
		for _, n := range names {
			all = append(all, map[string]any{"name": n, "image": n})
		}
		return all
	}
	pod := map[string]any{"containers": image("good", "second"), "initContainers": image("init"), "ephemeralContainers": image("debug"),
		"volumes": []any{map[string]any{"name": "content", "image": map[string]any{"reference": "volume"}}, map[string]any{"name": "scratch", "emptyDir": map[string]any{}}}}
	for golden, field := range map[string]string{"ratify-enforce": "isSuccess", "ratify-v2-enforce": "succeeded"} {
		saying := func(bad string) func(string, []string) map[string]any {
			return func(provider string, keys []string) map[string]any {
				if !slices.Equal(keys, []string{"debug", "good", "init", "second", "volume"}) || !strings.HasPrefix(provider, "ratify-") {
					t.Errorf("%s: %s is asked for %v", golden, provider, keys)
				}
				var responses []any
				for _, k := range keys {
					responses = append(responses, []any{k, map[string]any{field: k != bad}})
				}
				return map[string]any{"responses": responses, "errors": []any{}, "system_error": ""}
			}
		}
		if v := ask(t, golden, pod, saying("none")); len(v) > 0 {
			t.Errorf("%s: a good Pod is denied: %v", golden, v)
		}
		for _, bad := range []string{"good", "second", "init", "debug", "volume"} {
			if v := ask(t, golden, pod, saying(bad)); len(v) != 1 || !strings.Contains(v[0], bad) {
				t.Errorf("%s: %s is bad, and it says %v", golden, bad, v)
			}
		}
		for what, answer := range map[string]map[string]any{
			"no Ratify":    {"responses": []any{}, "errors": []any{}, "system_error": "connection refused"},
			"an error":     {"responses": []any{}, "errors": []any{[]any{"good", "no executor"}}, "system_error": ""},
			"no such word": {"responses": []any{[]any{"good", map[string]any{}}}, "errors": []any{}, "system_error": ""},
		} {
			if v := ask(t, golden, pod, func(string, []string) map[string]any { return answer }); len(v) == 0 {
				t.Errorf("%s: %s, and the Pod is admitted", golden, what)
			}
		}
	}
}
