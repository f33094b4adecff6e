// Command dct2notation moves container images from Docker Content Trust to Notation.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/command"
)

// drainTime is how long work in flight may take after the first signal. Kubernetes kills
// 30 seconds after its signal.
const drainTime = 20 * time.Second

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	caught := make(chan os.Signal, 1)
	go func() {
		s := <-signals
		caught <- s
		close(stop) // nothing new; what is in flight ends well
		select {
		case <-signals: // at once
		case <-time.After(drainTime):
		}
		cancel(context.Canceled)
	}()
	code := command.Main(ctx, stop, os.Args[1:], command.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	select {
	case s := <-caught:
		if n, ok := s.(syscall.Signal); ok && code != 0 {
			code = 128 + int(n)
		}
	default:
	}
	os.Exit(code)
}
