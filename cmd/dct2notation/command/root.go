// Package command is the command line, with a file for each verb.
//
// A verb is a constructor that binds its options to flags, and a function that tests can call: it connects a session,
// calls one package and shows the result. The result goes to Streams.Out, messages and progress to Streams.Err.
package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/report"
)

// Main runs one command line and returns its exit code. When stop is closed, the verb finishes what it has begun;
// when ctx ends, it returns as soon as it can.
func Main(ctx context.Context, stop <-chan struct{}, args []string, s cli.Streams) int {
	s = s.OnTerminals()
	s.Then = &cli.Then{}
	root := NewRoot(stop, s)
	root.SetArgs(args)
	var typed []string // before a configuration sets flags too
	root.PersistentPreRun = func(c *cobra.Command, _ []string) {
		c.Flags().Visit(func(f *pflag.Flag) { typed = append(typed, f.Name) })
	}
	verb, err := root.ExecuteContextC(ctx)
	if err != nil && strings.HasPrefix(err.Error(), "unknown command") {
		err = cli.Usage(unknownVerb(err)) // an error of cobra's own, which has no type
	}
	code := cli.ExitCode(err)
	then := next(end{verb, typed, code, err, *s.Then})
	if !cli.Silent(err) && err != nil {
		// Each part of the text has already escaped foreign data; this escapes what cobra and
		// the operating system quote from the command line.
		fmt.Fprintln(s.Err, "Error: "+safetext.Lines(strings.ReplaceAll(report.Why(err), "\t", "  "), 8192))
		if then.cures {
			then.write(s.Err, "hint: ")
			return code
		}
	}
	if o, ok := cli.CommonOf(verb.Flags()); ok && !o.Quiet && o.Terminal(s.Err) != nil {
		then.write(s.Err, "next: ")
	}
	return code
}

// NewRoot returns the command line. When stop is closed, the verb finishes what it has begun.
func NewRoot(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "dct2notation",
		Short: "Move container images from Docker Content Trust to Notation",
		Long: `dct2notation reads the signed targets of a Notary v1 server, signs each digest again
with Notation, and verifies both signature sets while they coexist.

It signs nothing that Docker Content Trust did not vouch for, and it can be killed at any
moment: run the same command again and it goes on.`,
		Version:       cli.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return cli.Usage(fmt.Errorf("%w\nhint: %s", cli.FlagError(err), cli.HintOfFlag(c, err)))
	})
	root.AddCommand(newInit(stop, s), newPins(stop, s), newDoctor(stop, s), newSnapshot(stop, s), newPlan(stop, s), newRun(stop, s), newVerify(stop, s), newInspect(stop, s), newUndo(stop, s), newReport(stop, s), newReady(stop, s), newPolicy(stop, s), newStatus(s), newVersion(s))
	root.CompletionOptions.HiddenDefaultCmd = false
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Run, c.RunE = nil, showHelp
		case "completion": // without a shell it shows its help; for an unknown shell cobra would do so too
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
	cli.GroupFlags(root)
	completeValues(root)
	var each func(c *cobra.Command)
	each = func(c *cobra.Command) {
		cli.RefuseTwice(c.Flags())
		for _, verb := range c.Commands() {
			each(verb)
		}
	}
	each(root)
	return root
}

// showHelp is the verb help, which accepts the name of another verb: cobra's own succeeds whatever the name.
func showHelp(c *cobra.Command, args []string) error {
	verb, rest, err := c.Root().Find(args)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("unknown command %q for %q", rest[0], verb.CommandPath())
	}
	if err != nil {
		return cli.Usage(unknownVerb(err))
	}
	return verb.Help()
}

// unknownVerb adds a hint to cobra's error for an unknown verb, if cobra has nothing to suggest.
func unknownVerb(err error) error {
	if strings.Contains(err.Error(), "Did you mean") {
		return err
	}
	return fmt.Errorf("%w\nhint: dct2notation --help lists the commands", err)
}
