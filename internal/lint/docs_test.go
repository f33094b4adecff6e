package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"image/color"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

var (
	link    = regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)]*))?\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	// A name and the file that declares it: `NewRoot` in [root.go](cmd/dct2notation/command/root.go).
	declared = regexp.MustCompile("`(\\w+)`\\s+in\\s+\\[[^]]*\\]\\(([^)]+\\.go)\\)")
	// A source file, from the root: `migrate/vouch.go`.
	source = regexp.MustCompile("`([a-z][\\w-]*/[\\w/.-]+\\.go)`")
	way    = regexp.MustCompile(`(?m)^\*\*An? ([a-z ]+)\.\*\*`)
)

// TestDocumentsNameWhatExists checks that the files, and the names in them, to which documents
// refer exist.
func TestDocumentsNameWhatExists(t *testing.T) {
	t.Parallel()
	for _, doc := range documents(t) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], ":") && !strings.HasPrefix(m[1], online) {
				continue
			}
			to := doc
			if m[1] != "" {
				to = linked(doc, m[1])
				exists(t, doc, to)
			}
			if m[2] != "" && !slices.Contains(anchors(t, to), m[2]) {
				t.Errorf("%s: got no heading for #%s in %s, want one", doc, m[2], to)
			}
		}
		for _, m := range source.FindAllStringSubmatch(string(text), -1) {
			exists(t, doc, filepath.Join(root, m[1]))
		}
		for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
			if names := declarations(t, linked(doc, m[2])); !slices.Contains(names, m[1]) {
				t.Errorf("%s: got no declaration of %s in %s, want one as it says", doc, m[1], m[2])
			}
		}
	}
}

// online is the address of repository files that are not in a release's archive.
const online = "https://github.com/dct2notation/dct2notation/blob/main/"

// linked returns the file to which a document's link points.
func linked(doc, to string) string {
	if path, is := strings.CutPrefix(to, online); is {
		return filepath.Join(root, path)
	}
	return filepath.Join(filepath.Dir(doc), to)
}

// copied are the documents that make pages copies for a release.
var copied = regexp.MustCompile(`^((README|CHANGELOG|SECURITY)\.md|docs/.+)$`)

// TestArchiveHasWhatItLinks checks that no link of a document in a release's archive points outside
// the archive, except to the online repository.
func TestArchiveHasWhatItLinks(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(root, ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var release struct {
		Archives []struct {
			Files []struct{ Src string }
		}
	}
	if err := yaml.Unmarshal(raw, &release); err != nil {
		t.Fatal(err)
	}
	has := map[string]bool{}
	for _, archive := range release.Archives {
		for _, file := range archive.Files {
			// make pages copies the documents at the root, and docs.
			src, written := strings.CutPrefix(file.Src, "bin/pages/doc/")
			src = strings.ReplaceAll(strings.ReplaceAll(regexp.QuoteMeta(src), `\*\*/\*`, `.+`), `\*`, `[^/]+`)
			matches := regexp.MustCompile(`^` + src + `$`)
			err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
				rel, relErr := filepath.Rel(root, path)
				if err == nil && relErr == nil && !d.IsDir() && matches.MatchString(filepath.ToSlash(rel)) && (!written || copied.MatchString(filepath.ToSlash(rel))) {
					has[path], has[filepath.Dir(path)] = true, true
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if !has[filepath.Join(root, "README.md")] || !has[filepath.Join(root, "docs", "howto", "install.md")] {
		t.Errorf("got the archive %v, want README and its pages", has)
	}
	for doc := range has {
		text, err := os.ReadFile(doc)
		if filepath.Ext(doc) != ".md" || err != nil {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if to := linked(doc, m[1]); m[1] != "" && !strings.Contains(m[1], ":") && !has[to] {
				t.Errorf("%s: got a link to %s, which the archive lacks; want %s before its path from the root", doc, m[1], online)
			}
		}
	}
}

// TestEachPageIsTwoClicksAway checks that README links to the list of pages, and that list to each
// page. Decisions have their own list.
func TestEachPageIsTwoClicksAway(t *testing.T) {
	t.Parallel()
	leads := func(doc string) map[string]bool {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		to := map[string]bool{}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			to[linked(doc, m[1])] = true
		}
		return to
	}
	docs := filepath.Join(root, "docs")
	list, decisions := filepath.Join(docs, "README.md"), filepath.Join(docs, "adr", "README.md")
	if !leads(filepath.Join(root, "README.md"))[list] {
		t.Errorf("README.md: got no link to docs/README.md, want one")
	}
	pages := leads(list)
	for doc := range leads(decisions) {
		pages[doc] = true
	}
	for _, doc := range documents(t) {
		if strings.HasPrefix(doc, docs) && doc != list && !pages[doc] {
			t.Errorf("%s: got no link to it in docs/README.md or docs/adr/README.md, want one", doc)
		}
	}
}

// TestWaysIn checks that each way of extending the program is described with names that are
// checked.
func TestWaysIn(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"verb", "policy consumer", "trust source", "report format", "failure class", "ledger schema"}
	var got []string
	starts := way.FindAllStringSubmatchIndex(string(text), -1)
	for i, at := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		got = append(got, string(text[at[2]:at[3]]))
		if n := len(declared.FindAll(text[at[0]:end], -1)); n < 2 {
			t.Errorf("%s: got %d names with their files, want what to write and what to follow", got[i], n)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got the ways %q, want %q", got, want)
	}
}

// anchors returns the names of a document's headings in links, as GitHub makes them.
func anchors(t *testing.T, doc string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range heading.FindAllStringSubmatch(string(text), -1) {
		all = append(all, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1]))
	}
	return all
}

// TestMetadataIsDescribed checks that each name of signed metadata in migrate is in the reference.
func TestMetadataIsDescribed(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "migrate", "work.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "reference", "metadata.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Metadata") {
			for _, name := range literals(spec) {
				found++
				if !strings.Contains(string(text), "`"+name) {
					t.Errorf("%s: got no io.dct2notation.%s in docs/reference/metadata.md, want it", spec.Names[0].Name, name)
				}
			}
		}
		return true
	})
	if found < 13 {
		t.Errorf("got %d names of metadata, want those of migrate/work.go", found)
	}
}

// TestReadmeIsShort checks that README can be read in one sitting and fits the width of a screen.
func TestReadmeIsShort(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) > 130 {
		t.Errorf("README.md: got %d lines, want at most 130: the rest belongs into docs", len(lines))
	}
	for i, line := range lines {
		if n := utf8.RuneCountInString(line); n > 120 {
			t.Errorf("README.md:%d: got %d characters, want at most 120", i+1, n)
		}
	}
}

// command matches a paragraph whose first line is a command: it should be typed, but is shown as
// prose.
var command = regexp.MustCompile(`^(\$ )?(dct2notation|docker|kubectl|notation) [a-z].* --?[a-z]`)

// TestCommandsAreBlocks checks that commands for the reader are code blocks. Markdown treats an
// indented line below a line of text as more of that text.
func TestCommandsAreBlocks(t *testing.T) {
	t.Parallel()
	for _, doc := range documents(t) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range unblocked(string(text)) {
			t.Errorf("%s:%s, want a fence, or an empty line and four spaces before the first command", doc, wrong)
		}
	}
	for text, want := range map[string]int{
		"# A\n\ndct2notation undo --yes\n    dct2notation undo --yes x\n": 2,
		"text:\n    make test\n": 1,
		"text:\n\n    dct2notation undo --yes\n    make test\n\n- item\n    more of it\n\n```\ndct2notation undo --yes\n```\n": 0,
	} {
		if got := unblocked(text); len(got) != want {
			t.Errorf("%q: got %q, want %d", text, got, want)
		}
	}
}

// unblocked returns the commands of a document that are shown as prose, with their lines.
func unblocked(text string) (wrong []string) {
	before, fenced, list := "", false, false
	for i, line := range strings.Split(text, "\n") {
		indented := strings.HasPrefix(line, "    ")
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			fenced = !fenced
		case fenced:
		case indented && before != "" && !strings.HasPrefix(before, "    ") && !list, before == "" && command.MatchString(line):
			wrong = append(wrong, fmt.Sprintf("%d: got %q as text", i+1, line))
		}
		if !indented && line != "" {
			list = item.MatchString(line) || list && strings.HasPrefix(line, " ")
		}
		before = line
	}
	return wrong
}

// item matches the first line of a list item.
var item = regexp.MustCompile(`^ *([-*]|\d+\.) `)

// TestPicturesShowSomething checks that no picture is blank, as one of a page that was not drawn
// yet would be.
func TestPicturesShowSomething(t *testing.T) {
	t.Parallel()
	pictures, err := filepath.Glob(filepath.Join(root, "docs", "images", "*.png"))
	if err != nil || len(pictures) == 0 {
		t.Fatalf("got %d pictures, %v, want README's", len(pictures), err)
	}
	for _, path := range pictures {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }() // it was only read
		picture, err := png.Decode(file)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		colours, size := map[color.Color]bool{}, picture.Bounds()
		for y := size.Min.Y; y < size.Max.Y; y++ {
			for x := size.Min.X; x < size.Max.X; x++ {
				colours[picture.At(x, y)] = true
			}
		}
		if len(colours) < 16 {
			t.Errorf("%s: got %d colours, want a picture of something; make picture draws it anew", path, len(colours))
		}
	}
}

// documents returns the Markdown files of the repository.
func documents(t *testing.T) (all []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || path != root && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case path == filepath.Join(root, "bin"), path == filepath.Join(root, "dist"): // made by make pages and make release
			return fs.SkipDir
		case filepath.Ext(path) == ".md":
			all = append(all, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func exists(t *testing.T, doc, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("%s names a file: got %v, want it to exist", doc, err)
	}
}

// declarations returns what a file declares outside functions, including methods.
func declarations(t *testing.T, path string) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Errorf("parsing what a document names: got %v, want a Go file", err)
		return nil
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			names = append(names, d.Name.Name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					names = append(names, s.Name.Name)
				case *ast.ValueSpec:
					for _, id := range s.Names {
						names = append(names, id.Name)
					}
				}
			}
		}
	}
	return names
}
