package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/state"
)

type runOptions struct {
	planOptions
	plan          string
	dryRun        bool
	acceptChanges bool
	maxDuration   time.Duration
}

func newRun(stop <-chan struct{}, s Streams) *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run [flags] [REPOSITORY...]",
		Short: "Sign with Notation what Docker Content Trust vouches for; run again to resume",
		Long: `Run reads and verifies the trust data, signs each digest that it vouches for and that has
no signature of the key yet, and pushes the signatures. Progress is kept in the ledger: after
a failure, a signal or a kill, run the same command again.

The first SIGINT or SIGTERM finishes what is in flight; the second ends at once.`,
		Example: `  dct2notation run --trust-pinning pins.json --key release registry.example.com/team/app
  dct2notation run --config migration.yaml --plan plan.json`,
	}
	o.bind(c)
	c.Flags().StringVar(&o.plan, "plan", "", "sign nothing outside this reviewed plan (plan -o json)")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "the same as plan")
	c.Flags().BoolVar(&o.acceptChanges, "accept-changes", false, "accept that servers, pins, key or certificate differ from those that the ledger was made with")
	c.Flags().DurationVar(&o.maxDuration, "max-duration", 0, "begin nothing new after this time, and exit with 5 (0: no limit)")
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := loadConfig(c)
		if err != nil {
			return err
		}
		if o.dryRun {
			return runPlan(c.Context(), o.planOptions, cfg, args, s)
		}
		return runRun(c.Context(), stop, o, cfg, args, s)
	}
	return c
}

func runRun(ctx context.Context, stop <-chan struct{}, o runOptions, cfg config, args []string, s Streams) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	useNotationFolders()
	plan, guns, err := o.bounds(args, cfg)
	if err != nil {
		return err
	}
	log := o.logger(s.Err)
	path, err := o.statePath()
	if err != nil {
		return err
	}
	ledger, known, err := openLedger(path)
	if err != nil {
		return err
	}
	defer func() { err = closing(ledger, err) }()
	parts, err := o.parts(ctx, cfg, guns, ledger, known, s, log)
	if err != nil {
		return err
	}
	defer func() { _ = parts.remote.close() }() // only read from
	if plan != nil {
		if err := plan.Check(parts.signer.Name(), parts.signer.Leaf()); err != nil {
			return usage(err)
		}
		parts.engine.Plan = plan
	}
	return o.migrate(ctx, stop, parts.engine, guns, path, s, log)
}

// closing closes the ledger at the end of a run that ended with err. A ledger that cannot
// be closed may lack what was done last: that is an error of the run, whatever its result.
func closing(l *state.Ledger, err error) error {
	failed := l.Close()
	var v *verdict
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

// parts opens the key and binds the ledger to the configuration.
func (o *runOptions) parts(ctx context.Context, cfg config, guns []dct.GUN, ledger *state.Ledger, known state.Fingerprint, s Streams, log *slog.Logger) (*engineParts, error) {
	r, err := connect(o.remoteOptions, cfg, guns, access{forceTag: o.forceTag}, s, log)
	if err != nil {
		return nil, err
	}
	if o.acceptChanges {
		known = nil // the key is asked anew what its certificate is
	}
	parts, err := buildEngine(ctx, r, o.keyOptions, known, log)
	if err != nil {
		return nil, err
	}
	f, err := parts.fingerprint(o.keyOptions, guns)
	if err != nil {
		return nil, err
	}
	if err := ledger.Bind(f, o.acceptChanges); err != nil {
		return nil, err
	}
	parts.engine.Ledger = ledger
	return parts, nil
}

// migrate runs the engine and shows what became of it.
func (o *runOptions) migrate(ctx context.Context, stop <-chan struct{}, e *migrate.Engine, guns []dct.GUN, path string, s Streams, log *slog.Logger) error {
	p := newProgress(&o.commonOptions, s.Err, "signed", newStatusFile(path, log))
	e.Observe = p.observe
	failpoints(e)
	stop, early := within(stop, o.maxDuration)
	summary, err := e.Run(ctx, stop, guns)
	p.finish()
	result := p.result(summary, err)
	write := report.RunText
	if o.output == "json" {
		write = report.JSON[*report.Run]
	}
	if werr := write(s.Out, result); werr != nil {
		return errors.Join(err, werr)
	}
	switch {
	case err != nil:
		return err
	case summary.Drained && early():
		return &verdict{exitEarly}
	case summary.Drained:
		return &verdict{exitInterrupted}
	case !summary.Complete():
		return &verdict{exitFailures}
	}
	return nil
}

// within closes the returned channel when stop is closed or the time is over; early then
// tells whether it was the time.
func within(stop <-chan struct{}, limit time.Duration) (_ <-chan struct{}, early func() bool) {
	signalled := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	if limit <= 0 {
		return stop, func() bool { return false }
	}
	both := make(chan struct{})
	go func() {
		defer close(both)
		t := time.NewTimer(limit)
		defer t.Stop()
		select {
		case <-stop:
		case <-t.C:
		}
	}()
	return both, func() bool { return !signalled() }
}

// bounds gives the reviewed plan, if one is named, and the repositories of the run. A
// plan names them itself; arguments can only narrow it.
func (o *runOptions) bounds(args []string, cfg config) (*migrate.Plan, []dct.GUN, error) {
	if o.plan == "" {
		guns, err := selectRepositories(args, cfg)
		return nil, guns, err
	}
	f, err := os.Open(o.plan)
	if err != nil {
		return nil, nil, usage(fmt.Errorf("reading the plan: %w", err))
	}
	defer func() { _ = f.Close() }() // only read from
	plan, err := report.ReadPlan(f)
	if err != nil {
		return nil, nil, usage(fmt.Errorf("reading the plan %s: %w", o.plan, err))
	}
	if len(args) > 0 {
		guns, err := selectRepositories(args, cfg)
		return plan, guns, err
	}
	guns, err := plan.GUNs()
	return plan, guns, usage(err)
}
