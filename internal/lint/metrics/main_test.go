package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestTable measures a repository small enough to count by hand.
func TestTable(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := txtar.Write(txtar.Parse([]byte(tree)), root); err != nil {
		t.Fatal(err)
	}
	got, err := measure(root)
	if err != nil {
		t.Fatal(err)
	}
	if got != table {
		t.Errorf("got\n%s\nwant\n%s", got, table)
	}
}

// TestUpward checks that only circular uses run upward, and as few of each circle as possible.
func TestUpward(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		uses           uses
		upward, layers int
	}{
		"against the order of names": {uses{"a": {}, "b": {"a": true}, "c": {"a": true, "b": true}}, 0, 3},
		"a pair, and one below":      {uses{"a": {"b": true}, "b": {"a": true, "z": true}, "z": {}}, 1, 3},
		"one used by all, and back":  {uses{"a": {"b": true, "c": true, "d": true}, "b": {"a": true}, "c": {"a": true}, "d": {"a": true, "b": true}}, 3, 3},
		"two circles that are apart": {uses{"a": {"b": true}, "b": {"a": true}, "c": {"d": true, "a": true}, "d": {"c": true}}, 2, 3},
	} {
		order := c.uses.order()
		if up, layers := c.uses.upward(order), c.uses.layers(order); up != c.upward || layers != c.layers {
			t.Errorf("%s: got %d upward and %d layers in the order %v, want %d and %d", name, up, layers, order, c.upward, c.layers)
		}
	}
}

const table = `cmd/dct2notation/command                     10 lines, 3 files
  its files' uses of each other              3, 1 upward, 2 layers
cmd/dct2notation/internal                    1 lines, 1 files
files with methods of migrate.run / Engine   1 / 2
test files beside the source of their name   50 % (1 of 2)
test failure messages with got and want      33 % (1 of 3), with either 67 % (2 of 3)
README.md                                    16 bytes, longest line 8
product                                      19 lines
support (bench, test servers, e2e helpers)   2 lines
`

const tree = `
-- go.mod --
module example.com/m

go 1.26
-- README.md --
short
ä longer
-- cmd/dct2notation/command/a.go --
package command

func a() { b(); c{}.do() }
-- cmd/dct2notation/command/b.go --
package command

func b() { a() }
-- cmd/dct2notation/command/c.go --
package command

type c struct{}
func (c) do() {}
-- cmd/dct2notation/internal/cli/cli.go --
package cli
-- migrate/engine.go --
package migrate

type Engine struct{}
type run struct{}
func (e *Engine) Plan() {}
-- migrate/run.go --
package migrate
func (e Engine) Run() {}
func (r *run) do() {}
-- migrate/run_test.go --
package migrate
func TestRun(t *testing.T) {
	t.Errorf("got %d, want 2", 1)
	t.Fatalf("want " + "%d", 2)
	t.Fatalf("gotten %d", 2)
	t.Error("counted by nobody, got or want")
	fmt.Errorf("got no test, want none")
}
-- migrate/story_test.go --
package migrate
-- migrate/pki_helpers_test.go --
package migrate
-- migrate/testdata/broken.go --
no Go
-- internal/testing/kmstest/kms.go --
package kmstest
-- internal/e2e/bench/bench.go --
package bench
-- internal/mutate/main.go --
package main
-- cmd/demo/main.go --
package main
`
