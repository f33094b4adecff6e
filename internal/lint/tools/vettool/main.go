// Command vettool has the checks that neither go vet nor staticcheck has. As go vet's -vettool it
// keeps its findings in the build cache, package by package.
//
// golangci-lint has them all, but takes five minutes to fetch and build if nothing is cached. These
// take half a minute.
package main

import (
	"strings"

	"github.com/gordonklaus/ineffassign/pkg/ineffassign"
	"github.com/polyfloyd/go-errorlint/errorlint"
	"github.com/timakin/bodyclose/passes/bodyclose"
	"go-simpler.org/sloglint"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/unitchecker"
)

func main() {
	unitchecker.Main(
		// It does not follow a response through a helper. Tests have such helpers, and servers that
		// end.
		notInTests(bodyclose.Analyzer),
		errorlint.NewAnalyzer(),
		ineffassign.Analyzer,
		sloglint.New(&sloglint.Options{KeyNamingCase: "snake"}),
	)
}

// notInTests returns the check without its findings in tests.
func notInTests(a *analysis.Analyzer) *analysis.Analyzer {
	run := a.Run
	a.Run = func(p *analysis.Pass) (any, error) {
		report := p.Report
		p.Report = func(d analysis.Diagnostic) {
			if !strings.HasSuffix(p.Fset.Position(d.Pos).Filename, "_test.go") {
				report(d)
			}
		}
		return run(p)
	}
	return a
}
