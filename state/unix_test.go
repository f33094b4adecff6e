//go:build !windows

package state_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dct2notation/dct2notation/state"
)

func TestAReadOnlyDirectoryGivesAClearError(t *testing.T) {
	t.Parallel()
	fresh := t.TempDir()
	l, path := newLedger(t)
	must(t, l.Close())
	for _, dir := range []string{fresh, filepath.Dir(path)} {
		// The child is another user, who must be able to get there.
		must(t, os.Chmod(filepath.Dir(dir), 0o755))
		must(t, os.Chmod(dir, 0o555))
		t.Cleanup(func() { os.Chmod(dir, 0o755) })
		c := child(t, "open", pathVar+"="+filepath.Join(dir, "ledger.db"))
		if os.Getuid() == 0 {
			// Root may write anywhere. The link survives the change of user.
			c.Path = "/proc/self/exe"
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, err := c.Output()
		if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
			t.Skipf("cannot become another user here: %v", err)
		}
		must(t, err)
		if got := string(out); !strings.Contains(got, "opening ledger "+dir) || !strings.Contains(got, "permission denied") ||
			!strings.Contains(got, "\nhint: ") {
			t.Errorf("got %q, want permission denied for %s, with a hint", got, dir)
		}
	}
}

func init() { parts["full"] = playFull }

// playFull works until the disk is full, for which a limit on file sizes stands. It then checks
// that the error stays.
func playFull() error {
	signal.Ignore(syscall.SIGXFSZ)
	l, err := state.Open(os.Getenv(pathVar), state.Options{})
	if err != nil {
		return err
	}
	limit := syscall.Rlimit{Cur: 20 << 20, Max: 20 << 20} // bbolt grows the file by 16 MiB
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	var full error
	for n := 0; full == nil && n < 100000; n++ {
		if _, full = l.Plan([]state.Item{item(n)}); full != nil {
			break
		}
		large := envelope(n)
		large.Blob = append(large.Blob, make([]byte, 50<<10)...)
		if full = l.Sign(key(n), large); full == nil {
			fmt.Println(n)
		}
	}
	_, _, itemErr := l.Item(key(0))
	_, planErr := l.Plan(nil)
	_, countsErr := l.Counts()
	for _, err := range []error{itemErr, planErr, countsErr, l.Confirm(key(0), signature(0), ""), l.Close()} {
		if !errors.Is(err, full) || !strings.Contains(err.Error(), os.Getenv(pathVar)) {
			return fmt.Errorf("not the error that stopped it (%v): %v", full, err)
		}
	}
	return nil
}

func TestAFullDiskStopsTheRunAndKeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	c := child(t, "full", pathVar+"="+path)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	signed := 0
	for lines := bufio.NewScanner(out); lines.Scan(); signed++ {
		if lines.Text() != fmt.Sprint(signed) {
			t.Errorf("got %q acknowledged, want %d", lines.Text(), signed)
		}
	}
	must(t, c.Wait())
	if signed < 10 {
		t.Fatalf("got %d items that fitted, want at least 10", signed)
	}
	l := openLedger(t, path)
	for n := range signed {
		if got, _, err := l.Item(key(n)); err != nil || got.Stage != state.Signed {
			t.Fatalf("item %d: got %q, %v, want %s", n, got.Stage, err, state.Signed)
		}
	}
	plan(t, l, item(signed), item(signed+1))
	must(t, settle(l, signed+1))
	must(t, l.VerifyEvents())
}
