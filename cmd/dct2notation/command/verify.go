package command

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/comparer"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
)

func newVerify(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o comparer.Options
	c := &cobra.Command{
		Use:   "verify [flags] [REPOSITORY...]",
		Short: "Read both signature sets again and compare them, tag by tag",
		Long: `Verify reads the trust data, the registry and the Notation signatures again and compares
them for each tag. It uses neither the ledger nor the docker command. Notation signatures are
verified with a trust policy and notation's trust store, as notation verify does.

With --ledger, it also compares with what runs have done, and rejects trust data that is older
than the data they read or has another root. It then compares all repositories in the ledger,
unless some are named as arguments. The ledger is only read.

With --watch it repeats this until it is stopped, and shows what it finds as metrics.

With --images it looks up what runs: each image is trusted by DCT, by Notation, by both or by
neither. Only registries that the configuration or an argument names are asked.

Exit code 0: both sides agree on every tag. 4: they do not. 3: something could not be checked.`,
		Example: `  dct2notation verify --trust-pinning pins.json registry.example.com/team/app
  dct2notation verify --config migration.yaml --watch 1h --fail-on unsigned
  kubectl get pods -A -o json | dct2notation verify --config migration.yaml --images -`,
	}
	f := c.Flags()
	o.ReadOptions.Bind(f)
	o.Shard.Bind(f)
	o.Results.Bind(f)
	output.Formats(f)
	f.StringVar(&o.TrustPolicy, "trust-policy", "", "trust policy (default: notation's trustpolicy.json)")
	o.BindVerbose(f, "on a terminal too, print the result in full, and the tags on which both sides agree")
	f.BoolVar(&o.AllTags, "all-tags", false, "also list tags in the registry that neither side signed")
	f.StringVar(&o.Platforms, "platforms", "index", "index: report every tag that only Notation trusts; all: not those whose image is listed by an index that DCT signed")
	f.StringVar(&o.Ledger, "ledger", "", "ledger of the runs to compare with too: reports signatures that are gone, signatures by others and images DCT has withdrawn since; rejects trust data older than the runs have read")
	f.StringSliceVar(&o.FailOn, "fail-on", nil, "exit with code 4 also if a tag is in one of these classes: unsigned, unknown")
	f.BoolVar(&o.ForceTag, "force-referrers-tag", false, "find signatures with the referrers tag schema, without trying the referrers API")
	f.StringVar(&o.Images, "images", "", "look up the images of this list in place of repositories, or - for stdin: what kubectl get pods -A -o json writes, or references with a tag or digest, one per line")
	cli.Grouped(f, cli.GroupProgress, func(f *pflag.FlagSet) {
		f.DurationVar(&o.Every, "watch", 0, "run until stopped: wait this long after each comparison, then compare again, such as 1h (at least 10s)")
	})
	cli.Grouped(f, cli.GroupOutput, func(f *pflag.FlagSet) {
		f.StringVar(&o.Metrics, "metrics-address", "", "HOST:PORT that serves /metrics (Prometheus) and /healthz with --watch, or none (default "+comparer.WatchAddress+")")
	})
	cli.Grouped(f, cli.GroupLimits, func(f *pflag.FlagSet) {
		f.IntVar(&o.Workers, "concurrency", 64, "tags compared in parallel")
		f.IntVar(&o.Sample, "sample", 0, "compare this many tags of each repository, chosen at random (0: all)")
		f.StringVar(&o.Seed, "sample-seed", "", "seed printed by an earlier --sample, to choose the same tags")
	})
	c.RunE = session.Action(stop, func(ctx context.Context, cfg session.Config, args []string) error {
		return runVerify(ctx, stop, o, cfg, args, s)
	})
	return c
}

func runVerify(ctx context.Context, stop <-chan struct{}, o comparer.Options, cfg session.Config, args []string, s cli.Streams) error {
	if err := o.Check(); err != nil {
		return err
	}
	c := &comparer.Comparer{Options: o, Config: cfg, Args: args, Streams: s, Log: o.Logger(s.Err)}
	return c.Run(ctx, stop)
}
