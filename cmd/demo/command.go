package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// child is one command line of the product.
type child struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
}

// child prepares a command line. The child sees only the environment that was shown and no other setting of the
// user's, and has the scene's folder as its home. When ctx ends it is killed.
func (p *play) child(ctx context.Context, args ...string) *child {
	c := &child{Cmd: exec.CommandContext(ctx, p.binary, args...)}
	c.Dir = p.dir
	c.Env = append(environment(p.dir), "HOME="+p.dir)
	for _, name := range []string{"PATH", "TMPDIR", "LANG"} {
		if v, ok := os.LookupEnv(name); ok {
			c.Env = append(c.Env, name+"="+v)
		}
	}
	c.Stdout, c.Stderr = &c.stdout, &c.stderr
	// A plugin that outlives a killed run holds its stderr for a moment.
	c.WaitDelay = 2 * time.Second
	return c
}

// typed runs a command line, shows it with its output, and returns its stdout. An exit code other than want is an
// error; why says what that code means here.
func (p *play) typed(ctx context.Context, want int, why string, args ...string) (string, error) {
	p.command(append([]string{"dct2notation"}, args...)...)
	c, err := p.finish(ctx, want, args)
	p.story(c.stderr.String())
	p.result(c.stdout.String())
	if err == nil {
		p.line(fmt.Sprintf("# exit code %d: %s", want, why))
	}
	return c.stdout.String(), err
}

// saved is typed for a result that goes to a file of the scene. It returns the result.
func (p *play) saved(ctx context.Context, want int, why, file string, args ...string) ([]byte, error) {
	p.command(append(append([]string{"dct2notation"}, args...), ">", file)...)
	c, err := p.finish(ctx, want, args)
	p.story(c.stderr.String())
	if err != nil {
		return nil, err
	}
	p.line(fmt.Sprintf("# exit code %d: %s", want, why))
	return c.stdout.Bytes(), os.WriteFile(p.path(file), c.stdout.Bytes(), 0o600)
}

// finish runs a command line to its end. Its child is never nil.
func (p *play) finish(ctx context.Context, want int, args []string) (*child, error) {
	c := p.child(ctx, args...)
	err := c.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return c, ctx.Err()
	case err != nil && !errors.As(err, &exit):
		return c, fmt.Errorf("running dct2notation %s: %w", args[0], err)
	case c.ProcessState.ExitCode() != want:
		return c, fmt.Errorf("dct2notation %s: exit code %d, and %d was expected", args[0], c.ProcessState.ExitCode(), want)
	}
	return c, nil
}

// killed shows a command line, starts it, and kills it as soon as enough returns true. It is an error if the command
// ends by itself before that.
func (p *play) killed(ctx context.Context, enough func() (bool, error), args ...string) error {
	p.command(append(append([]string{"dct2notation"}, args...), "&")...)
	c := p.child(ctx, args...)
	if err := c.Start(); err != nil {
		return fmt.Errorf("running dct2notation %s: %w", args[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			p.story(c.stderr.String())
			return fmt.Errorf("running dct2notation %s: it ended before it could be killed: %v", args[0], err)
		case <-tick.C:
		}
		now, err := enough()
		if !now && err == nil {
			continue
		}
		kill := c.Process.Kill()
		<-ended // "killed", as intended
		p.story(c.stderr.String())
		p.command("kill", "-9", fmt.Sprint(c.Process.Pid))
		return errors.Join(err, kill, ctx.Err())
	}
}
