package schematest

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Made compares a part of a document with what a test has made of the code; with update it writes it there. The
// part begins with a comment of the name and ends with one that says so.
func Made(t testing.TB, path, name, made string, update bool) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- %s: made by %s -->\n", name, t.Name()), fmt.Sprintf("<!-- end of %s -->\n", name)
	before, rest, begins := strings.Cut(string(raw), begin)
	was, after, ends := strings.Cut(rest, end)
	switch {
	case !begins || !ends:
		t.Fatalf("%s: got no part between %q and %q, want one", path, begin, end)
	case was == made:
	case update:
		if err := os.WriteFile(path, []byte(before+begin+made+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		lines := append(strings.Split(was, "\n"), "the end")
		for i, line := range append(strings.Split(made, "\n"), "the end") {
			if i >= len(lines) || line != lines[i] {
				t.Errorf("%s: line %d of %s is\n%s\nand the code makes\n%s\nrun go test -run %s -update and review the change",
					path, i+1, name, lines[min(i, len(lines)-1)], line, t.Name())
				return
			}
		}
	}
}
