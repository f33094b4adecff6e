//go:build unix

package notation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// The file that was checked is the one that runs: a path without a slash names a file in this
// folder, and is not searched for in PATH.
func TestPluginPathIsNotSearchedFor(t *testing.T) {
	r := newRig(t, pki.EC256, kmstest.RAW)
	elsewhere, marker := t.TempDir(), filepath.Join(t.TempDir(), "marker")
	name := filepath.Base(r.plugin.Path)
	must(t, os.WriteFile(filepath.Join(elsewhere, name), fmt.Appendf(nil, "#!/bin/sh\ntouch %q\n", marker), 0o755))
	t.Setenv("PATH", elsewhere+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Chdir(filepath.Dir(r.plugin.Path))
	r.key.PluginPath = name
	s := r.open(t, "jws")
	if _, err := s.Sign(context.Background(), image("a"), nil); err != nil {
		t.Errorf("got %v, want a signature by the plugin of this folder", err)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("got the file of that name in PATH started, want it left alone")
	}
}

// Whoever can write to a folder above the plugin can put another in its place.
func TestEveryFolderAboveAPluginIsChecked(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	path := filepath.Join(base, "opt", "plugins", "x", "notation-x")
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755))
	link := filepath.Join(base, "link")
	must(t, os.Symlink(filepath.Join(base, "opt", "plugins"), link))
	through := filepath.Join(link, "x", "notation-x")
	for _, given := range []string{path, through} {
		if got, err := (pluginFile{name: "x", given: given}).find(); err != nil || got != resolved(t, path) {
			t.Errorf("%s: got %s, %v, want %s", given, got, err, path)
		}
	}
	for _, folder := range []string{"opt/plugins/x", "opt/plugins", "opt"} {
		for mode, good := range map[os.FileMode]bool{0o775: false, 0o757: false, os.ModeSticky | 0o777: true, 0o711: true} {
			must(t, os.Chmod(filepath.Join(base, folder), mode))
			for _, given := range []string{path, through} {
				_, err := (pluginFile{name: "x", given: given}).find()
				if (err == nil) != good || !good && !strings.Contains(err.Error(), "chmod go-w "+resolved(t, filepath.Join(base, folder))) {
					t.Errorf("%s with mode %v, by %s: got error %v, want it good: %t", folder, mode, given, err, good)
				}
			}
		}
		must(t, os.Chmod(filepath.Join(base, folder), 0o755))
	}
}

func resolved(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	must(t, err)
	return path
}

// A run takes days: what was checked when it began is checked again before each start.
func TestPluginIsCheckedBeforeEachStart(t *testing.T) {
	t.Parallel()
	r := newRig(t, pki.EC256, kmstest.RAW)
	program, err := os.ReadFile(r.plugin.Path)
	must(t, err)
	sum := sha256.Sum256(program)
	r.key.PluginSHA256 = "sha256:" + strings.ToUpper(hex.EncodeToString(sum[:])) // as PowerShell shows it
	s := r.open(t, "jws")
	sign := func() error {
		_, err := s.Sign(context.Background(), image("a"), nil)
		return err
	}
	must(t, sign())
	must(t, os.Chmod(filepath.Dir(r.plugin.Path), 0o777))
	if err := sign(); err == nil || !strings.Contains(err.Error(), "can be written by others") {
		t.Errorf("in a folder that others can write to: got error %v, want one with \"can be written by others\"", err)
	}
	must(t, os.Chmod(filepath.Dir(r.plugin.Path), 0o755))
	marker := filepath.Join(t.TempDir(), "marker")
	must(t, os.Remove(r.plugin.Path))
	must(t, os.WriteFile(r.plugin.Path, fmt.Appendf(nil, "#!/bin/sh\ntouch %q\n", marker), 0o755))
	if err := sign(); failure.Of(err) != failure.Security {
		t.Errorf("replaced by another: got %v, want class %s", err, failure.Security)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("got the other started, want it left alone")
	}
}
