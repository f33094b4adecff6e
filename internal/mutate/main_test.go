package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMutate runs the tool on a module with two functions, of which one is tested.
func TestMutate(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module example.com/m\n\ngo 1.26\n",
		"m.go":      "package m\n\nfunc Tested(a int) bool {\n\treturn a < 3\n}\n\nfunc Untested(a int) bool {\n\treturn a > 3\n}\n",
		"m_test.go": "package m\n\nimport \"testing\"\n\nfunc TestTested(t *testing.T) {\n\tif Tested(3) || !Tested(2) {\n\t\tt.Fatal()\n\t}\n}\n",
		"why.txt":   "# survivors\nexample.com/m Untested: 4 for 3 => nobody calls it\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for _, c := range []struct {
		explained string
		open      int
	}{{"", 2}, {"why.txt", 1}} {
		open, err := run(context.Background(), options{count: 100, parallel: 2, timeout: time.Minute, explained: c.explained}, []string{"."})
		if err != nil || open != c.open {
			t.Errorf("run with %q = %d open, %v, want %d", c.explained, open, err, c.open)
		}
	}
}

// TestMutantsOf shows each kind of change once.
func TestMutantsOf(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.go")
	code := `package x

import "errors"

func f(a []int, ok bool) error {
	for _, v := range a {
		if v == 1 && !ok {
			continue
		}
		g(v)
	}
	switch {
	case len(a) >= 7:
		return errors.New("x")
	}
	err := g(0)
	return err
}

func g(int) error { return nil }
`
	if err := os.WriteFile(path, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := mutantsOf(source{"x", path})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range all {
		names = append(names, m.name())
	}
	for _, want := range []string{
		"x f: if not v == 1 && !ok", "x f: v == 1 && !ok with ||", "x f: v == 1 with !=", "x f: !ok without !",
		"x f: without continue", "x f: without g(v)", "x f: len(a) >= 7 with >", "x f: 8 for 7", "x f: return err with nil",
		"x f: empty case len(a) >= 7:…",
	} {
		if !strings.Contains(strings.Join(names, "\n")+"\n", want+"\n") {
			t.Errorf("got mutants\n%s\nwant %q among them", strings.Join(names, "\n"), want)
		}
	}
}
