package lint

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/dct2notation/dct2notation/"

// rules say which packages of ours a folder's packages may import; all others are
// forbidden to it. The most specific folder counts.
var rules = map[string][]string{
	"dct":                           {"internal/certfile", "internal/lookup", "internal/transport", "internal/safetext"},
	"dct/snapshot":                  {"internal/lookup", "dct", "internal/durable", "internal/ordered", "internal/safetext"},
	"notation":                      {"internal/certfile", "internal/lookup", "internal/registry", "internal/transport", "internal/safetext", "internal/strictjson"},
	"notation/policy":               {"internal/safetext"},
	"notation/signature":            {},
	"state":                         {"internal/lookup", "internal/durable", "internal/safetext"},
	"migrate":                       {"internal/lookup", "dct", "state", "internal/ordered", "internal/safetext", "internal/strictjson"},
	"migrate/report":                {"internal/lookup", "dct", "state", "migrate", "internal/safetext", "internal/strictjson"},
	"internal/registry":             {"internal/lookup", "internal/transport", "internal/safetext"},
	"internal/transport":            {"internal/certfile", "internal/lookup", "internal/safetext"},
	"internal/certfile":             {"internal/safetext"},
	"internal/durable":              {},
	"internal/lookup":               {},
	"internal/monitor":              {},
	"internal/mutate":               {},
	"internal/ordered":              {},
	"internal/safetext":             {},
	"internal/strictjson":           {},
	"internal/testing/notarytest":   {},
	"internal/testing/registrytest": {},
	"internal/testing/kmstest":      {},
	"internal/testing/tsatest":      {},
	"internal/testing/servertest":   {},
	"internal/lint":                 {},
	"internal/schematest":           {},
	"cmd":                           nil, // wires everything
}

// packages that are pure may not reach the network, directly.
var pure = map[string]bool{"migrate/report": true, "notation/policy": true}

type listed struct {
	ImportPath string
	Imports    []string
}

// TestImportRules holds the arrows of the package map: who may import whom.
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
			case !isOurs || allowed == nil || within(ours, folder):
			case !anyWithin(ours, allowed):
				t.Errorf("%s imports %s: against the package map", name, ours)
			}
		}
	}
}

// TestOnlyPKCS11NeedsC keeps the product buildable as one static binary.
func TestOnlyPKCS11NeedsC(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			if (imp == "C" || imp == "github.com/miekg/pkcs11") && !strings.HasPrefix(p.ImportPath, module+"cmd/notation-pkcs11") {
				t.Errorf("%s imports %s", p.ImportPath, imp)
			}
		}
	}
}

func packages(t *testing.T) []listed {
	t.Helper()
	c := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	out, err := c.Output()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages found", len(all))
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
