// Package schematest makes JSON Schemas (draft 2020-12) of Go types, for tests that compare
// them with the files in the repository: a field or a class that is added to the code without
// its schema makes them fail. Descriptions are the comments of the code, and the values of a
// string type are its constants.
package schematest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Source is what the code says beside what its types do. Names are package.Type.
type Source struct {
	values map[string][]string          // of the constants of a type
	docs   map[string]map[string]string // of the fields of a type, by their Go names
}

// Read reads packages, a folder each.
func Read(folders ...string) (*Source, error) {
	s := &Source{values: map[string][]string{}, docs: map[string]map[string]string{}}
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(folder, e.Name()), nil, parser.ParseComments)
			if err != nil {
				return nil, err
			}
			s.file(f)
		}
	}
	return s, nil
}

// Values are the constants of a string type, sorted.
func (s *Source) Values(typ string) []string { return slices.Sorted(slices.Values(s.values[typ])) }

func (s *Source) file(f *ast.File) {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range g.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				s.constant(f.Name.Name, spec)
			case *ast.TypeSpec:
				if t, ok := spec.Type.(*ast.StructType); ok {
					s.fields(f.Name.Name+"."+spec.Name.Name, t)
				}
			}
		}
	}
}

func (s *Source) constant(pkg string, spec *ast.ValueSpec) {
	typ, ok := spec.Type.(*ast.Ident)
	if !ok {
		return
	}
	for _, v := range spec.Values {
		if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				s.values[pkg+"."+typ.Name] = append(s.values[pkg+"."+typ.Name], text)
			}
		}
	}
}

func (s *Source) fields(typ string, t *ast.StructType) {
	s.docs[typ] = map[string]string{}
	for _, f := range t.Fields.List {
		comment := f.Doc
		if comment == nil {
			comment = f.Comment
		}
		for _, name := range f.Names {
			if comment != nil {
				s.docs[typ][name.Name] = strings.Join(strings.Fields(comment.Text()), " ")
			}
		}
	}
}
