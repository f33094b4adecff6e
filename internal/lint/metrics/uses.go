package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"golang.org/x/tools/go/packages"
)

// uses has, for each file of a package, the other files that declare what it names.
type uses map[string]map[string]bool

// usesIn returns the uses in one package, without its tests.
func usesIn(dir, pattern string) (uses, error) {
	loaded, err := packages.Load(&packages.Config{
		Dir:  dir,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedDeps | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo,
	}, pattern)
	if err != nil {
		return nil, err
	}
	if len(loaded) != 1 || len(loaded[0].Errors) > 0 {
		return nil, fmt.Errorf("loading %s: got %d packages, want one without errors: %v", pattern, len(loaded), loaded[0].Errors)
	}
	p := loaded[0]
	u := uses{}
	for _, f := range p.GoFiles {
		u[filepath.Base(f)] = map[string]bool{}
	}
	for id, obj := range p.TypesInfo.Uses {
		if obj.Pkg() != p.Types {
			continue
		}
		from, to := p.Fset.Position(id.Pos()).Filename, p.Fset.Position(obj.Pos()).Filename
		if from != to {
			u[filepath.Base(from)][filepath.Base(to)] = true
		}
	}
	return u, nil
}

func (u uses) count() (n int) {
	for _, to := range u {
		n += len(to)
	}
	return n
}

// order returns the files with users before what they use, as far as possible.
func (u uses) order() (all []string) {
	for _, component := range u.components() {
		all = append(component, all...)
	}
	return all
}

// components returns the strongly connected components (Tarjan). Used ones come before their users,
// each in the best order found.
func (u uses) components() (found [][]string) {
	var stack []string
	index, low, on := map[string]int{}, map[string]int{}, map[string]bool{}
	var visit func(string)
	visit = func(f string) {
		index[f] = len(index) + 1
		low[f] = index[f]
		stack, on[f] = append(stack, f), true
		for _, to := range slices.Sorted(maps.Keys(u[f])) {
			if index[to] == 0 {
				visit(to)
				low[f] = min(low[f], low[to])
			} else if on[to] {
				low[f] = min(low[f], index[to])
			}
		}
		if low[f] < index[f] {
			return
		}
		at := slices.Index(stack, f)
		component := slices.Clone(stack[at:])
		for _, member := range component {
			on[member] = false
		}
		stack = stack[:at]
		found = append(found, u.improve(component))
	}
	for _, f := range slices.Sorted(maps.Keys(u)) {
		if index[f] == 0 {
			visit(f)
		}
	}
	return found
}

// improve moves one file at a time to where the fewest uses run upward, until no move helps.
func (u uses) improve(files []string) []string {
	for best := u.upward(files); ; {
		before := best
		for _, f := range slices.Clone(files) {
			rest := slices.DeleteFunc(slices.Clone(files), func(other string) bool { return other == f })
			for at := range files {
				if moved := slices.Insert(slices.Clone(rest), at, f); u.upward(moved) < best {
					best, files = u.upward(moved), moved
				}
			}
		}
		if best == before {
			return files
		}
	}
}

// upward counts the uses of a file by one below it.
func (u uses) upward(files []string) (n int) {
	for i, f := range files {
		for _, above := range files[:i] {
			if u[f][above] {
				n++
			}
		}
	}
	return n
}

// layers returns the number of files on the longest path down.
func (u uses) layers(files []string) (most int) {
	depth := map[string]int{}
	for i, f := range slices.Backward(files) {
		depth[f] = 1
		for _, below := range files[i+1:] {
			if u[f][below] {
				depth[f] = max(depth[f], depth[below]+1)
			}
		}
		most = max(most, depth[f])
	}
	return most
}
