package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// ledgerCalls are the system calls through which a ledger accesses its file, the file's name and
// its folder.
var ledgerCalls = []string{
	"openat", "flock", "pread64", "newfstatat", "pwrite64", "fdatasync", "fsync", "ftruncate", "linkat", "renameat", "unlinkat",
}

// callFaults are the faults, in strace's syntax. The plus means "from then on".
var callFaults = []string{"signal=KILL:when=%d", "error=EIO:when=%d", "error=EIO:when=%d+", "error=ENOSPC:when=%d", "error=ENOSPC:when=%d+"}

// TestAFaultInAnySystemCallLosesNothingAcknowledged makes each call of a ledger end the process, or
// fail, once or from then on. The writer ends because of that, or with a clean error. The ledger
// has what was acknowledged, with at most one more move of each item, and the work can continue.
func TestAFaultInAnySystemCallLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	var killed, refused, unharmed atomic.Int64
	t.Run("points", func(t *testing.T) {
		for _, fresh := range []bool{true, false} {
			for _, call := range ledgerCalls {
				for _, fault := range callFaults {
					t.Run(fmt.Sprintf("fresh %v %s %s", fresh, call, fault), func(t *testing.T) {
						t.Parallel()
						sweepCall(t, fresh, call, fault, func(code int) {
							switch code {
							case -1:
								killed.Add(1)
							case 0:
								unharmed.Add(1)
							default:
								refused.Add(1)
							}
						})
					})
				}
			}
		}
	})
	t.Logf("%d killed, %d ended with an error, %d without harm", killed.Load(), refused.Load(), unharmed.Load())
	if killed.Load() < 100 || refused.Load() < 400 {
		t.Errorf("got %d killed, %d refused, want 100, 400", killed.Load(), refused.Load())
	}
}

// sweepCall injects the fault at the first call, then at the second, until there are no more calls.
// It records how each writer ended.
func sweepCall(t *testing.T, fresh bool, call, fault string, ended func(code int)) {
	t.Helper()
	for n := 1; ; n++ {
		s := newSweep(t, fresh)
		if met := s.write(call, fmt.Sprintf(fault, n)); !met || t.Failed() {
			return
		}
		ended(s.code)
		s.judge()
	}
}

// sweep is one writer that meets one fault.
type sweep struct {
	t     *testing.T
	dir   string
	path  string
	items string // how many
	code  int    // how the writer ended; -1: killed
	said  []byte // what it acknowledged
}

// newSweep prepares a folder. In a fresh one, the writer's own thread creates the ledger, and the
// first item shows that it works. In one with an empty ledger, only the ledger's thread writes, and
// two items make ten commits, which include the growth of the file.
func newSweep(t *testing.T, fresh bool) *sweep {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	s := &sweep{t: t, dir: dir, path: filepath.Join(dir, "ledger.db"), items: "2"}
	if fresh {
		s.items = "1"
		return s
	}
	if out, err := exec.Command(program("ledgerload"), "write", "-items", "0", s.path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return s
}

// write runs a writer with the fault, and returns whether the fault occurred.
func (s *sweep) write(call, fault string) bool {
	s.t.Helper()
	log := filepath.Join(s.dir, "calls")
	line := []string{"-f", "-o", log, "-e", "trace=" + call, "-e", "inject=" + call + ":" + fault}
	if strings.HasPrefix(fault, "error=") {
		line = append(line, "--seccomp-bpf") // faster, but then strace 6.1 delivers a signal only at the first call
	}
	c := exec.Command("strace", append(line, program("ledgerload"), "write", "-items", s.items, s.path)...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr, c.SysProcAttr = &stdout, &stderr, servertest.UntilWeDie()
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	s.code, s.said = c.ProcessState.ExitCode(), stdout.Bytes()
	status, ok := c.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return true
	}
	calls, err := os.ReadFile(log)
	if err != nil {
		s.t.Fatal(err)
	}
	text := stderr.String()
	if s.code > 1 || s.code == -1 || s.code == 1 && text == "" || strings.Contains(text, "panic") || strings.Contains(text, "goroutine ") {
		s.t.Errorf("%s %s: exit code %d, no clean error:\n%.2000s", call, fault, s.code, text)
	}
	return bytes.Contains(calls, []byte("(INJECTED)"))
}

// judge has another process check what is left, and continue.
func (s *sweep) judge() {
	s.t.Helper()
	c := exec.Command(program("ledgerload"), "judge", "-items", s.items, s.path)
	c.Stdin, c.SysProcAttr = bytes.NewReader(s.said), servertest.UntilWeDie()
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Run(); err != nil {
		s.t.Errorf("afterwards: %v\n%s\nacknowledged was:\n%s", err, &stderr, s.said)
	}
}
