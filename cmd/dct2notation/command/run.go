package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/runner"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
)

type runOptions struct {
	runner.Options
	dryRun bool
}

func newRun(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		SuggestFor: []string{"sign", "migrate"},
		Use:        "run [flags] [REPOSITORY...]",
		Short:      "Sign with Notation what Docker Content Trust vouches for; run again to resume",
		Long: `Run reads and verifies the trust data, signs each digest that it vouches for and that has
no signature by the key yet, and pushes the signatures. Progress is kept in the ledger: after
a failure, a signal or a kill, run the same command again.

With --watch it repeats this until it is stopped, so that images signed with Docker Content
Trust in the meantime are signed with Notation too.

On the first SIGINT or SIGTERM it finishes the work in flight; on the second it exits at once.`,
		Example: `  dct2notation run --trust-pinning pins.json --key release registry.example.com/team/app
  dct2notation run --config migration.yaml --plan plan.json
  dct2notation run --config migration.yaml --watch 10m`,
	}
	o.bind(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := session.LoadConfig(c)
		if err != nil {
			return err
		}
		if o.dryRun && o.PlanFile != "" {
			return cli.Usage(errors.New("--dry-run makes a plan, and --plan takes one"))
		}
		if o.dryRun && (o.Every != 0 || c.Flags().Changed("metrics-address")) {
			return cli.Usage(errors.New("--dry-run makes a plan, and --watch and --metrics-address are of runs"))
		}
		if o.dryRun && len(o.Reports) > 0 {
			return cli.Usage(errors.New("--dry-run makes a plan, and --report is of what was done"))
		}
		if o.dryRun {
			_, narrow, args, err := o.Bounds(args)
			if errors.Is(err, runner.ErrNothingToDo) {
				o.Logger(s.Err).Info(err.Error())
				_, err = o.Asked(args, cfg) // typing errors are still refused
				return err
			}
			if err != nil {
				return err
			}
			ctx, cancel := cli.Until(c.Context(), stop)
			defer cancel()
			return runPlan(ctx, o.Options.Options, cfg, args, narrow, s)
		}
		return runRun(c.Context(), stop, o, cfg, args, s)
	}
	return c
}

func (o *runOptions) bind(c *cobra.Command) {
	o.Options.Options.Bind(c)
	o.Results.Bind(c.Flags())
	output.Formats(c.Flags())
	o.BindVerbose(c.Flags(), "on a terminal too, print the result in full")
	cli.Grouped(c.Flags(), cli.GroupProgress, func(f *pflag.FlagSet) {
		f.StringVar(&o.PlanFile, "plan", "", "sign nothing outside this reviewed plan (plan -o json)")
		f.StringVar(&o.OnlyFile, "only", "", "process only what this file lists: one written by --report failures=FILE, a saved result, or lines of REPOSITORY, REPOSITORY@DIGEST, REPOSITORY:TAG")
		f.BoolVar(&o.dryRun, "dry-run", false, "the same as plan")
		f.BoolVar(&o.AcceptChanges, "accept-changes", false, "accept servers, pins, a key or a certificate other than those the ledger was made with")
		f.DurationVar(&o.Every, "watch", 0, "run until stopped: wait this long after each pass, then look for newly signed images, such as 10m (at least 10s)")
		f.DurationVar(&o.MaxDuration, "max-duration", 0, "start no new work after this time, and exit with code 5 (0: no limit)")
		f.IntVar(&o.MaxOperations, "max-operations", 0, "spend at most this many key operations, including those that prove the keys, and exit with code 5 when they are used up (0: no limit)")
	})
	cli.Grouped(c.Flags(), cli.GroupOutput, func(f *pflag.FlagSet) {
		f.StringVar(&o.Metrics, "metrics-address", "", "HOST:PORT that serves /metrics (Prometheus) and /healthz, or none (default: "+runner.WatchAddress+" with --watch, else none)")
	})
	cli.First(c.Flags(), "config", "trust-pinning", "key", "plugin", "id", "state", "dry-run", "plan", "watch", "output")
}

func runRun(ctx context.Context, stop <-chan struct{}, o runOptions, cfg session.Config, args []string, s cli.Streams) (err error) {
	if err := cli.FirstError(o.CheckResult, o.CheckReading, o.EngineOptions.Check, o.CheckReports, o.CheckWatch); err != nil {
		return err
	}
	session.UseNotationFolders()
	if err := o.CheckOperations(cfg); err != nil {
		return err
	}
	log := o.Logger(s.Err)
	plan, narrow, args, err := o.Bounds(args)
	if errors.Is(err, runner.ErrNothingToDo) {
		log.Info(err.Error())
		return (&runner.Runner{Options: o.Options, Config: cfg, Args: args, Streams: s, Log: log}).Nothing()
	}
	if err != nil {
		return err
	}
	if err := o.Shard.Check(); err != nil {
		return err
	}
	if o.Shard.Count > 0 && o.State == "" {
		return cli.Usage(fmt.Errorf("--shard %s needs --state: each shard has a ledger of its own", o.Shard))
	}
	path, err := o.StatePath()
	if err != nil {
		return err
	}
	if err := o.CheckNames(args, cfg); err != nil {
		return err // before an unnecessary ledger is created
	}
	watched, unwatch, err := o.Monitored(log)
	if err != nil {
		return err
	}
	defer unwatch()
	ledger, known, err := session.OpenLedger(path)
	if err != nil {
		return err
	}
	defer func() { err = session.CloseLedger(ledger, err) }()
	if o.State == "" {
		log.Info("progress is kept in the ledger", "ledger", path)
	}
	if err := o.Shard.CheckLedger(known); err != nil {
		return err
	}
	if err := o.Credentials(s.In); err != nil {
		return err
	}
	r := &runner.Runner{Options: o.Options, Config: cfg, Args: args, Plan: plan, Filter: narrow, Ledger: ledger, Known: known, Path: path, Monitor: watched, Streams: s, Log: log}
	return r.Run(ctx, stop)
}
