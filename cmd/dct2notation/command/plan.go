package command

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/state"
)

type planOptions struct {
	commonOptions
	remoteOptions
	selectOptions
	engineOptions
	acceptRoot acceptedRoots
}

func newPlan(stop <-chan struct{}, s Streams) *cobra.Command {
	var o planOptions
	c := &cobra.Command{
		Use:   "plan [flags] [REPOSITORY...]",
		Short: "Show what run would sign, with which key, and why the rest not",
		Long: `Plan reads and verifies the trust data, looks up each digest in its registry and shows
what run would do. It signs nothing, pushes nothing and leaves the ledger as it is.

With -o json the result is a plan that run --plan is bound to.
` + dumpHelp,
		Example: `  dct2notation plan --trust-pinning pins.json --key release registry.example.com/team/app
  dct2notation plan --config migration.yaml -o json > plan.json`,
	}
	o.bind(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := loadConfig(c)
		if err != nil {
			return err
		}
		ctx, cancel := until(c.Context(), stop)
		defer cancel()
		return runPlan(ctx, o, cfg, args, nil, s)
	}
	return c
}

func (o *planOptions) bind(c *cobra.Command) {
	o.commonOptions.bind(c.Flags())
	o.remoteOptions.bind(c.Flags())
	o.selectOptions.bind(c.Flags())
	o.engineOptions.bind(c.Flags())
	grouped(c.Flags(), groupTrust, func(f *pflag.FlagSet) { f.Var(&o.acceptRoot, "accept-root", acceptRootHelp) })
}

func (o *planOptions) check() error {
	if err := o.commonOptions.check(); err != nil {
		return err
	}
	return o.checkRest()
}

// checkRest is check but for the formats of the result.
func (o *planOptions) checkRest() error {
	for _, check := range []func() error{o.remoteOptions.check, o.selectOptions.check, o.engineOptions.check} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// runPlan makes a plan, where narrow is not nil of what it names.
func runPlan(ctx context.Context, o planOptions, cfg config, args []string, narrow *only, s Streams) error {
	if err := o.check(); err != nil {
		return err
	}
	useNotationFolders()
	log := o.logger(s.Err)
	ledger, known, err := o.existingLedger()
	if err != nil {
		return err
	}
	if ledger != nil {
		defer func() { _ = ledger.Close() }() // only read from
	}
	f, err := enter(ctx, o.remoteOptions, o.selectOptions, cfg, args, access{readOnly: true, forceTag: o.forceTag}, s, log)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // only read from
	if err := f.acceptRoots(o.acceptRoot); err != nil {
		return err
	}
	if ledger != nil {
		if err := recallReferrers(f.registry, ledger); err != nil {
			return err
		}
	}
	parts, err := buildEngine(ctx, f, o.engineOptions, cfg, known, log)
	if err != nil {
		return err
	}
	if ledger != nil {
		parts.engine.Ledger = ledger
	}
	if narrow != nil {
		parts.engine.Only = narrow.asks
	}
	p := newProgress(&o.commonOptions, s.Err, "looked at", len(f.guns), nil)
	parts.engine.Observe = p.observe
	plan, err := parts.engine.MakePlan(ctx, f.guns)
	p.finish()
	if plan == nil {
		return err
	}
	write := report.PlanText
	if o.output == "json" {
		write = report.JSON[*migrate.Plan]
	}
	if werr := write(s.Out, plan); werr != nil {
		return werr
	}
	if err != nil {
		return told(err)
	}
	return o.exitStatus(plan, f)
}

// exitStatus returns the error that a plan comes to which has been shown.
func (o *planOptions) exitStatus(plan *migrate.Plan, f *field) error {
	items, read := 0, 0
	for _, part := range plan.Repositories {
		items += len(part.Items)
		if part.Error == nil {
			read++
		}
	}
	if items == 0 && read > 0 && o.selectsTags() {
		return errNoTags
	}
	if f.unlisted != nil {
		return &verdict{exitFailures}
	}
	for _, part := range plan.Repositories {
		if part.Error != nil || slices.ContainsFunc(part.Items, func(it migrate.PlanItem) bool { return it.Action == migrate.ActionUnknown }) {
			return &verdict{exitFailures}
		}
	}
	return nil
}

// existingLedger opens the ledger if there is one: a plan makes none. Then it also gives
// the configuration that the ledger belongs to.
func (o *engineOptions) existingLedger() (*state.Ledger, state.Fingerprint, error) {
	path, err := o.statePath()
	if err != nil || !exists(path) {
		return nil, nil, err
	}
	return openLedgerWith(path, state.Options{ReadOnly: true})
}
