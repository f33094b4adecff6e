package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/dct2notation/dct2notation/"

// rules say which packages of ours a folder's packages may import. All others are forbidden. The
// most specific folder counts.
var rules = map[string][]string{
	"dct":                        {"internal/failure", "internal/certfile", "internal/lookup", "internal/transport", "internal/safetext", "internal/strictjson"},
	"dct/snapshot":               {"internal/failure", "internal/lookup", "dct", "internal/durable", "internal/ordered", "internal/safetext"},
	"notation":                   {"internal/retry", "internal/failure", "internal/certfile", "internal/lookup", "internal/registry", "internal/transport", "internal/safetext", "internal/strictjson"},
	"notation/policy":            {"internal/durable", "internal/safetext", "notation"},
	"notation/signature":         {"notation", "internal/failure", "internal/lookup", "internal/registry", "internal/safetext"},
	"state":                      {"internal/lookup", "internal/durable", "internal/safetext", "internal/strictjson"},
	"migrate":                    {"internal/retry", "internal/failure", "internal/lookup", "dct", "state", "internal/ordered", "internal/safetext", "internal/strictjson"},
	"migrate/report":             {"migrate/verify", "migrate/undo", "internal/failure", "internal/lookup", "dct", "state", "migrate", "internal/safetext", "internal/strictjson"},
	"migrate/verify":             {"dct", "internal/failure", "internal/glob", "internal/lookup", "internal/ordered", "internal/safetext", "internal/strictjson", "migrate", "state"},
	"migrate/undo":               {"internal/failure", "internal/lookup", "internal/retry", "internal/safetext", "migrate", "state"},
	"internal/retry":             {},
	"internal/testing/scenetest": {"dct", "internal/failure", "internal/lookup", "internal/testing"},
	"internal/registry":          {"internal/retry", "internal/failure", "internal/lookup", "internal/transport", "internal/safetext"},
	"internal/transport":         {"internal/certfile", "internal/lookup", "internal/safetext"},
	"internal/certfile":          {"internal/safetext"},
	"internal/durable":           {},
	"internal/failure":           {},
	"internal/glob":              {"internal/safetext"},
	"internal/lookup":            {},
	"internal/monitor":           {},
	"internal/mutate":            {},
	"internal/ordered":           {},
	"internal/rawplugin":         {"internal/certfile", "internal/testing/pki"},
	"internal/safetext":          {},
	"internal/strictjson":        {},
	"internal/testing":           {},
	"internal/lint":              {},
	"internal/schematest":        {},
	"cmd":                        nil, // connects everything
	"cmd/notation-awskms":        {"internal/rawplugin", "internal/testing/pki"},
	"cmd/notation-pkcs11":        {"internal/rawplugin"},
}

// notByCommand are the packages of ours that no verb may import. A session provides clients, and a
// verb's decisions are made in packages below it.
var notByCommand = []string{"internal/registry", "dct/internal", "state/internal"}

// pure packages may not use the network directly.
var pure = map[string]bool{"migrate/report": true, "notation/policy": true}

// root is the repository's root, relative to this package.
const root = "../.."

type listed struct {
	ImportPath string
	Imports    []string
	CgoFiles   []string
	Standard   bool
}

// TestImportRules checks the arrows of the package map: who may import whom.
func TestImportRules(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		folder, allowed, ok := ruleOf(name)
		if !ok {
			t.Errorf("%s has no import rule: add its folder to rules", name)
			continue
		}
		for _, imp := range p.Imports {
			ours, isOurs := strings.CutPrefix(imp, module)
			switch {
			case pure[folder] && (imp == "net/http" || imp == "net" || strings.HasPrefix(imp, "oras.land/")):
				t.Errorf("%s imports %s, and renders only", name, imp)
			case within(name, "cmd/dct2notation/command") && isOurs && anyWithin(ours, notByCommand):
				t.Errorf("%s imports %s: a verb reaches it by a session", name, ours)
			case !isOurs || allowed == nil || within(ours, folder):
			case !anyWithin(ours, allowed):
				t.Errorf("%s imports %s: against the package map", name, ours)
			}
		}
	}
}

// TestProductNeedsNoC ensures that the product can be built as one static binary: nothing from
// which it or its tests are built contains C, except where the standard library can do without it.
func TestProductNeedsNoC(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, root, "-deps", "-test", module+"...") {
		if len(p.CgoFiles) > 0 && !p.Standard {
			t.Errorf("%s has C in it: got %q, want no file that imports C", p.ImportPath, p.CgoFiles)
		}
	}
}

// packages returns the packages of the product and of the plugins, which are modules of their own.
// The modules of the end-to-end tests may import anything.
func packages(t *testing.T) []listed {
	t.Helper()
	return slices.Concat(list(t, root, module+"..."), list(t, root+"/cmd/notation-pkcs11", "./..."), list(t, root+"/cmd/notation-awskms", "./..."))
}

// list returns the output of `go list` in a folder, with cgo enabled whatever the environment says.
func list(t *testing.T, dir string, args ...string) []listed {
	t.Helper()
	c := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,CgoFiles,Standard"}, args...)...)
	c.Dir, c.Env = dir, append(os.Environ(), "CGO_ENABLED=1")
	out, err := c.Output()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 2 {
		t.Fatalf("got %d packages in %s, want at least 2", len(all), dir)
	}
	return all
}

func ruleOf(name string) (folder string, allowed []string, ok bool) {
	for f, a := range rules {
		if within(name, f) && len(f) > len(folder) {
			folder, allowed, ok = f, a, true
		}
	}
	return folder, allowed, ok
}

func within(name, folder string) bool { return name == folder || strings.HasPrefix(name, folder+"/") }

func anyWithin(name string, folders []string) bool {
	for _, f := range folders {
		if within(name, f) {
			return true
		}
	}
	return false
}
