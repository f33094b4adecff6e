package cluster

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/e2e-policy/published"
)

// program is a command of a Go module.
type program struct {
	name, module, version string
	folder                string   // of the command in its module
	siblings              string   // version of modules that its go.mod takes from neighbouring folders; empty: as required
	main                  string   // built instead of the module's own command
	stamp                 string   // linker flags
	other                 string   // module and version to use instead of the required one
	without               []string // files of which only the package clause is built
}

var (
	etcd      = program{name: "etcd", module: "go.etcd.io/etcd/server/v3", version: "v3.7.3"}
	apiserver = program{name: "kube-apiserver", module: "k8s.io/kubernetes", version: "v1.36.3", folder: "cmd/kube-apiserver", siblings: "v0.36.3", stamp: apiserverVersion}
	ratify    = program{name: "ratify-serve", module: "github.com/notaryproject/ratify", version: "v1.4.6", main: ratifyMain}
	ratify2   = program{name: "ratify-gatekeeper-provider", module: "github.com/ratify-project/ratify/v2", version: "v2.0.0-beta.2", folder: "cmd/ratify-gatekeeper-provider",
		without: []string{"internal/verifier/cosign/register.go"}} // it requires a module that is not on every module proxy
	gatekeeper       = program{name: "gatekeeper", module: "github.com/open-policy-agent/gatekeeper/v3", version: "v3.23.1"}
	kyverno          = program{name: "kyverno-admission", module: "github.com/kyverno/kyverno", version: "v1.19.1", folder: "cmd/kyverno"}
	sourceController = program{name: "source-controller", module: "github.com/fluxcd/source-controller", version: "v1.9.4", siblings: "v1.9.4",
		other: "github.com/fluxcd/pkg/artifact@v0.18.1"} // v0.18.2, which it requires, is not on every module proxy
)

// apiserverVersion is the version that its own build reports: consumers ask for it.
const apiserverVersion = " -X k8s.io/component-base/version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"

// ratifyMain is Ratify's command with what our files need. Its own command serves metrics on port
// 8080 of every address: the flag against it is read where the command's arguments are.
const ratifyMain = `package main

import (
	"os"

	"github.com/ratify-project/ratify/cmd/ratify/cmd"
	_ "github.com/ratify-project/ratify/pkg/policyprovider/configpolicy"
	_ "github.com/ratify-project/ratify/pkg/referrerstore/oras"
	_ "github.com/ratify-project/ratify/pkg/verifier/notation"
)

func main() {
	cmd.Root.SetArgs(os.Args[1:])
	os.Args = []string{os.Args[0], "--metrics-bind-address=0"}
	if cmd.Root.Execute() != nil {
		os.Exit(1)
	}
}
`

// source returns the folder of the program's module.
func (p program) source(t *testing.T) string {
	t.Helper()
	folder, err := published.Folder(p.module + "@" + p.version)
	must(t, err)
	return folder
}

// binary returns the path of the program, and builds it if necessary.
func (p program) binary(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	must(t, err)
	built := filepath.Join(cache, "dct2notation", "e2e-policy", filepath.FromSlash(p.module)+"@"+p.version, p.name)
	if _, err := os.Stat(built); err == nil {
		return built
	}
	must(t, os.MkdirAll(filepath.Dir(built), 0o755))
	c := exec.Command("go", "build", "-p=2", "-ldflags=-s -w"+p.stamp, "-mod=mod", "-o", built+".new")
	c.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	source, scratch := p.reduced(t, p.source(t)), t.TempDir()
	p.requirements(t, source, scratch)
	if p.main == "" {
		c.Dir, c.Args = source, append(c.Args, "-modfile="+filepath.Join(scratch, "go.mod"), "./"+p.folder)
	} else {
		must(t, os.WriteFile(filepath.Join(scratch, "main.go"), []byte(p.main), 0o644))
		c.Dir = scratch
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", p.name, err, out)
	}
	must(t, os.Rename(built+".new", built)) // so that no incomplete program is found
	return built
}

// reduced returns the folder of the module, or of a copy without the files to leave out: nothing in
// the module cache may be replaced.
func (p program) reduced(t *testing.T, source string) string {
	t.Helper()
	if p.without == nil {
		return source
	}
	reduced := filepath.Join(t.TempDir(), "module")
	must(t, os.CopyFS(reduced, os.DirFS(source)))
	for _, name := range p.without {
		file := filepath.Join(reduced, filepath.FromSlash(name))
		must(t, os.Remove(file))
		must(t, os.WriteFile(file, []byte("package "+filepath.Base(filepath.Dir(file))+"\n"), 0o644))
	}
	return reduced
}

// requirements rewrites the module's go.mod and go.sum without the neighbouring folders, which only
// its repository has. If there is a main of ours, they become those of a module that requires this
// one.
func (p program) requirements(t *testing.T, source, scratch string) {
	t.Helper()
	for _, name := range []string{"go.mod", "go.sum"} {
		raw, err := os.ReadFile(filepath.Join(source, name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(scratch, name), raw, 0o644))
	}
	file := filepath.Join(scratch, "go.mod")
	out, err := exec.Command("go", "mod", "edit", "-json", file).Output()
	must(t, err)
	var mod struct {
		Module  struct{ Path string }
		Replace []struct{ Old, New struct{ Path string } }
	}
	must(t, json.Unmarshal(out, &mod))
	edit := []string{"mod", "edit", "-toolchain=none"}
	for _, r := range mod.Replace {
		switch {
		case !strings.HasPrefix(r.New.Path, "."):
		case p.siblings == "":
			edit = append(edit, "-dropreplace="+r.Old.Path)
		default:
			edit = append(edit, "-replace="+r.Old.Path+"="+r.Old.Path+"@"+p.siblings)
		}
	}
	if module, _, ok := strings.Cut(p.other, "@"); ok {
		edit = append(edit, "-replace="+module+"="+p.other)
	}
	if p.main != "" {
		// A module's name may differ from its present location.
		edit = append(edit, "-module=main", "-require="+mod.Module.Path+"@"+p.version, "-replace="+mod.Module.Path+"="+p.module+"@"+p.version)
	}
	if out, err := exec.Command("go", append(edit, file)...).CombinedOutput(); err != nil {
		t.Fatalf("editing the go.mod of %s: %v\n%s", p.name, err, out)
	}
}
