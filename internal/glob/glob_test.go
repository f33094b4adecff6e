package glob

import "testing"

// What a glob matches decides what is signed. Rows marked "differs" are those that a library reads in another way
// (docs/adr/0008-globs.md).
func TestGlobMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		glob, name string
		want       bool
	}{
		{"r/*", "r/app", true},
		{"r/*", "r/", true},
		{"r/*", "r/team/app", false},
		{"r/*/app", "r/team/app", true},
		{"r/*/app", "r/team/a/app", false},
		{"r/**", "r/app", true},
		{"r/**", "r/team/app", true},
		{"r/**", "r", false}, // differs
		{"r/**/app", "r/team/a/app", true},
		{"r/**/app", "r/app", false}, // differs
		{"**/app", "r/team/app", true},
		{"**/app", "app", false},                   // differs
		{"r/team**", "r/team-a/app", true},         // differs
		{"**-internal", "r/team/x-internal", true}, // differs
		{"r/a***", "r/ab/c", true},                 // differs
		{"**", "r/team/app", true},
		{"v?", "v1", true},
		{"v?", "v", false},
		{"v?", "v12", false},
		{"v?", "v/", false},
		{"v?", "vé", true},
		{"v*", "1v1", false},
		{"*v", "v1", false},
		{"V*", "v1", false},
		{"v1.*", "v1.2", true},
		{"v1.*", "v1x2", false},
		{"r:5000/*+(a)", "r:5000/b+(a)", true},
		{"é*", "é1", true},
		{`a\*`, "a*", false}, // differs: a backslash is itself, and no name has one
	} {
		g, err := ParseAll([]string{"unlike", c.glob})
		if err != nil {
			t.Errorf("glob %q: got error %v, want none", c.glob, err)
			continue
		}
		if got := g.Match(c.name); got != c.want {
			t.Errorf("glob %q, name %q: got %v, want %v", c.glob, c.name, got, c.want)
		}
	}
	for _, bad := range []string{"", "v[12]*", "{a,b}*", "a]", "a}"} {
		if _, err := ParseAll([]string{"*", bad}); err == nil {
			t.Errorf("glob %q: got no error, want it refused", bad)
		}
	}
}
