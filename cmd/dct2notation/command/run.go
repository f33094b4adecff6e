package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/state"
)

type runOptions struct {
	session.Options
	output.Results
	plan          string
	only          string
	dryRun        bool
	acceptChanges bool
	maxDuration   time.Duration
	every         time.Duration // --watch
	metrics       string
}

func newRun(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run [flags] [REPOSITORY...]",
		Short: "Sign with Notation what Docker Content Trust vouches for; run again to resume",
		Long: `Run reads and verifies the trust data, signs each digest that it vouches for and that has
no signature of the key yet, and pushes the signatures. Progress is kept in the ledger: after
a failure, a signal or a kill, run the same command again.

With --watch it does so again and again until it is stopped, so that the Notation signatures
follow what is signed in Docker Content Trust meanwhile.

The first SIGINT or SIGTERM finishes what is in flight; the second ends at once.`,
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
		if o.dryRun && o.plan != "" {
			return cli.Usage(errors.New("--dry-run makes a plan, and --plan takes one"))
		}
		if o.dryRun && (o.every != 0 || c.Flags().Changed("metrics-address")) {
			return cli.Usage(errors.New("--dry-run makes a plan, and --watch and --metrics-address are of runs"))
		}
		if o.dryRun && len(o.Reports) > 0 {
			return cli.Usage(errors.New("--dry-run makes a plan, and --report is of what was done"))
		}
		if o.dryRun {
			_, narrow, args, err := o.bounds(args)
			if errors.Is(err, errNothingToDo) {
				return o.nothing(err, s)
			}
			if err != nil {
				return err
			}
			ctx, cancel := cli.Until(c.Context(), stop)
			defer cancel()
			return runPlan(ctx, o.Options, cfg, args, narrow, s)
		}
		return runRun(c.Context(), stop, o, cfg, args, s)
	}
	return c
}

func (o *runOptions) bind(c *cobra.Command) {
	o.Options.Bind(c)
	o.Results.Bind(c.Flags())
	output.Formats(c.Flags())
	cli.Grouped(c.Flags(), cli.GroupProgress, func(f *pflag.FlagSet) {
		f.StringVar(&o.plan, "plan", "", "sign nothing outside this reviewed plan (plan -o json)")
		f.StringVar(&o.only, "only", "", "do nothing but what a list names: --report failures=FILE, a saved result, or lines of REPOSITORY, REPOSITORY@DIGEST, REPOSITORY:TAG")
		f.BoolVar(&o.dryRun, "dry-run", false, "the same as plan")
		f.BoolVar(&o.acceptChanges, "accept-changes", false, "accept that servers, pins, key or certificate differ from those that the ledger was made with")
		f.DurationVar(&o.every, "watch", 0, "go on until stopped: look again so long after each pass for what DCT signed meanwhile, as in 10m (at least 10s)")
		f.DurationVar(&o.maxDuration, "max-duration", 0, "begin nothing new after this time, and exit with 5 (0: no limit)")
	})
	cli.Grouped(c.Flags(), cli.GroupOutput, func(f *pflag.FlagSet) {
		f.StringVar(&o.metrics, "metrics-address", "", "HOST:PORT that answers /metrics (Prometheus) and /healthz; none for none (default: "+watchAddress+" with --watch, else none)")
	})
}

func runRun(ctx context.Context, stop <-chan struct{}, o runOptions, cfg session.Config, args []string, s cli.Streams) (err error) {
	for _, check := range []func() error{o.CheckResult, o.CheckRest, o.CheckReports, o.checkWatch} {
		if err := check(); err != nil {
			return err
		}
	}
	session.UseNotationFolders()
	log := o.Logger(s.Err)
	plan, narrow, args, err := o.bounds(args)
	if errors.Is(err, errNothingToDo) {
		return o.nothing(err, s)
	}
	if err != nil {
		return err
	}
	path, err := o.StatePath()
	if err != nil {
		return err
	}
	watched, unwatch, err := o.monitored(log)
	if err != nil {
		return err
	}
	defer unwatch()
	ledger, known, err := session.OpenLedger(path)
	if err != nil {
		return err
	}
	defer func() { err = closing(ledger, err) }()
	if err := o.Credentials(s.In); err != nil {
		return err
	}
	r := &runner{runOptions: o, cfg: cfg, args: args, plan: plan, filter: narrow, ledger: ledger, known: known, path: path, monitor: watched, streams: s, log: log}
	defer r.shown()()
	if o.every > 0 {
		return r.watch(ctx, stop)
	}
	return r.once(ctx, stop)
}

// closing closes the ledger at the end of a run that ended with err. A ledger that cannot
// be closed may lack what was done last: that is an error of the run, whatever its result.
func closing(l *state.Ledger, err error) error {
	failed := l.Close()
	var v *cli.ExitStatus
	switch {
	case failed == nil:
		return err
	case errors.As(err, &v):
		return failed
	case errors.Is(err, failed):
		return err // it was that what ended the run
	}
	return errors.Join(err, failed)
}

// nothing says that there was nothing to do, which is no failure.
func (o *runOptions) nothing(why error, s cli.Streams) error {
	o.Logger(s.Err).Info(why.Error())
	return nil
}

// bounds gives the reviewed plan and the list of failures, if they are named, and the names
// of the repositories of the run. Plan and list name them themselves; arguments can only
// narrow them.
func (o *runOptions) bounds(args []string) (*migrate.Plan, *filter, []string, error) {
	if o.only == "" {
		plan, args, err := o.planned(args)
		return plan, nil, args, err
	}
	narrow, err := readFilter(o.only)
	if err != nil {
		return nil, nil, nil, err
	}
	if len(args) == 0 {
		o.Discover = session.DiscoverList
		if args, err = narrow.repositories(); err != nil {
			return nil, nil, nil, cli.Usage(fmt.Errorf("reading the list %s: %w", o.only, err))
		}
	}
	plan, args, err := o.planned(args)
	return plan, narrow, args, err
}

// Scope says in a result what of the repositories it is of.
func (o *runOptions) scope(asked string) (string, error) {
	for how, file := range map[string]string{"plan": o.plan, "only": o.only} {
		if file == "" {
			continue
		}
		var err error
		if asked, err = narrowed(asked, how, file); err != nil {
			return "", err
		}
	}
	return asked, nil
}

func (o *runOptions) planned(args []string) (*migrate.Plan, []string, error) {
	if o.plan == "" {
		return nil, args, nil
	}
	f, err := os.Open(o.plan)
	if err != nil {
		return nil, nil, cli.Usage(fmt.Errorf("reading the plan: %w", err))
	}
	defer func() { _ = f.Close() }() // only read from
	plan, err := report.ReadPlan(f)
	if err != nil {
		return nil, nil, cli.Usage(fmt.Errorf("reading the plan %s: %w", o.plan, err))
	}
	if len(args) > 0 {
		return plan, args, nil
	}
	o.Discover = session.DiscoverList
	guns, err := plan.GUNs()
	for _, gun := range guns {
		args = append(args, gun.String())
	}
	return plan, args, cli.Usage(err)
}
