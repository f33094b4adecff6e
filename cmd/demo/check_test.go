package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"oras.land/oras-go/v2"

	"github.com/dct2notation/dct2notation/migrate/verify"
)

// product builds the binary for the demonstration, once for all tests.
var product = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dct2notation-demo-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "dct2notation")
	build := exec.Command("go", "build", "-o", path, "github.com/dct2notation/dct2notation/cmd/dct2notation")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return dir, errors.New(string(out))
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := product(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path)) // a temporary folder; no test depends on it
	}
	os.Exit(code)
}

func binary(t *testing.T) string {
	t.Helper()
	path, err := product()
	if err != nil {
		t.Fatalf("building the product: %v", err)
	}
	return path
}

// folder returns the scene's folder, as named in the output.
func folder(t *testing.T, out string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^\$ cd (\S+)$`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("the output names no folder:\n%s", out)
	}
	return m[1]
}

func mustBeGone(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", dir, err)
	}
}

func TestDemonstrationHoldsAndLeavesNothing(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "report.html")
	var out bytes.Buffer
	if err := demonstrate(t.Context(), binary(t), page, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	mustBeGone(t, folder(t, out.String()))
	for l := range strings.Lines(out.String()) {
		if l = strings.TrimSuffix(l, "\n"); len(l) > width && !strings.HasPrefix(l, "$ cd ") && !strings.Contains(l, page) {
			t.Errorf("%d columns: %s", len(l), l)
		}
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "tag-moved") {
		t.Errorf("the report that -html left: got %d bytes and %v, want a page with the moved tag", len(text), err)
	}
}

// canceler cancels when the text has been written.
type canceler struct {
	bytes.Buffer
	at     string
	cancel context.CancelFunc
}

func (c *canceler) Write(p []byte) (int, error) {
	n, err := c.Buffer.Write(p)
	if strings.Contains(c.String(), c.at) {
		c.cancel()
	}
	return n, err
}

func TestInterruptLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &canceler{at: "--plan plan.json &", cancel: cancel} // the run is about to start
	err := demonstrate(ctx, binary(t), "", out)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want that it was canceled", err)
	}
	mustBeGone(t, folder(t, out.String()))
}

// TestUnsignedSceneIsNoticed tests the checks themselves: before any migration, all of them must
// complain.
func TestUnsignedSceneIsNoticed(t *testing.T) {
	t.Parallel()
	s, err := setScene(t.Context(), &screen{out: new(bytes.Buffer)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.clear(); err != nil {
			t.Error(err)
		}
	})
	missing, err := s.eachOnce()
	if err != nil || len(missing) != s.total() || s.total() < 180 {
		t.Errorf("%d of %d digests are noticed as unsigned: %v", len(missing), s.total(), err)
	}
	if wrong := s.planned([]byte(`{"version":1,"kind":"dct2notation.plan"}`)); len(wrong) != s.total() {
		t.Errorf("an empty plan: %d differences, want %d", len(wrong), s.total())
	}
	if wrong := s.classified([]byte(`{}`)); len(wrong) < s.total() {
		t.Errorf("an empty report: %d differences, want one for each tag", len(wrong))
	}
	if wrong := s.resumed(counts{signed: s.total(), skipped: 1}); len(wrong) != 1 {
		t.Errorf("a run that resumed nothing: %q", wrong)
	}

	web := s.repositories[0]
	listSignature(t, s, web, web.vouched[0].String())
	web.disown(web.vouched[0])
	if wrong, err := s.nothingElse(); err != nil || len(wrong) != 1 {
		t.Errorf("a signature on what may have none: %q, %v", wrong, err)
	}
}

// listSignature makes the registry list an empty signature for an image.
func listSignature(t *testing.T, s *scene, r *repository, digest string) {
	t.Helper()
	subject, err := r.registry.Resolve(r.name, digest)
	if err != nil {
		t.Fatal(err)
	}
	repository, err := s.remote(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := oras.PackManifest(t.Context(), repository, oras.PackManifestVersion1_1, "application/vnd.cncf.notary.signature",
		oras.PackManifestOptions{Subject: &subject}); err != nil {
		t.Fatal(err)
	}
}

func TestWrongClassIsNoticed(t *testing.T) {
	t.Parallel()
	r := &repository{gun: "h/r", tags: map[string]verify.Class{"1": verify.Agree, "2": verify.Moved}}
	for name, c := range map[string]struct {
		got   verify.Repository
		wrong int
	}{
		"right":       {verify.Repository{Tags: []verify.Row{{Tag: "1", Class: verify.Agree, Bound: true}, {Tag: "2", Class: verify.Moved}}}, 0},
		"unbound":     {verify.Repository{Tags: []verify.Row{{Tag: "1", Class: verify.Agree}, {Tag: "2", Class: verify.Moved}}}, 1},
		"too lenient": {verify.Repository{Tags: []verify.Row{{Tag: "1", Class: verify.Agree, Bound: true}, {Tag: "2", Class: verify.Agree, Bound: true}}}, 1},
		"invented":    {verify.Repository{Tags: []verify.Row{{Tag: "1", Class: verify.Agree, Bound: true}, {Tag: "2", Class: verify.Moved}, {Tag: "3", Class: verify.Agree}}}, 1},
		"not read":    {verify.Repository{Class: verify.Unknown}, 3},
	} {
		if wrong := r.differs(c.got); len(wrong) != c.wrong {
			t.Errorf("%s: %q, want %d differences", name, wrong, c.wrong)
		}
	}
}

// The demonstration keeps everything in its own folder, since the user's home may have the results
// of a migration.
func TestCommandsKeepToTheFolderOfTheScene(t *testing.T) {
	t.Parallel()
	p := &play{scene: &scene{dir: "/scene"}}
	homes := 0
	for _, v := range p.child(t.Context(), "version").Env {
		if strings.HasPrefix(v, "HOME=") || strings.HasPrefix(v, "XDG_") {
			homes++
			if v != "HOME=/scene" {
				t.Errorf("got %s, want HOME=/scene", v)
			}
		}
	}
	config, err := p.configuration()
	if err != nil || homes != 1 || !strings.Contains(string(config), "\nresults: results\n") || !strings.Contains(string(config), "\ncache-dir: cache\n") {
		t.Errorf("got %d homes, configuration\n%s\nerror %v, want 1, and results and cache in the folder", homes, config, err)
	}
}
