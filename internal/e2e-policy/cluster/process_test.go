package cluster

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// process runs until its test ends, however that ends.
type process struct {
	name    string
	command *exec.Cmd
	done    chan struct{}
	log     string
}

// start runs a program. env is added to the environment of every process, which has nothing of
// ours.
func start(t *testing.T, p program, env []string, args ...string) *process {
	t.Helper()
	binary := p.binary(t)
	folder := t.TempDir()
	run := &process{name: p.name, command: exec.Command(binary, args...), done: make(chan struct{}), log: filepath.Join(folder, p.name+".log")}
	log, err := os.Create(run.log)
	must(t, err)
	c := run.command
	c.Dir, c.Stdout, c.Stderr = folder, log, log
	c.Env = append([]string{"HOME=" + folder, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + folder}, env...)
	c.SysProcAttr = servertest.UntilWeDie()
	must(t, c.Start())
	log.Close()
	go func() {
		c.Wait()
		close(run.done)
	}()
	t.Cleanup(func() {
		run.end() // it may have ended already
		if t.Failed() {
			t.Logf("the end of what %s said:\n%s", p.name, run.last())
		}
	})
	return run
}

// end returns only after the process has ended.
func (p *process) end() {
	p.command.Process.Kill()
	<-p.done
}

// last returns the end of the process's output.
func (p *process) last() []byte {
	said, _ := os.ReadFile(p.log)
	return said[max(0, len(said)-6000):]
}

var errDead = errors.New("it has ended")

// awaited calls ask repeatedly until it returns no error, the processes have ended or the time is
// over.
func awaited(t *testing.T, within time.Duration, what string, ask func() error, needed ...*process) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	over := time.After(within)
	for {
		err := ask()
		if err == nil {
			return
		}
		for _, p := range needed {
			select {
			case <-p.done:
				t.Fatalf("waiting for %s: %s: %v\n%s", what, p.name, errDead, p.last())
			default:
			}
		}
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

// freePort returns a port of 127.0.0.1 that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	port, err := servertest.FreePort()
	must(t, err)
	return strconv.Itoa(port)
}
