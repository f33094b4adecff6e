package command

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/runner"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
)

func newPlan(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o session.Options
	c := &cobra.Command{
		Use:   "plan [flags] [REPOSITORY...]",
		Short: "Show what run would sign, with which key, and why not the rest",
		Long: `Plan reads and verifies the trust data, looks up each digest in its registry and shows
what run would do. It signs nothing, pushes nothing and does not change the ledger.

Save the result of -o json and give it to run --plan, which then signs nothing else.
` + session.DumpHelp,
		Example: `  dct2notation plan --trust-pinning pins.json --key release registry.example.com/team/app
  dct2notation plan --config migration.yaml -o json > plan.json`,
	}
	o.Bind(c)
	o.BindVerbose(c.Flags(), "on a terminal too, print the plan in full")
	c.RunE = session.Action(stop, func(ctx context.Context, cfg session.Config, args []string) error {
		return runPlan(ctx, o, cfg, args, nil, s)
	})
	return c
}

// runPlan makes a plan; if narrow is not nil, only of what it names.
func runPlan(ctx context.Context, o session.Options, cfg session.Config, args []string, narrow *runner.Filter, s cli.Streams) error {
	if err := o.Check(); err != nil {
		return err
	}
	session.UseNotationFolders()
	log := o.Logger(s.Err)
	ledger, known, err := o.ExistingLedger()
	if err != nil {
		return err
	}
	if ledger != nil {
		defer func() { _ = ledger.Close() }() // only read from
	}
	if err := o.Shard.CheckLedger(known); err != nil {
		return err
	}
	f, err := o.Connect(ctx, cfg, args, session.Access{ReadOnly: true, ForceTag: o.ForceTag}, s, log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	if err := f.AcceptRoots(o.AcceptRoot); err != nil {
		return err
	}
	if ledger != nil {
		if err := session.RecallReferrers(f.Registry, ledger); err != nil {
			return err
		}
	}
	parts, err := session.BuildEngine(ctx, f, o.EngineOptions, cfg, known, log)
	if err != nil {
		return err
	}
	if ledger != nil {
		parts.Engine.Ledger = ledger
		path, err := o.StatePath()
		if err != nil {
			return err
		}
		parts.Engine.LastRate = output.LastRate(path)
	}
	if narrow != nil {
		parts.Engine.Filter = narrow.Matches
	}
	p := output.NewProgress(&o.Common, s, "looked at", len(f.GUNs), f.Pending, nil)
	parts.Engine.Observe = p.Observe
	plan, err := parts.Engine.MakePlan(ctx, f.GUNs)
	p.Finish()
	if plan == nil {
		return err
	}
	plan.Shard = f.Shard.String()
	f.TellUnmatchedTags(log)
	write := report.PlanText
	if screen, ok := o.Screen(s.Out); ok {
		write = screen.Plan
	} else if o.Output == "json" {
		write = report.JSON[*migrate.Plan]
	}
	if werr := write(s.Out, plan); werr != nil {
		return werr
	}
	if err != nil {
		return cli.Reported(err)
	}
	s.Then.Covered(session.PolicyCovers(p.Places()))
	if plan.Cost.Operations == 0 && !slices.ContainsFunc(plan.Repositories, pushes) {
		s.Then.Do("verify")
	}
	return planStatus(&o, plan, f, s.Then)
}

// pushes reports whether a run would push what an earlier one has signed.
func pushes(r migrate.PlanRepository) bool {
	return slices.ContainsFunc(r.Items, func(it migrate.PlanItem) bool { return it.Action == migrate.ActionPush })
}

// reasonOf returns why it is unknown what to do with an image.
func reasonOf(it migrate.PlanItem) failure.Class {
	if it.Reason == nil {
		return failure.Permanent
	}
	return it.Reason.Class
}

// planStatus returns the error of a plan that has been shown.
func planStatus(o *session.Options, plan *migrate.Plan, f *session.Session, then *cli.Then) error {
	items, read := 0, 0
	for _, part := range plan.Repositories {
		items += len(part.Items)
		if part.Error == nil {
			read++
		}
	}
	if items == 0 && read > 0 && o.SelectsTags() && f.Shard.Alone() {
		return session.ErrNoTags
	}
	if f.Unlisted != nil {
		return cli.Exit(cli.ExitFailures)
	}
	failed := false
	for _, part := range plan.Repositories {
		failed = failed || part.Error != nil
		for _, it := range part.Items {
			if it.Action == migrate.ActionUnknown {
				failed = true
				then.Fail(reasonOf(it))
			}
		}
	}
	if failed {
		return cli.Exit(cli.ExitFailures)
	}
	return nil
}
