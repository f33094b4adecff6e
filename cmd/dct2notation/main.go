// Command dct2notation moves container images from Docker Content Trust to Notation.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/command"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
)

const (
	// drainTime is how long work in flight may take after the first signal. Kubernetes
	// kills 30 seconds after its signal.
	drainTime = 20 * time.Second
	// lastWords is how long the end may take after the second signal. Cutting it off is like a kill: the next run
	// continues from there.
	lastWords = 2 * time.Second
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	stop := make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	caught := make(chan os.Signal, 1)
	go func() {
		s := <-signals
		caught <- s
		close(stop) // begin nothing new; finish what is in flight
		select {
		case <-signals: // stop at once
		case <-time.After(drainTime):
		}
		cancel()
		time.Sleep(lastWords)
		os.Exit(exitCode(s))
	}()
	code := command.Main(ctx, stop, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	select {
	case s := <-caught:
		if code != 0 {
			code = exitCode(s)
		}
	default:
	}
	os.Exit(code)
}

// exitCode returns the shell's exit code for a process that a signal ended.
func exitCode(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return 130
}
