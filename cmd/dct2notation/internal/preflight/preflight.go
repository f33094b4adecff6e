// Package preflight looks, before a run, for what would fail it: the checks of doctor. It signs no image, pushes
// nothing and leaves the ledger as it is.
package preflight

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/state"
)

// Options describe the run to check.
type Options struct {
	session.Options
	AcceptChanges bool // as run's flag
	NoSign        bool // spend no key operation
	Config        session.Config
	Ledger        string // its path; the file may not exist
	Keys          []session.KeyRule
	Repositories  []string // names and globs of the command line
}

// Run checks everything, in the order in which a run would need it. Its error is a usage error; everything else is a
// check.
func Run(ctx context.Context, o Options, s cli.Streams, log *slog.Logger) ([]report.Check, error) {
	e := &exam{opts: o.Options, acceptChanges: o.AcceptChanges, noSign: o.NoSign, cfg: o.Config, log: log, clock: newServerClocks()}
	err := e.look(ctx, o.Ledger, o.Keys, o.Repositories, s)
	return e.checks, err
}

// Files checks the files that the options name, and returns a failed check for each that is missing or not what it
// should be; none: all are well. bounds is what is wrong with the files of --plan and --only, or nil.
func Files(o session.Options, bounds error) []report.Check {
	var f findings
	if bounds != nil {
		f.failed("file", "--plan, --only", bounds)
	}
	for _, file := range o.RemoteOptions.NamedFiles() {
		if err := file.Check(); err != nil {
			f.failed("file", file.Option+" "+file.Path, err)
		}
	}
	if len(f.checks) == 0 {
		return nil // the files of a key are checked with the key
	}
	for _, file := range o.KeyOptions.NamedFiles() {
		if err := file.Check(); err != nil {
			f.failed("file", file.Option+" "+file.Path, err)
		}
	}
	f.add(report.Check{Check: "others", Subject: "all", Result: report.Unknown, Detail: "not checked, since these files say what to check"})
	return f.checks
}

// exam is one call of doctor: what it checks, and what it found. An error of its methods is a usage error; everything
// else becomes a check.
type exam struct {
	opts          session.Options
	acceptChanges bool
	noSign        bool
	cfg           session.Config
	log           *slog.Logger
	findings
	clock *serverClocks
}

// look checks everything, in the order in which a run would need it.
func (e *exam) look(ctx context.Context, path string, rules []session.KeyRule, args []string, s cli.Streams) error {
	ledger, known := e.ledger(path)
	f, targets, err := e.remotes(ctx, ledger, args, s)
	if ledger != nil {
		if f != nil {
			if err := session.RecallReferrers(f.Registry, ledger); err != nil {
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
	defer func() { _ = f.Close() }() // only read from
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

// remotes finds the repositories and checks the trust data. The ledger, which may be nil, is not needed after that,
// and others may be waiting for it.
func (e *exam) remotes(ctx context.Context, ledger *state.Ledger, args []string, s cli.Streams) (*session.Session, map[dct.GUN]dct.Target, error) {
	a := session.Access{ForceTag: e.opts.ForceTag, OnAnswer: e.clock.answered, Hasty: true}
	if !e.named(args) {
		hosts := slices.Sorted(maps.Keys(e.cfg.Notary))
		r, err := session.ConnectServers(e.opts.RemoteOptions, e.cfg, hosts, a, s, e.log)
		if err != nil {
			return nil, nil, err
		}
		e.add(report.Check{
			Check: "repositories", Subject: "none", Result: report.Unknown, Detail: "what depends on a repository was not checked",
			Hint: "name them as arguments, or under repositories in the configuration",
		})
		f := &session.Session{Servers: r, Scope: migrate.Scope{Place: dct.GUN.String}}
		e.notaryServers(ctx, f, hosts)
		return f, nil, nil
	}
	f, sel, err := session.Prepare(e.opts.RemoteOptions, e.opts.SelectOptions, e.cfg, args, a, s, e.log)
	if err != nil {
		return nil, nil, err
	}
	var wrong *cli.UsageError
	switch err := f.Find(ctx, e.opts.Discover, sel, e.cfg, nil, e.log); {
	case errors.As(err, &wrong):
		return nil, nil, errors.Join(err, f.Close())
	case err != nil:
		e.failed("repositories", e.opts.Discover, err)
		return f, e.trustData(ctx, f, ledger), nil
	case f.Unlisted != nil:
		e.failed("repositories", e.opts.Discover, f.Unlisted)
	}
	if err := f.AcceptRoots(e.opts.AcceptRoot); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	e.unpinned(f, ledger)
	return f, e.trustData(ctx, f, ledger), nil
}

// named reports whether repositories are selected, by name or by a way to find them.
func (e *exam) named(args []string) bool {
	return len(args) > 0 || len(e.cfg.Repositories) > 0 || e.opts.Discover == session.DiscoverDockerTrust || e.opts.Discover == session.DiscoverSource
}
