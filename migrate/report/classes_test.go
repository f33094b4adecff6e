package report

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/schematest"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// Each class has a meaning and advice, the same on the page of a result and in the reference.
func TestClasses(t *testing.T) {
	t.Parallel()
	raw, _ := Schema("verify")
	var schema struct {
		Defs struct {
			Row struct {
				Properties struct{ Class struct{ Enum []verify.Class } }
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	for _, class := range schema.Defs.Row.Properties.Class.Enum {
		if !slices.Contains(verify.Classes(), class) {
			t.Errorf("%s: got no place among all classes, want one", class)
		}
	}
	var tags, failures strings.Builder
	fmt.Fprint(&tags, "| class | what it means | what to do | exit code |\n|---|---|---|---|\n")
	for _, c := range verify.Classes() {
		do, code := remedies[c], "4"
		switch {
		case c.Agrees():
			do, code = "Nothing.", "0"
		case c == verify.Unknown:
			code = "3"
		}
		fmt.Fprintf(&tags, "| `%s` | %s | %s | %s |\n", c, want(t, c, meanings[OfVerify][string(c)]), want(t, c, do), code)
	}
	fmt.Fprint(&failures, "| word | what it means | what to do |\n|---|---|---|\n")
	for _, c := range append(slices.Clone(failure.FailureClasses), failure.SkipClasses...) {
		fmt.Fprintf(&failures, "| `%s` | %s | %s |\n", c, want(t, c, failureMeanings[c]), want(t, c, failureRemedies[c]))
	}
	const page = "../../docs/reference/classes.md"
	schematest.Made(t, page, "classes", tags.String(), *update)
	schematest.Made(t, page, "failures", failures.String(), *update)
	text, err := os.ReadFile(page)
	must(t, err)
	for _, word := range []string{
		dct.FlagLegacyTargets, dct.FlagDegraded, dct.FlagRolesDisagree, verify.FlagUnbound, verify.FlagGone, verify.FlagForeign, verify.FlagWithdrawn, verify.FlagPlatform,
		dct.SignerOnly, dct.Shadowed, dct.InvalidTarget, dct.UnreachableTarget, OddName,
	} {
		if !strings.Contains(string(text), "\n| `"+word+"` |") {
			t.Errorf("%s: got no row of it in %s, want one", word, page)
		}
	}
}

func want[C ~string](t *testing.T, class C, text string) string {
	t.Helper()
	if text == "" {
		t.Errorf("%s: got no meaning, or nothing to do about it; want both", class)
	}
	return text
}
