package command

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/state"
)

type doctorOptions struct {
	runOptions
	noSign bool
}

func newDoctor(stop <-chan struct{}, s Streams) *cobra.Command {
	var o doctorOptions
	c := &cobra.Command{
		Use:   "doctor [flags] [REPOSITORY...]",
		Short: "Look, before a run, for what would fail it",
		Long: `Doctor takes the flags and the configuration of a run and looks at all that the run will
need: the ledger's place, the Notary servers with one repository of each, the registries
(reading, pushing, how signatures are listed), the time-stamping authority, plugins, keys,
certificates and the clock. Without a repository it looks at what does not depend on one.

It signs no image, pushes nothing and leaves the ledger as it is. To see whether a push would
be let in it begins an upload and cancels it; of up to 10 repositories for each registry. Each key
makes one throw-away signature, over no image: a key operation, which --no-sign saves.

Each row ends ok, warn, fail (the run would fail, in whole or in part: exit code 1) or unknown.`,
		Example: `  dct2notation doctor --config migration.yaml
  dct2notation doctor --trust-pinning pins.json --key release --no-sign registry.example.com/team/app`,
	}
	o.bind(c)
	// It takes the command line of a run, of which these say nothing of what is looked at.
	hideFlags(c.Flags(), "dry-run", "max-duration", "recheck", "rebind", "resign", "shared", "platforms", "workers", "key-rate", "user-metadata", "no-tty")
	c.Flags().BoolVar(&o.noSign, "no-sign", false, "spend no key operation: whether the key signs, and its certificate, stay unknown")
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := loadConfig(c)
		if err != nil {
			return err
		}
		ctx, cancel := until(c.Context(), stop)
		defer cancel()
		return runDoctor(ctx, o, cfg, args, s)
	}
	return c
}

func runDoctor(ctx context.Context, o doctorOptions, cfg config, args []string, s Streams) error {
	if err := o.check(); err != nil {
		return err
	}
	useNotationFolders()
	_, args, err := o.planned(args)
	if err != nil {
		return err
	}
	rules, err := o.rules(cfg)
	if err != nil {
		return err
	}
	path, err := o.statePath()
	if err != nil {
		return err
	}
	e := &exam{opts: o, cfg: cfg, log: o.logger(s.Err), clock: newServerClocks()}
	if err := e.look(ctx, path, rules, args, s); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err() // what was cut short says nothing
	}
	d := report.NewDoctor(e.checks, time.Now())
	write := report.DoctorText
	if o.output == "json" {
		write = report.JSON[*report.Doctor]
	}
	if err := write(s.Out, d); err != nil {
		return err
	}
	if !d.Healthy {
		return &verdict{exitCannot}
	}
	return nil
}

// exam is one call of doctor: what it looks at, and what it found. An error of its methods
// is one of usage; all else becomes a check.
type exam struct {
	opts doctorOptions
	cfg  config
	log  *slog.Logger
	findings
	clock *serverClocks
}

// look looks at everything, in the order in which a run would need it.
func (e *exam) look(ctx context.Context, path string, rules []keyRule, args []string, s Streams) error {
	ledger, known := e.ledger(path)
	f, targets, err := e.remotes(ctx, ledger, args, s)
	if ledger != nil {
		if f != nil {
			if err := recallReferrers(f.registry, ledger); err != nil {
				e.failed("ledger", path, err)
			}
		}
		if closed := ledger.Close(); closed != nil {
			e.failed("ledger", path, closed)
		}
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // only read from
	e.registries(ctx, f, targets)
	if err := e.keys(ctx, f, rules, known); err != nil {
		return err
	}
	if err := e.verificationPlugins(ctx); err != nil {
		return err
	}
	e.clocks()
	return nil
}

// remotes finds the repositories and looks at the trust data. The ledger, which may be nil,
// is not needed after that, and others may be waiting for it.
func (e *exam) remotes(ctx context.Context, ledger *state.Ledger, args []string, s Streams) (*field, map[dct.GUN]dct.Target, error) {
	a := access{forceTag: e.opts.forceTag, onAnswer: e.clock.answered, hasty: true}
	if !e.named(args) {
		hosts := slices.Sorted(maps.Keys(e.cfg.Notary))
		r, err := connect(e.opts.remoteOptions, e.cfg, hosts, a, s, e.log)
		if err != nil {
			return nil, nil, err
		}
		e.add(report.Check{
			Check: "repositories", Subject: "none", Result: report.Unknown, Detail: "what depends on a repository was not looked at",
			Hint: "name them as arguments, or under repositories in the configuration",
		})
		f := &field{remote: r, scope: migrate.Scope{Place: dct.GUN.String}}
		e.notaryServers(ctx, f, hosts)
		return f, nil, nil
	}
	f, sel, err := approach(e.opts.remoteOptions, e.opts.selectOptions, e.cfg, args, a, s, e.log)
	if err != nil {
		return nil, nil, err
	}
	var wrong *usageError
	switch err := f.find(ctx, e.opts.discover, sel, e.cfg, nil, e.log); {
	case errors.As(err, &wrong):
		return nil, nil, errors.Join(err, f.close())
	case err != nil:
		e.failed("repositories", e.opts.discover, err)
		return f, e.trustData(ctx, f, ledger), nil
	case f.unlisted != nil:
		e.failed("repositories", e.opts.discover, f.unlisted)
	}
	if err := f.acceptRoots(e.opts.acceptRoot); err != nil {
		return nil, nil, errors.Join(err, f.close())
	}
	return f, e.trustData(ctx, f, ledger), nil
}

// named reports whether repositories are asked for, by name or by the way to find them.
func (e *exam) named(args []string) bool {
	return len(args) > 0 || len(e.cfg.Repositories) > 0 || e.opts.discover == discoverDockerTrust || e.opts.discover == discoverSource
}
