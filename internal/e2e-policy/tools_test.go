package e2epolicy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dct2notation/dct2notation/internal/e2e-policy/published"
)

// tool is a program built from a module as its project published it, with that project's own
// dependencies.
type tool struct {
	module string // path@version
	source string // folder of the command in the module
	build  func() (string, error)
}

var (
	ratify       = newTool("github.com/notaryproject/ratify@v1.4.6", "cmd/ratify")
	kyverno      = newTool("github.com/kyverno/kyverno@v1.19.1", "cmd/cli/kubectl-kyverno")
	distribution = newTool("github.com/distribution/distribution/v3@v3.1.2", "cmd/registry")
	olareg       = newTool("github.com/olareg/olareg@v0.1.2", "cmd/olareg")
	dct2notation = newTool("", "cmd/dct2notation")
	plugin       = newTool("", "internal/testing/kmstest/notation-kmstest")
)

// bin is the folder of the built tools. TestMain creates and removes it.
var bin string

func newTool(module, source string) *tool {
	t := &tool{module: module, source: source}
	t.build = sync.OnceValues(func() (string, error) {
		dir := filepath.Join("..", "..")
		if module != "" {
			var err error
			if dir, err = published.Folder(module); err != nil {
				return "", err
			}
		}
		path := filepath.Join(bin, filepath.Base(source))
		c := exec.Command("go", "build", "-o", path, "./"+source)
		c.Dir, c.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		if out, err := c.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building %s of %s: %w\n%s", source, dir, err, out)
		}
		return path, nil
	})
	return t
}

// command returns a command line of the tool. The first use builds it.
func (o *tool) command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	path, err := o.build()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(path, args...)
}

func TestMain(m *testing.M) {
	os.Exit(withBin(m))
}

func withBin(m *testing.M) int {
	var err error
	if bin, err = os.MkdirTemp("", "e2e-policy-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(bin)
	// kmstest would build it as part of this module, which does not contain it.
	if err := os.Setenv("KMSTEST_BINARY", filepath.Join(bin, filepath.Base(plugin.source))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
