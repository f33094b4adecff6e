package runner

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/notation"
)

// Options are the options of run.
type Options struct {
	session.Options
	output.Results
	PlanFile      string // a reviewed plan; empty: nothing binds the run
	OnlyFile      string // a list that narrows the run; empty: everything
	AcceptChanges bool   // to the configuration
	MaxDuration   time.Duration
	MaxOperations int           // of all keys; 0: no limit
	Every         time.Duration // between the passes of a watch; 0: a single pass
	Metrics       string        // the address for metrics; empty: the default, "none": nowhere
}

// ShortestWatch is the least time between two passes, to give servers a rest. Tests shorten it.
var ShortestWatch = 10 * time.Second

// CheckWatch refuses options that cannot be used with --watch.
func (o *Options) CheckWatch() error {
	switch {
	case o.Every == 0:
		return nil
	case o.Every < ShortestWatch:
		return cli.Usage(fmt.Errorf("--watch %s: must be at least %s", o.Every, ShortestWatch))
	case o.PlanFile != "":
		return cli.Usage(errors.New("--plan cannot be used with --watch, which signs images that are not in the plan"))
	case o.OnlyFile != "":
		return cli.Usage(errors.New("--only cannot be used with --watch, which signs images that are not in the list"))
	case len(o.AcceptRoot) > 0:
		return cli.Usage(errors.New("--accept-root cannot be used with --watch: make one run with --accept-root first"))
	case o.Resign:
		return cli.Usage(errors.New("--resign cannot be used with --watch: make one run with --resign first"))
	case o.MaxDuration > 0:
		return cli.Usage(errors.New("--max-duration cannot be used with --watch, which runs until it is stopped"))
	case o.MaxOperations != 0:
		return cli.Usage(errors.New("--max-operations cannot be used with --watch, which runs until it is stopped"))
	case o.Output != "text" && o.Output != "json":
		return cli.Usage(fmt.Errorf("--output %s: with --watch it must be text or json\nhint: --report writes the other formats after each pass", o.Output))
	case !o.SourceGrows():
		return cli.Usage(fmt.Errorf("--watch waits for newly signed images, and --source %s never changes", safetext.Safe(o.Source, 100)))
	}
	return nil
}

// CheckOperations refuses a limit under which a run might never progress: proving the keys could use it up each time.
func (o *Options) CheckOperations(cfg session.Config) error {
	if o.MaxOperations == 0 {
		return nil
	}
	rules, err := o.Rules(cfg)
	if err != nil {
		return err
	}
	least := 1
	for _, rule := range rules {
		key, err := rule.NotationKey()
		if err != nil {
			return err
		}
		if key.Plugin != "" {
			least += notation.MaxProofs
		}
	}
	if o.MaxOperations < least {
		return cli.Usage(fmt.Errorf("--max-operations %d: at least %d, as to prove a plugin's key may take %d\nhint: --only names images to begin with", o.MaxOperations, least, notation.MaxProofs))
	}
	return nil
}

// Bounds returns the reviewed plan and the list of failures, if given, and the names of the run's repositories. A
// plan or a list names its repositories; arguments can only narrow them.
func (o *Options) Bounds(args []string) (*migrate.Plan, *Filter, []string, error) {
	if o.OnlyFile == "" {
		plan, args, err := o.planned(args)
		return plan, nil, args, err
	}
	narrow, err := ReadFilter(o.OnlyFile)
	if err != nil {
		return nil, nil, args, err
	}
	if len(args) == 0 {
		o.Discover = session.DiscoverList
		if args, err = narrow.Repositories(); err != nil {
			return nil, nil, nil, cli.Usage(fmt.Errorf("reading the list %s: %w", o.OnlyFile, err))
		}
	}
	plan, args, err := o.planned(args)
	return plan, narrow, args, err
}

// scope adds to a result's scope which part of the repositories it covers.
func (o *Options) scope(asked string) (string, error) {
	for how, file := range map[string]string{"plan": o.PlanFile, "only": o.OnlyFile} {
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

// planned returns the reviewed plan, if given, and the names of its repositories.
func (o *Options) planned(args []string) (*migrate.Plan, []string, error) {
	if o.PlanFile == "" {
		return nil, args, nil
	}
	f, err := os.Open(o.PlanFile)
	if err != nil {
		return nil, nil, cli.Usage(fmt.Errorf("reading the plan: %w", err))
	}
	defer func() { _ = f.Close() }() // only read from
	plan, err := report.ReadPlan(f)
	if err != nil {
		return nil, nil, cli.Usage(fmt.Errorf("reading the plan %s: %w", o.PlanFile, err))
	}
	if plan.Shard != "" && plan.Shard != o.Shard.String() {
		return nil, nil, cli.Usage(fmt.Errorf("the plan %s is of --shard %s\nhint: give the same to run", o.PlanFile, safetext.Safe(plan.Shard, 32)))
	}
	if len(args) > 0 {
		return plan, args, nil
	}
	if len(plan.Repositories) == 0 { // a shard's: not those of the configuration, which the plan says nothing about
		return nil, nil, fmt.Errorf("%w: the plan %s has no repositories", ErrNothingToDo, safetext.Safe(o.PlanFile, 256))
	}
	o.Discover = session.DiscoverList
	guns, err := plan.GUNs()
	for _, gun := range guns {
		args = append(args, gun.String())
	}
	return plan, args, cli.Usage(err)
}

// narrowed adds to a scope that the result covers only a part.
func narrowed(asked, how, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	sum, err := digest.FromReader(f)
	return asked + " " + how + "=" + sum.Encoded()[:12], errors.Join(err, f.Close())
}
