package state_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/state"
)

const pathVar = "DCT2NOTATION_STATE_TEST_PATH"

// playHolder holds the ledger until its standard input ends.
func playHolder() error {
	l, err := state.Open(os.Getenv(pathVar), state.Options{})
	if err != nil {
		return err
	}
	fmt.Println("held")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return l.Close()
}

// playOpener says how opening goes.
func playOpener() error {
	l, err := state.Open(os.Getenv(pathVar), state.Options{})
	if err != nil {
		fmt.Print(err)
		return nil
	}
	fmt.Print("opened")
	return l.Close()
}

// startHolder starts a process that holds the ledger, and waits until it does.
func startHolder(t *testing.T, path string) (*exec.Cmd, io.Closer) {
	t.Helper()
	c := child(t, "hold", pathVar+"="+path)
	in, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() { in.Close(); c.Process.Kill(); c.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the holder says %q, %v", line, err)
	}
	return c, in
}

func TestALockedLedgerNamesItsHolderInTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	holder, in := startHolder(t, path)
	start := time.Now()
	_, err := state.Open(path, state.Options{})
	took := time.Since(start)
	var locked *state.LockedError
	if !errors.Is(err, state.ErrLocked) || !errors.As(err, &locked) {
		t.Fatalf("opening a held ledger: %v", err)
	}
	host, _ := os.Hostname()
	if locked.Holder.PID != holder.Process.Pid || locked.Holder.Host != host || locked.Holder.Start.IsZero() || locked.Holder.Command == "" {
		t.Errorf("holder %+v, want process %d", locked.Holder, holder.Process.Pid)
	}
	if !strings.Contains(err.Error(), fmt.Sprint(holder.Process.Pid)) || took > 3*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
	in.Close()
	must(t, holder.Wait())
	openLedger(t, path)
}

func TestAKilledHolderFreesTheLedgerAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	holder, _ := startHolder(t, path)
	must(t, holder.Process.Kill())
	if err := holder.Wait(); err == nil {
		t.Error("it ended well")
	}
	if _, err := os.Stat(path + ".holder"); err != nil {
		t.Fatalf("the stale holder's file is what this test is about: %v", err)
	}
	openLedger(t, path)
}

func TestAHostileHolderFileCannotSpeakToTheTerminal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	startHolder(t, path)
	must(t, os.WriteFile(path+".holder", []byte(`{"pid":7,"host":"a\u001b[2J","command":"b\nhint: rm -rf \u202e"}`), 0o600))
	_, err := state.Open(path, state.Options{})
	if !errors.Is(err, state.ErrLocked) {
		t.Fatal(err)
	}
	if text := err.Error(); strings.ContainsAny(text, "\x1b\u202e") || strings.Count(text, "\n") != 1 {
		t.Errorf("%q", text)
	}
}

func TestCreatedFilesArePrivate(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no such permissions on Windows")
	}
	path := filepath.Join(t.TempDir(), "new", "dir", "ledger.db")
	openLedger(t, path)
	for name, want := range map[string]os.FileMode{path: 0o600, path + ".holder": 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestProcessesCreatingALedgerTogetherGetOne(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	var group sync.WaitGroup
	for range 4 {
		c := child(t, "open", pathVar+"="+path)
		group.Go(func() {
			if out, err := c.Output(); err != nil || string(out) != "opened" {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
	group.Wait()
	plan(t, openLedger(t, path), item(1))
}

func TestAPlantedLinkIsRefused(t *testing.T) {
	t.Parallel()
	l, victim := newLedger(t)
	must(t, l.Close())
	before, err := os.ReadFile(victim)
	must(t, err)
	for name, target := range map[string]string{"link": victim, "dangling": filepath.Join(t.TempDir(), "absent")} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.Symlink(target, path); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
		if _, err := state.Open(path, state.Options{}); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after, err := os.ReadFile(victim); err != nil || string(after) != string(before) {
		t.Errorf("the link's target was touched: %v", err)
	}
	// A link where the holder's file belongs is replaced.
	precious := filepath.Join(t.TempDir(), "precious")
	must(t, os.WriteFile(precious, []byte("precious"), 0o600))
	must(t, os.Symlink(precious, victim+".holder"))
	must(t, openLedger(t, victim).Close())
	if got, _ := os.ReadFile(precious); string(got) != "precious" {
		t.Errorf("written through the holder's link: %q", got)
	}
}

func TestWhatIsNoLedgerIsRefusedUntouched(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty": "", "short": "x", "text": strings.Repeat("not a ledger\n", 5000), "zeros": strings.Repeat("\x00", 1<<16),
	} {
		path := filepath.Join(t.TempDir(), name)
		must(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := state.Open(path, state.Options{})
		if !errors.Is(err, state.ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "\nhint: move the file away") {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("%s was changed: %v", name, err)
		}
	}
	if _, err := state.Open(t.TempDir(), state.Options{}); err == nil {
		t.Error("opened a directory")
	}
	if _, err := state.Open("", state.Options{}); err == nil {
		t.Error("opened nothing")
	}
}

func TestALedgerThatIsReplacedWhileOpenStopsTheRun(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not let go of open files")
	}
	for name, replace := range map[string]func(path string) error{
		"removed": os.Remove,
		"moved":   func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error {
			l, err := state.Open(path+".new", state.Options{})
			if err != nil {
				return err
			}
			if err := l.Close(); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
	} {
		l, path := newLedger(t)
		plan(t, l, item(1))
		must(t, replace(path))
		if err := l.Sign(key(1), envelope(1)); !errors.Is(err, state.ErrReplaced) {
			t.Errorf("%s: signing: %v", name, err)
		}
		if _, _, err := l.Item(key(1)); !errors.Is(err, state.ErrReplaced) {
			t.Errorf("%s: reading afterwards: %v", name, err)
		}
		if err := l.Close(); !errors.Is(err, state.ErrReplaced) {
			t.Errorf("%s: closing: %v", name, err)
		}
	}
	l, path := newLedger(t)
	must(t, os.Remove(path))
	if err := l.Close(); !errors.Is(err, state.ErrReplaced) {
		t.Errorf("removed before Close: %v", err)
	}
}
