package lint

import (
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/schematest"
)

var update = flag.Bool("update", false, "write what the pages have of the source")

// hinted is an error in the source with its hint for the user. In both, … stands for what varies.
// hint is empty if it is composed elsewhere.
type hinted struct{ message, hint string }

// formatVerb matches what fmt replaces in a message's format.
var formatVerb = regexp.MustCompile(`%%|%[-+# 0]*(\[\d\])?[\d.*]*[a-zA-Z]`)

// plainText returns a format without its verbs.
func plainText(format string) string {
	return strings.TrimSpace(formatVerb.ReplaceAllStringFunc(format, func(verb string) string {
		if verb == "%%" {
			return "%"
		}
		return "…"
	}))
}

// productFiles parses the program's source, without tests and without what only tests and the
// demonstration use.
func productFiles(t *testing.T) (all []*ast.File) {
	t.Helper()
	skip := []string{"cmd/demo", "cmd/notation-awskms", "cmd/notation-pkcs11", "internal/e2e", "internal/e2e-policy", "internal/testing", "internal/lint", "internal/mutate", "internal/rawplugin", "internal/release", "internal/schematest"}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(root, path)
		switch {
		case err != nil || relErr != nil:
			return errors.Join(err, relErr)
		case d.IsDir() && (d.Name() == "testdata" || slices.Contains(skip, filepath.ToSlash(rel)) || rel != "." && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		all = append(all, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// literals returns the strings in an expression or file.
func literals(in ast.Node) (all []string) {
	ast.Inspect(in, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if s, err := strconv.Unquote(l.Value); err == nil {
				all = append(all, s)
			}
		}
		return true
	})
	return all
}

// section is about a message of the program, in the page's own words.
var section = regexp.MustCompile(`(?m)^### (.*)$`)

// wordy matches what a message needs, besides what varies, to be found by its words.
var wordy = regexp.MustCompile(`[a-z][^…]{8,}`)

// TestTroubleshooting checks that the program says what the page has as messages, and that each
// error with a hint is on the page: as a heading, or in the table of all others.
func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	page := filepath.Join(root, "docs", "troubleshooting.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	var all []hinted
	for _, file := range productFiles(t) {
		for _, l := range literals(file) {
			said = append(said, plainText(l))
		}
		all = append(all, hints(file)...)
	}
	var parts []string
	for _, m := range section.FindAllStringSubmatch(string(text), -1) {
		// The parts of a message often come from several nested errors.
		if slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, m[1]) }) {
			parts = append(parts, m[1])
			continue
		}
		for part := range strings.SplitSeq(m[1], ": ") {
			if strings.Trim(part, "… ") == "" {
				continue
			}
			if !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, part) }) {
				t.Errorf("%s: %q: got no such words in the source, want those of a message", page, part)
			}
			parts = append(parts, part)
		}
	}
	if len(parts) < 50 {
		t.Errorf("got %d messages in headings, want at least 50", len(parts))
	}
	var rows []string
	for _, h := range all {
		known := slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(h.message, p) || strings.Contains(p, h.message) })
		if !known && wordy.MatchString(h.message) && wordy.MatchString(h.hint) {
			rows = append(rows, "| "+cells.Replace(h.message)+" | "+cells.Replace(h.hint)+" |\n")
		}
	}
	slices.Sort(rows)
	schematest.Made(t, page, "hints", "| message | hint |\n|---|---|\n"+strings.Join(slices.Compact(rows), ""), *update)
}

// cells escapes what a table would misinterpret.
var cells = strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "\n", " ")

// formatOf returns the text of an expression, with %v for everything that is not a literal.
func formatOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return s
		}
	case *ast.BinaryExpr:
		return formatOf(e.X) + formatOf(e.Y)
	case *ast.CallExpr:
		if len(e.Args) > 0 {
			return formatOf(e.Args[0])
		}
	}
	return "%v"
}

// hints returns the errors of a file that have a hint.
func hints(file *ast.File) (all []hinted) {
	add := func(message, hint string) {
		if message = plainText(message); strings.Trim(message, "…: ") != "" {
			if hint = plainText(hint); strings.HasSuffix(hint, ":") {
				hint += " …"
			}
			all = append(all, hinted{message, hint})
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if s, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				if message, hint, has := strings.Cut(s, "\nhint: "); has {
					add(message, hint)
				}
			}
		case *ast.CallExpr:
			var called string
			switch f := n.Fun.(type) {
			case *ast.SelectorExpr:
				called = f.Sel.Name
			case *ast.Ident:
				called = f.Name
			}
			if called == "WithHint" && len(n.Args) == 3 {
				add(formatOf(n.Args[1]), formatOf(n.Args[2]))
			}
		case *ast.CompositeLit:
			var message, hint string
			for _, e := range n.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					switch key, _ := kv.Key.(*ast.Ident); {
					case key == nil:
					case key.Name == "Err" || key.Name == "Detail":
						message = formatOf(kv.Value)
					case key.Name == "Hint":
						hint = formatOf(kv.Value)
					}
				}
			}
			if hint != "" {
				add(message, hint)
			}
		}
		return true
	})
	return all
}
