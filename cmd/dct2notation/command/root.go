// Package command is the command line: a file for each verb, and wire.go, which builds
// the real parts behind package migrate's interfaces.
//
// A verb is a constructor that binds its options to flags, and a function that tests can
// call. The result goes to Streams.Out, the story to Streams.Err. Which error gives which
// exit code is decided in exit.go alone.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/report"
)

// Streams are the standard streams of a call.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Main runs one command line and returns its exit code. When stop is closed the verb
// finishes what it has begun; when ctx ends it returns as soon as it can.
func Main(ctx context.Context, stop <-chan struct{}, args []string, s Streams) int {
	root := newRoot(stop, s)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && strings.HasPrefix(err.Error(), "unknown command") {
		err = usage(err) // cobra's own, which has no type
	}
	if err == nil {
		return exitDone
	}
	var shown *verdict
	if !errors.As(err, &shown) {
		// The text is made of parts that each escaped what came from elsewhere; this is
		// for what cobra and the operating system quote of the command line.
		fmt.Fprintln(s.Err, "Error: "+safetext.Lines(strings.ReplaceAll(report.Why(err), "\t", "  "), 8192))
	}
	return exitCode(err)
}

// until gives a context that ends when stop is closed as well: a verb that changes nothing
// has nothing to finish. It is to be cancelled.
func until(ctx context.Context, stop <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func newRoot(stop <-chan struct{}, s Streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "dct2notation",
		Short: "Move container images from Docker Content Trust to Notation",
		Long: `dct2notation reads the signed targets of a Notary v1 server, signs each digest again
with Notation, and verifies both signature sets while they coexist.

It signs nothing that Docker Content Trust did not vouch for, and it can be killed at any
moment: run the same command again and it goes on.`,
		Version:       Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w\nhint: %s", flagError(err), hintOfFlag(c, err)))
	})
	root.AddCommand(newDoctor(stop, s), newSnapshot(stop, s), newPlan(stop, s), newRun(stop, s), newVerify(stop, s), newUndo(stop, s), newReport(stop, s), newReady(stop, s), newPolicy(stop, s), newStatus(s), newVersion(s))
	root.CompletionOptions.HiddenDefaultCmd = false
	groupFlags(root)
	var each func(c *cobra.Command)
	each = func(c *cobra.Command) {
		refuseTwice(c.Flags())
		for _, verb := range c.Commands() {
			each(verb)
		}
	}
	each(root)
	return root
}
