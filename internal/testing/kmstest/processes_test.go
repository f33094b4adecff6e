//go:build unix

package kmstest_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

// The test counts the answer without keeping it.
func TestHugeAnswerIs300MB(t *testing.T) {
	t.Parallel()
	p := install(t, kmstest.Behaviour{Faults: []kmstest.Fault{{Command: "describe-key", Kind: kmstest.HugeStdout}}})
	c := exec.CommandContext(t.Context(), p.Path, "describe-key")
	c.Stdin = strings.NewReader(`{"keyId":"k"}`)
	var size counter
	c.Stdout = &size
	if err := c.Run(); err != nil || size < 300_000_000 {
		t.Errorf("got %d bytes, error %v, want at least 300000000", size, err)
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// The other child must not survive: otherwise nothing would distinguish the two kinds.
func TestSetsidChildSurvivesItsGroup(t *testing.T) {
	t.Parallel()
	for kind, survives := range map[kmstest.Kind]bool{kmstest.SetsidDaemon: true, kmstest.ChildHoldsStdout: false} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			p := install(t, kmstest.Behaviour{Faults: []kmstest.Fault{{Command: "describe-key", Kind: kind}}})
			closed, group := startDetached(t, p)
			// ESRCH: the group is empty, since its only child has left it.
			if err := syscall.Kill(-group, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Fatal(err)
			}
			select {
			case <-closed:
				if survives {
					t.Fatal("got a child that holds stdout gone, want it alive")
				}
				return
			case <-time.After(time.Second):
				if !survives {
					t.Fatal("stdout is still held")
				}
			}
			// It must not outlive the test either.
			if err := os.Remove(filepath.Join(filepath.Dir(p.Path), kmstest.BehaviourFile)); err != nil {
				t.Fatal(err)
			}
			select {
			case <-closed:
			case <-time.After(10 * time.Second):
				t.Error("the child stays although its behaviour file is gone")
			}
		})
	}
}

// startDetached runs describe-key in its own process group until the plugin itself has ended.
// closed is closed when nobody holds its stdout any more.
func startDetached(t *testing.T, p *kmstest.Plugin) (closed <-chan struct{}, group int) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close() })
	c := exec.CommandContext(t.Context(), p.Path, "describe-key")
	c.Stdin, c.Stdout = strings.NewReader(`{"keyId":"k"}`), write
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(io.Discard, read)
	}()
	return done, c.Process.Pid
}

func TestOnlyOneHangIgnoresTerm(t *testing.T) {
	t.Parallel()
	for kind, ignores := range map[kmstest.Kind]bool{kmstest.Hang: false, kmstest.HangIgnoreTerm: true} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			p := install(t, kmstest.Behaviour{Faults: []kmstest.Fault{{Command: "describe-key", Kind: kind}}})
			c := exec.CommandContext(t.Context(), p.Path, "describe-key")
			c.Stdin = bytes.NewReader([]byte(`{"keyId":"k"}`))
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- c.Wait() }()
			awaitHang(t, p)
			if err := c.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
				if ignores {
					t.Error("ended by SIGTERM")
				}
			case <-time.After(time.Second):
				if !ignores {
					t.Error("SIGTERM was ignored")
				}
				c.Process.Kill()
				<-ended
			}
		})
	}
}

// awaitHang waits until the plugin has logged its call, and a moment for what follows.
func awaitHang(t *testing.T, p *kmstest.Plugin) {
	t.Helper()
	for range 200 {
		if calls, err := p.Calls("describe-key"); err == nil && len(calls) == 1 {
			time.Sleep(500 * time.Millisecond)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the plugin did not start")
}

// This also proves that the program starts at once although other processes are being started while
// it is written.
func TestInstallNeedsNoConfigInRequests(t *testing.T) {
	t.Parallel()
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			p := install(t, kmstest.Behaviour{})
			request := requestFor(p, "generate-signature")
			delete(request, "pluginConfig")
			if got := start(t, p, "generate-signature", request, time.Minute); !answers(got) {
				t.Errorf("got %+v, want an answer", got)
			}
			if want := filepath.Join("plugins", "kmstest", "notation-kmstest"); !strings.HasSuffix(p.Path, want) {
				t.Errorf("got it installed as %s, want %s", p.Path, want)
			}
		})
	}
}
