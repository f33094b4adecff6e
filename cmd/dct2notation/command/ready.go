package command

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/comparer"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

func newReady(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o comparer.ReadyOptions
	c := &cobra.Command{
		Use:   "ready --date DATE --snapshot DIR --ledger FILE [flags] [REPOSITORY...]",
		Short: "Check whether the Notary v1 server may be switched off, gate by gate",
		Long: `Ready compares both signature sets as verify --ledger does, reads the snapshot back, and asks
the Notary server for a list of all its repositories. It shows each gate with its evidence.
Without the ledger (--no-ledger), it cannot notice images that DCT has withdrawn since they
were signed, or a Notary server that was rolled back. Checks that no program can make are
listed for the registry products in use; record them in a file:

  version: 1
  waivers:              # disagreements that may stay
  - {repository: registry.example.com/team/old, tag: v0, class: dct-only, reason: retired, by: Jane, until: 2027-01-31}
  - {repository: "registry.example.com/old/**", tag: "*", class: missing, covers: 120, reason: cleaned up, by: Jane, until: 2027-01-31}
  ticks:                # checks that were made
  - {check: clients, by: Jane, date: 2026-11-20, note: "CI and 40 hosts"}

A waiver for dct-only, missing or not-compared may have globs, with the most rows it may cover.
A tick counts for 90 days, and those of the snapshot and the dumps only if they are not older
than the snapshot. Waive an untagged image by its digest in place of the tag. Docker Hub, Azure
and Harbor do not let anyone list their Notary repositories: there, the check listed needs a file
with all repositories, one per line, at most seven days old, all of which were compared:

  - {check: listed, by: Jane, date: 2026-12-01, file: repositories.txt, sha256: 5891b5b5...}

Exit code 0: all gates hold. 4: at least one does not.`,
		Example: `  dct2notation ready --config migration.yaml --date 2026-12-08 --snapshot archive --ledger migration.db --decisions decisions.yaml`,
	}
	f := c.Flags()
	o.ReadOptions.Bind(f)
	o.Results.Bind(f)
	o.BindVerbose(f, "on a terminal too, print the evidence in full")
	f.Lookup("output").Usage = "format of the result on stdout: text, json or markdown"
	f.StringVar(&o.Planned, "date", "", "date on which the server will be switched off, such as 2026-12-08")
	f.StringVar(&o.Snapshot, "snapshot", "", "directory of the snapshot to keep")
	f.StringVar(&o.Ledger, "ledger", "", "ledger of the runs to compare with, as for verify")
	f.BoolVar(&o.NoLedger, "no-ledger", false, "compare without a ledger, if it is lost")
	f.StringVar(&o.Running, "running", "", "what runs, as evidence for the check digests: a file with what kubectl get pods -A -o json writes, or with references, or - for stdin; as for verify --images")
	f.StringVar(&o.Decisions, "decisions", "", "file with waivers and ticks (YAML)")
	f.StringSliceVar(&o.Products, "product", nil, "registry product whose checks to list: "+strings.Join(verify.Products(), ", ")+" (always: docker-hub and acr, if a registry is one; self-hosted, unless another is named)")
	f.StringVar(&o.TrustPolicy, "trust-policy", "", "trust policy (default: notation's trustpolicy.json)")
	f.StringVar(&o.Platforms, "platforms", "index", "as for verify")
	f.BoolVar(&o.ForceTag, "force-referrers-tag", false, "find signatures with the referrers tag schema, without trying the referrers API")
	cli.Grouped(f, cli.GroupLimits, func(f *pflag.FlagSet) {
		f.IntVar(&o.Workers, "concurrency", 64, "tags compared in parallel")
	})
	cli.HideFlags(f, "source")
	c.RunE = session.Action(stop, func(ctx context.Context, cfg session.Config, args []string) error {
		return runReady(ctx, o, cfg, args, s)
	})
	return c
}

func runReady(ctx context.Context, o comparer.ReadyOptions, cfg session.Config, args []string, s cli.Streams) error {
	if err := o.Check(); err != nil {
		return err
	}
	r := &comparer.Readiness{ReadyOptions: o, Config: cfg, Args: args, Streams: s, Log: o.Logger(s.Err)}
	return r.Run(ctx)
}
