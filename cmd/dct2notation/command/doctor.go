package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/preflight"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/runner"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/migrate/report"
)

type doctorOptions struct {
	runOptions
	noSign bool
}

func newDoctor(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o doctorOptions
	c := &cobra.Command{
		Use:   "doctor [flags] [REPOSITORY...]",
		Short: "Check the prerequisites of a run",
		Long: `Doctor takes the flags and the configuration of a run and checks everything the run will
need: where the ledger is kept, each Notary server (with one repository), the registries
(reading, pushing, how signatures are listed), the time-stamping authority, plugins, keys,
certificates and the clock. Without a repository it checks what does not depend on one.

It signs no image, pushes nothing and does not change the ledger. To check that it may push,
it starts an upload and cancels it, in up to 10 repositories of each registry. Each key makes
one test signature that is thrown away; --no-sign saves this key operation.

The result of each check is ok, warn, fail (some or all of the run would fail: exit code 1)
or unknown.`,
		Example: `  dct2notation doctor --config migration.yaml
  dct2notation doctor --trust-pinning pins.json --key release --no-sign registry.example.com/team/app`,
	}
	o.bind(c)
	// It accepts the command line of a run; these flags do not affect any check.
	cli.HideFlags(c.Flags(), "dry-run", "max-duration", "max-operations", "recheck", "rebind", "resign", "shared", "platforms", "workers", "key-rate", "timestamp-rate", "user-metadata", "no-tty", "verbose")
	c.Flags().BoolVar(&o.noSign, "no-sign", false, "make no test signature: whether the key works, and its certificate, stay unknown")
	c.RunE = session.Action(stop, func(ctx context.Context, cfg session.Config, args []string) error {
		return runDoctor(ctx, o, cfg, args, s)
	})
	return c
}

func runDoctor(ctx context.Context, o doctorOptions, cfg session.Config, args []string, s cli.Streams) error {
	session.UseNotationFolders()
	_, _, args, unbound := o.Bounds(args)
	if errors.Is(unbound, runner.ErrNothingToDo) {
		return cli.Usage(fmt.Errorf("%w, so doctor has nothing to check\nhint: leave out --only and --plan", unbound))
	}
	if checks := preflight.Files(o.Options.Options, unbound); len(checks) > 0 {
		return o.show(checks, s)
	}
	if err := o.Check(); err != nil {
		return err
	}
	rules, err := o.Rules(cfg)
	if err != nil {
		return err
	}
	path, err := session.LedgerPath(o.State)
	if err != nil {
		return err
	}
	checks, err := preflight.Run(ctx, preflight.Options{
		Options: o.Options.Options, AcceptChanges: o.AcceptChanges, NoSign: o.noSign, Config: cfg, Ledger: path, Keys: rules, Repositories: args,
	}, s, o.Logger(s.Err))
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err() // an interrupted check says nothing
	}
	return o.show(checks, s)
}

// show prints the checks, and returns the error with the exit code.
func (o *doctorOptions) show(checks []report.Check, s cli.Streams) error {
	d := report.NewDoctor(checks, time.Now())
	write := report.DoctorText
	if o.Output == "json" {
		write = report.JSON[*report.Doctor]
	}
	if err := write(s.Out, d); err != nil {
		return err
	}
	if d.Results[report.Fail] > 0 {
		return cli.Exit(cli.ExitCannot)
	}
	return nil
}
