// Command mutate breaks the code on purpose, one small change at a time, and runs the tests. A
// change that no test notices is in a line that no test covers.
//
// It draws mutants from the named packages, the same ones for the same seed and functions. It runs
// each package's own tests on a build in which one file is replaced (go's -overlay: the tree is
// never touched). What survives there is tried once more with the tests of -wider. A mutant that
// does not compile is replaced by another and not counted.
//
// The file of -explained has one line for each survivor that is not a gap, with the reason: the
// change has the same behaviour, or costs only time. A survivor is named by package, function and
// change, not by its line, so that the list stays true when code moves. The exit status is 1 if a
// survivor is not explained.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

func main() {
	var o options
	flag.IntVar(&o.count, "n", 300, "mutants to try")
	flag.Uint64Var(&o.seed, "seed", 1, "draws the same mutants for the same code")
	flag.IntVar(&o.parallel, "p", 2, "mutants tried at the same time")
	flag.DurationVar(&o.timeout, "timeout", 2*time.Minute, "of one package's tests; a mutant that reaches it counts as noticed")
	flag.StringVar(&o.wider, "wider", "", "packages, separated by blanks, whose tests try what survives its own package's")
	flag.StringVar(&o.explained, "explained", "", "file of survivors that are no gap")
	flag.StringVar(&o.only, "only", "", "only mutants whose name contains this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	open, err := run(ctx, o, flag.Args())
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	case open > 0:
		os.Exit(1)
	}
}

type options struct {
	count, parallel        int
	seed                   uint64
	timeout                time.Duration
	wider, explained, only string
}

// run tries the mutants and returns how many survivors are not explained.
func run(ctx context.Context, o options, patterns []string) (open int, err error) {
	explained, err := readExplained(o.explained)
	if err != nil {
		return 0, err
	}
	files, err := sources(ctx, patterns)
	if err != nil {
		return 0, err
	}
	var all []mutant
	for _, f := range files {
		found, err := mutantsOf(f)
		if err != nil {
			return 0, err
		}
		all = append(all, found...)
	}
	all = slices.DeleteFunc(all, func(m mutant) bool { return !strings.Contains(m.name(), o.only) })
	slices.SortFunc(all, func(a, b mutant) int { return cmp.Compare(a.rank(o.seed), b.rank(o.seed)) })
	fmt.Printf("%d mutants possible, %d to try, seed %d\n", len(all), min(o.count, len(all)), o.seed)
	t := &trial{options: o, queue: all, tally: map[outcome]int{}, explained: explained}
	var group sync.WaitGroup
	for range max(o.parallel, 1) {
		group.Go(func() { t.work(ctx) })
	}
	group.Wait()
	if t.err == nil {
		t.err = ctx.Err()
	}
	fmt.Printf("tried %d: noticed %d (%d of them by -wider), survived %d, of which explained %d; did not compile %d\n",
		t.tried, t.tally[noticed]+t.tally[noticedWider], t.tally[noticedWider], t.tally[survived]+t.tally[excused], t.tally[excused], t.tally[invalid])
	return t.tally[survived], t.err
}

// outcome is the result for a mutant.
type outcome string

const (
	noticed      outcome = "noticed"
	noticedWider outcome = "noticed by the wider tests"
	survived     outcome = "SURVIVED"
	excused      outcome = "survived, explained"
	invalid      outcome = "does not compile"
)

// trial is shared by the workers. Its fields are guarded by mu.
type trial struct {
	options
	explained map[string]string

	mu    sync.Mutex
	queue []mutant
	tried int
	tally map[outcome]int
	err   error
}

func (t *trial) next() (mutant, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil || t.tried >= t.count || len(t.queue) == 0 {
		return mutant{}, false
	}
	m := t.queue[0]
	t.queue, t.tried = t.queue[1:], t.tried+1
	return m, true
}

func (t *trial) work(ctx context.Context) {
	for {
		m, ok := t.next()
		if !ok || ctx.Err() != nil {
			return
		}
		began := time.Now()
		result, err := t.try(ctx, m)
		t.mu.Lock()
		if err != nil {
			t.err = errors.Join(t.err, fmt.Errorf("%s: %w", m.name(), err))
		}
		if result == invalid {
			t.tried-- // another takes its place
		}
		if why := t.explained[m.name()]; result == survived && why != "" {
			result = excused
		}
		t.tally[result]++
		if err == nil && result != invalid {
			fmt.Printf("%-28s %5.1fs  %s  (%s)\n", result, time.Since(began).Seconds(), m.name(), m.position)
		}
		t.mu.Unlock()
	}
}

// try builds the mutant and runs the tests over it.
func (t *trial) try(ctx context.Context, m mutant) (outcome, error) {
	dir, err := os.MkdirTemp("", "mutate-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	changed := filepath.Join(dir, filepath.Base(m.file.path))
	if err := os.WriteFile(changed, m.source, 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{m.file.path: changed}})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	if exec.CommandContext(ctx, "go", "build", "-overlay", list, m.file.pkg).Run() != nil {
		return invalid, ctx.Err()
	}
	if !t.passes(ctx, list, m.file.pkg) {
		return noticed, ctx.Err()
	}
	if wider := strings.Fields(t.wider); len(wider) > 0 && !t.passes(ctx, list, wider...) {
		return noticedWider, ctx.Err()
	}
	return survived, ctx.Err()
}

// passes reports whether all tests of the packages pass over the build.
func (t *trial) passes(ctx context.Context, overlay string, packages ...string) bool {
	args := append([]string{"test", "-overlay", overlay, "-vet=off", "-failfast", "-count=1", "-timeout", t.timeout.String()}, packages...)
	c := exec.CommandContext(ctx, "go", args...)
	c.WaitDelay = 10 * time.Second
	return c.Run() == nil
}

// source is a file that may be mutated.
type source struct{ pkg, path string }

// sources lists the Go files of the packages, without tests and generated files.
func sources(ctx context.Context, patterns []string) ([]source, error) {
	c := exec.CommandContext(ctx, "go", append([]string{"list", "-json=ImportPath,Dir,GoFiles"}, patterns...)...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", strings.Join(patterns, " "), err)
	}
	var all []source
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p struct {
			ImportPath, Dir string
			GoFiles         []string
		}
		if err := d.Decode(&p); err != nil {
			return nil, err
		}
		for _, f := range p.GoFiles {
			all = append(all, source{p.ImportPath, filepath.Join(p.Dir, f)})
		}
	}
	return all, nil
}

// mutant is one change of one file.
type mutant struct {
	file     source
	function string
	change   string
	position string // file:line, for the reader
	source   []byte
}

// name identifies the mutant by its change, not by its line.
func (m mutant) name() string { return m.file.pkg + " " + m.function + ": " + m.change }

// rank puts the mutants in random order. It depends only on the name and the seed: when code
// changes elsewhere, the same mutants are drawn again.
func (m mutant) rank(seed uint64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", seed, m.name()))
	return string(sum[:])
}

// mutantsOf returns every mutant of a file.
func mutantsOf(f source) ([]mutant, error) {
	raw, err := os.ReadFile(f.path)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, f.path, raw, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var all []mutant
	for _, decl := range parsed.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		seen := map[string]int{}
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			for _, e := range editsOf(n, raw, set) {
				seen[e.change]++
				if seen[e.change] > 1 {
					e.change += " #" + strconv.Itoa(seen[e.change])
				}
				changed := slices.Concat(raw[:e.from], []byte(e.text), raw[e.to:])
				if formatted, err := format.Source(changed); err == nil { // otherwise it cannot compile either
					at := set.Position(n.Pos())
					all = append(all, mutant{f, nameOf(fn), e.change, fmt.Sprintf("%s:%d", filepath.Base(at.Filename), at.Line), formatted})
				}
			}
			return true
		})
	}
	return all, nil
}

// nameOf returns a function's name with its receiver's type.
func nameOf(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	t := fn.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if generic, ok := t.(*ast.IndexExpr); ok {
		t = generic.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + fn.Name.Name
	}
	return fn.Name.Name
}

// edit replaces the bytes from one offset to another.
type edit struct {
	from, to int
	text     string
	change   string
}

// operators lists the replacement of each operator: its neighbour, so that the exact edge is
// tested.
var operators = map[token.Token]token.Token{
	token.EQL: token.NEQ, token.NEQ: token.EQL,
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
	token.LAND: token.LOR, token.LOR: token.LAND,
	token.ADD: token.SUB, token.SUB: token.ADD,
}

// editsOf returns the ways to break a node.
func editsOf(n ast.Node, raw []byte, set *token.FileSet) []edit {
	offset := func(p token.Pos) int { return set.Position(p).Offset }
	text := func(n ast.Node) string { return string(raw[offset(n.Pos()):offset(n.End())]) }
	replace := func(n ast.Node, by, change string) []edit {
		return []edit{{offset(n.Pos()), offset(n.End()), by, change}}
	}
	switch n := n.(type) {
	case *ast.BinaryExpr:
		if by, ok := operators[n.Op]; ok {
			at := offset(n.OpPos)
			return []edit{{at, at + len(n.Op.String()), by.String(), short(text(n)) + " with " + by.String()}}
		}
	case *ast.IfStmt:
		return replace(n.Cond, "!("+text(n.Cond)+")", "if not "+short(text(n.Cond)))
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			return replace(n, text(n.X), short(text(n))+" without !")
		}
	case *ast.ExprStmt:
		return replace(n, "", "without "+short(text(n)))
	case *ast.BranchStmt:
		if n.Label == nil && (n.Tok == token.CONTINUE || n.Tok == token.BREAK) {
			return replace(n, "", "without "+n.Tok.String())
		}
	case *ast.CaseClause:
		if len(n.Body) > 0 {
			return []edit{{offset(n.Body[0].Pos()), offset(n.Body[len(n.Body)-1].End()), "", "empty " + short(text(n))}}
		}
	case *ast.ReturnStmt:
		if last := len(n.Results) - 1; last >= 0 && isError(n.Results[last]) {
			return replace(n.Results[last], "nil", short(text(n))+" with nil")
		}
	case *ast.Ident:
		switch n.Name {
		case "true":
			return replace(n, "false", "false for true")
		case "false":
			return replace(n, "true", "true for false")
		}
	case *ast.BasicLit:
		if v, err := strconv.Atoi(n.Value); n.Kind == token.INT && err == nil {
			return replace(n, strconv.Itoa(v+1), fmt.Sprintf("%d for %d", v+1, v))
		}
	}
	return nil
}

// isError reports whether an expression looks like a returned error.
func isError(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "err" || strings.HasPrefix(e.Name, "err") && len(e.Name) > 3
	case *ast.CallExpr:
		if s, ok := e.Fun.(*ast.SelectorExpr); ok {
			return s.Sel.Name == "Errorf" || s.Sel.Name == "Err"
		}
	}
	return false
}

// short returns the first line of a piece of code, for names.
func short(code string) string {
	line, _, more := strings.Cut(code, "\n")
	line = strings.Join(strings.Fields(line), " ")
	if len(line) > 80 {
		line, more = line[:80], true
	}
	if more {
		line += "…"
	}
	return line
}

// readExplained reads the survivors that are not gaps: NAME => REASON on each line. Lines that
// begin with # are comments.
func readExplained(path string) (map[string]string, error) {
	explained := map[string]string{}
	if path == "" {
		return explained, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for s, n := bufio.NewScanner(f), 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndex(line, " => ")
		if i < 0 || strings.TrimSpace(line[i+4:]) == "" {
			return nil, fmt.Errorf("%s:%d: it takes NAME => REASON", path, n)
		}
		explained[line[:i]] = line[i+4:]
	}
	return explained, nil
}
