package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/dct2notation/dct2notation/internal/durable"
)

// names lists what is in dir, so that tests can tell that nothing was left.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestWriteFileReplacesAndLeavesNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "report.json")
	for _, content := range []string{"first", "the second, which is longer", ""} {
		if err := durable.WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Fatalf("read back %q, %v; want %q", got, err, content)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o640 {
		t.Errorf("got mode %v, want 0640", info.Mode().Perm())
	}
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("got %v in the directory, want one file", left)
	}
}

func TestWriteFileReplacesASymlinkInsteadOfFollowing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "status.json")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, path); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	if err := durable.WriteFile(path, []byte("status"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(victim); string(got) != "precious" {
		t.Errorf("the link's target: got %q, want precious", got)
	}
	if got, _ := os.ReadFile(path); string(got) != "status" {
		t.Errorf("got %q, want status", got)
	}
}

func TestWriteFileFailureLeavesTheOldFileAndNoTemporary(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "occupied")
	if err := os.MkdirAll(filepath.Join(path, "child"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(path, []byte("x"), 0o600); err == nil || !strings.Contains(err.Error(), "writing "+path) {
		t.Errorf("writing over a directory: got %v, want an error that names %s", err, path)
	}
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("got %v in the directory, want one entry", left)
	}
	if err := durable.WriteFile(filepath.Join(dir, "absent", "f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("writing into a missing directory: got %v, want %v", err, fs.ErrNotExist)
	}
}

func TestReadersSeeOneWholeVersion(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "progress")
	version := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 4096*(i+1)) }
	if err := durable.WriteFile(path, version(0), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for i := range 60 {
			if err := durable.WriteFile(path, version(i%5), 0o600); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 || !bytes.Equal(got, version(int(got[0]-'a'))) {
			t.Fatalf("got %d bytes that are no version, want one", len(got))
		}
	}
}

func TestPublishNeverTakesANameThatIsTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	var wins sync.Map
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			temp := filepath.Join(dir, fmt.Sprintf("temp%d", i))
			if err := os.WriteFile(temp, []byte(temp), 0o600); err != nil {
				t.Error(err)
				return
			}
			switch err := durable.Publish(temp, path); {
			case err == nil:
				wins.Store(temp, true)
			case !errors.Is(err, fs.ErrExist):
				t.Errorf("publishing: got %v, want %v or no error", err, fs.ErrExist)
			}
		})
	}
	group.Wait()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	winners := 0
	wins.Range(func(k, _ any) bool {
		winners++
		if k.(string) != string(content) {
			t.Errorf("got the file %s, want %v, which won", content, k)
		}
		return true
	})
	if winners != 1 {
		t.Errorf("got %d processes that believe they created the file, want 1", winners)
	}
	if left := names(t, dir); len(left) != 8 {
		t.Errorf("want the file and 7 refused temporaries, got %v", left)
	}
}

func TestMkdirAllCreatesPrivateDirectoriesAndKeepsExistingOnes(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dir := filepath.Join(base, "a", "b")
	for range 2 {
		if err := durable.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		info, err := os.Stat(d)
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
			t.Errorf("%s: got mode %v, want 0700", d, info.Mode().Perm())
		}
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.MkdirAll(file, 0o700); err == nil || !strings.Contains(err.Error(), "in the way") {
		t.Errorf("a file in the way: got %v, want an error that says so", err)
	}
}
