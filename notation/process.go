package notation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// Limits of one plugin call. A plugin's answer is a signature and a certificate chain:
// a few kilobytes.
const (
	maxStdout = 1 << 20
	maxStderr = 64 << 10
	// waitDelay is how long output may stay open after the plugin has ended. Otherwise a child that the plugin left
	// behind would block us forever. A process that is just being started holds what it inherits until it runs its own
	// program: more than a second where the machine is overloaded, and each such failure costs another key operation.
	waitDelay = 5 * time.Second
)

// result is the outcome of a plugin process.
type result struct {
	stdout, stderr []byte
	failed         bool // exited with another code than 0
}

// runProcess starts one plugin command and returns what it wrote. It returns at the latest waitDelay after ctx ends.
// An error means that the process could not be started, was cut off, or broke a limit; an unsuccessful exit is not an
// error here.
func runProcess(ctx context.Context, path, command string, request []byte, env []string) (result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := exec.CommandContext(ctx, path, command)
	c.Stdin = bytes.NewReader(request)
	c.Env = env
	c.WaitDelay = waitDelay
	ownGroup(c)
	stdout := &capped{max: maxStdout, over: func() { cancel(fmt.Errorf("wrote more than %d bytes", maxStdout)) }}
	stderr := &capped{max: maxStderr, over: func() {}} // log lines; excess is dropped
	c.Stdout, c.Stderr = stdout, stderr
	err := c.Run()
	killGroup(c) // stragglers
	r := result{stdout: stdout.buf.Bytes(), stderr: stderr.buf.Bytes()}

	// Only ctx knows why it was cut off: the process says no more than "killed".
	if cause := context.Cause(ctx); cause != nil {
		return r, cause
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.failed = true
		return r, nil
	case errors.Is(err, exec.ErrWaitDelay):
		// This machine may also have been too busy.
		return r, errLeftOpen
	}
	return r, err
}

// errLeftOpen says that a plugin has ended, but another process still holds its output.
var errLeftOpen = errors.New("left a child process behind that kept its output open")

// capped keeps the first max bytes, and calls over if there are more.
type capped struct {
	buf  bytes.Buffer
	max  int
	over func()
}

var _ io.Writer = (*capped)(nil)

func (c *capped) Write(p []byte) (int, error) {
	room := c.max - c.buf.Len()
	if len(p) > room {
		c.buf.Write(p[:room])
		c.over()
		return len(p), nil // not an error: the rest is read and dropped
	}
	return c.buf.Write(p)
}
