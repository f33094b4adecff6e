// Command metrics measures the layout of the code, as one table, so that a change of layout can be
// shown in numbers. It judges nothing and always exits with 0.
//
// The uses in a package are pairs of its files: one names something that the other declares. The
// files are put in an order in which users are above what they use: strongly connected components
// of the uses in topological order, and inside each the order with the fewest uses against it,
// found by moving one file at a time. Uses against that order run upward; there are none if no
// files use each other in a circle. Layers are the files on the longest path down.
package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	verbs   = "cmd/dct2notation/command"
	shell   = "cmd/dct2notation/internal"
	engine  = "migrate"
	helpers = "_helpers_test.go"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	table, err := measure(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "metrics:", err)
		os.Exit(1)
	}
	fmt.Print(table)
}

// measure returns the table for the repository in a folder.
func measure(root string) (string, error) {
	c, err := count(root)
	if err != nil {
		return "", err
	}
	uses, err := usesIn(root, "./"+verbs)
	if err != nil {
		return "", err
	}
	order := uses.order()
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		return "", err
	}
	longest := 0
	for line := range bytes.Lines(readme) {
		longest = max(longest, len([]rune(strings.TrimSuffix(string(line), "\n"))))
	}
	var b strings.Builder
	for _, row := range []struct{ name, value string }{
		{verbs, fmt.Sprintf("%d lines, %d files", c.lines[verbs], c.files[verbs])},
		{"  its files' uses of each other", fmt.Sprintf("%d, %d upward, %d layers", uses.count(), uses.upward(order), uses.layers(order))},
		{shell, fmt.Sprintf("%d lines, %d files", c.lines[shell], c.files[shell])},
		{"files with methods of migrate.run / Engine", fmt.Sprintf("%d / %d", len(c.methods["run"]), len(c.methods["Engine"]))},
		{"test files beside the source of their name", c.beside.String()},
		{"test failure messages with got and want", c.gotWant.String() + ", with either " + c.either.String()},
		{"README.md", fmt.Sprintf("%d bytes, longest line %d", len(readme), longest)},
		{"product", fmt.Sprintf("%d lines", c.lines["product"])},
		{"support (bench, test servers, e2e helpers)", fmt.Sprintf("%d lines", c.lines["support"])},
	} {
		fmt.Fprintf(&b, "%-44s %s\n", row.name, row.value)
	}
	return b.String(), nil
}

// share is how many of all are as wanted.
type share struct{ good, all int }

func (s *share) add(good bool) {
	s.all++
	if good {
		s.good++
	}
}

func (s share) String() string {
	return fmt.Sprintf("%d %% (%d of %d)", (200*s.good+s.all)/max(1, 2*s.all), s.good, s.all)
}

// counts has the results of one walk over the source.
type counts struct {
	lines, files    map[string]int             // by group: verbs, shell, product, support
	methods         map[string]map[string]bool // files, by receiver in package migrate
	beside          share
	gotWant, either share // failure messages of tests
}

func count(root string) (*counts, error) {
	c := &counts{lines: map[string]int{}, files: map[string]int{}, methods: map[string]map[string]bool{}}
	tree := os.DirFS(root)
	return c, fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || name != "." && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if source, isTest := strings.CutSuffix(name, "_test.go"); isTest {
			ast.Inspect(file, c.message)
			if !strings.HasSuffix(name, helpers) && hasSource(tree, path.Dir(name)) {
				_, err := fs.Stat(tree, source+".go")
				c.beside.add(err == nil)
			}
			return nil
		}
		for _, g := range groups(path.Dir(name)) {
			c.files[g]++
			c.lines[g] += bytes.Count(src, []byte("\n"))
		}
		if path.Dir(name) == engine {
			c.receivers(name, file)
		}
		return nil
	})
}

// notProduct matches folders whose code is not part of the product. Of those, support matches code
// that tests use.
var (
	notProduct = regexp.MustCompile(`^(internal/(testing|e2e[^/]*|lint|mutate|schematest|rawplugin)|cmd/demo|cmd/notation-(pkcs11|awskms))(/|$)`)
	support    = regexp.MustCompile(`^internal/(testing|e2e[^/]*)(/|$)`)
)

func groups(folder string) (in []string) {
	switch {
	case folder == verbs:
		in = append(in, verbs)
	case strings.HasPrefix(folder, shell+"/"):
		in = append(in, shell)
	}
	switch {
	case support.MatchString(folder):
		in = append(in, "support")
	case !notProduct.MatchString(folder):
		in = append(in, "product")
	}
	return in
}

var got, want = regexp.MustCompile(`(?i)\bgot\b`), regexp.MustCompile(`(?i)\bwant(s|ed)?\b`)

// message counts calls that fail a test with a format.
func (c *counts) message(n ast.Node) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return true
	}
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || fun.Sel.Name != "Errorf" && fun.Sel.Name != "Fatalf" {
		return true
	}
	if x, ok := fun.X.(*ast.Ident); !ok || x.Name == "fmt" {
		return true
	}
	var format strings.Builder
	ast.Inspect(call.Args[0], func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok {
			format.WriteString(l.Value)
		}
		return true
	})
	hasGot, hasWant := got.MatchString(format.String()), want.MatchString(format.String())
	c.gotWant.add(hasGot && hasWant)
	c.either.add(hasGot || hasWant)
	return true
}

// receivers records the receivers of a file's methods.
func (c *counts) receivers(name string, file *ast.File) {
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv == nil {
			continue
		}
		of := f.Recv.List[0].Type
		if star, ok := of.(*ast.StarExpr); ok {
			of = star.X
		}
		if id, ok := of.(*ast.Ident); ok {
			if c.methods[id.Name] == nil {
				c.methods[id.Name] = map[string]bool{}
			}
			c.methods[id.Name][name] = true
		}
	}
}

// hasSource reports whether a folder has Go files other than tests. Those of end-to-end tests have
// none, so there is nothing beside which a test could be placed.
func hasSource(tree fs.FS, dir string) bool {
	files, _ := fs.Glob(tree, dir+"/*.go") // the only possible error is a bad pattern
	return slices.ContainsFunc(files, func(f string) bool { return !strings.HasSuffix(f, "_test.go") && path.Base(f) != "doc.go" })
}
