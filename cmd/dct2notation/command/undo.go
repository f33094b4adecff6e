package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/undo"
	"github.com/dct2notation/dct2notation/state"
)

type undoOptions struct {
	cli.Common
	session.RegistryOptions
	state    string
	workers  int
	forceTag bool
	dryRun   bool
	yes      bool
	since    string

	certificates []string
}

func newUndo(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o undoOptions
	c := &cobra.Command{
		Use:   "undo [flags] [REPOSITORY[@DIGEST]|GLOB...]",
		Short: "Delete the signatures that the ledger proves were made by its runs, and no others",
		Long: `Undo deletes signatures that runs with this ledger have made from the registry: those of the
repositories named, else of the configuration's, else of all; with REPOSITORY@DIGEST, those of
one image. It fetches each signature first and deletes it only if it is a Notation signature
of that image, by the certificate recorded in the ledger, and that certificate is yours:
named by --certificate or by the configuration (a key's certificate file, accept-certificate).
The ledger alone is not proof, since a file can be forged. Signatures that a run only found in
the registry, for example after the ledger was rebuilt, are listed and kept.
It needs no key, no trust policy and no Notary server.

Try --dry-run first, then give --yes. Deleted signatures cannot be restored; the next run
signs the images again, unless DCT has withdrawn them. After a failure, a signal or a kill,
run the same command again.

Exit code 0: none of our signatures is left. 3: some are left, and the result says why.`,
		Example: `  dct2notation undo --state migration.db --dry-run registry.example.com/team/app
  dct2notation undo --state migration.db --yes --certificate release.pem registry.example.com/team/app`,
	}
	f := c.Flags()
	o.Common.Bind(f)
	o.RegistryOptions.Bind(f)
	f.StringVar(&o.state, "state", "", "ledger (default: dct2notation/ledger.db in the XDG state directory)")
	f.IntVar(&o.workers, "concurrency", 8, "images processed in parallel")
	f.BoolVar(&o.forceTag, "force-referrers-tag", false, "find signatures with the referrers tag schema, without trying the referrers API")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would be deleted, without deleting it")
	f.BoolVar(&o.yes, "yes", false, "delete the signatures")
	f.StringArrayVar(&o.certificates, "certificate", nil, "certificate whose signatures may be deleted: PEM file (leaf first), or SHA-256 thumbprint; repeat for each, including those before a renewal")
	session.BindRepositoriesFrom(f)
	f.StringVar(&o.since, "since", "", "only signatures made since a time (2026-01-02T15:04:05Z) or within a duration (36h)")
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := session.LoadConfig(c)
		if err != nil {
			return err
		}
		return runUndo(c.Context(), stop, o, cfg, args, s)
	}
	return c
}

func (o *undoOptions) check() error {
	switch {
	case o.dryRun && o.yes:
		return cli.Usage(errors.New("--dry-run and --yes cannot be used together"))
	case !o.dryRun && !o.yes:
		return cli.Usage(errors.New("undo deletes signatures only with --yes\nhint: look at --dry-run first: it shows which"))
	case o.workers < 1:
		return cli.Usage(fmt.Errorf("--concurrency %d: at least 1", o.workers))
	}
	if err := o.Common.Check(); err != nil {
		return err
	}
	return o.RegistryOptions.Check()
}

func runUndo(ctx context.Context, stop <-chan struct{}, o undoOptions, cfg session.Config, args []string, s cli.Streams) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	since, err := parseSince(o.since, time.Now())
	if err != nil {
		return cli.Usage(err)
	}
	sel, err := session.SelectRecorded(args, cfg)
	if err != nil {
		return cli.Usage(err)
	}
	path, err := session.LedgerPath(o.state)
	if err != nil {
		return err
	}
	if !session.Exists(path) {
		return session.NoLedger(path)
	}
	session.UseNotationFolders()
	named, err := cfg.Named(o.certificates)
	if err != nil {
		return cli.Usage(err)
	}
	log := o.Logger(s.Err)
	ledger, known, err := session.OpenLedgerWith(path, state.Options{Tool: cli.Tool(), ReadOnly: o.dryRun})
	if err != nil {
		return undo.Unproven(err)
	}
	defer func() { err = session.CloseLedger(ledger, err) }()
	switch {
	case len(named) == 0 && !o.dryRun:
		return cli.Usage(fmt.Errorf("undo deletes only signatures by certificates that you name, and none is named\nhint: %s", session.HintOfIdentities(known)))
	case len(named) == 0:
		log.Warn("no certificate is named: this list is based on the ledger alone", "hint", session.HintOfIdentities(known))
	}
	hosts, err := sel.Hosts(ledger)
	if err != nil {
		return err
	}
	// Of the configuration, only how registries are reached counts: Notary servers are not contacted.
	r, err := session.ConnectServers(session.RemoteOptions{RegistryOptions: o.RegistryOptions, Source: session.SourceServer, CacheDir: "none", DockerTrust: "none", NotaryLimit: 1},
		session.Config{PlainHTTPHosts: cfg.PlainHTTPHosts}, hosts, session.Access{ReadOnly: o.dryRun, Delete: !o.dryRun, ForceTag: o.forceTag}, s, log)
	if err != nil {
		return err
	}
	if err := session.RecallReferrers(r.Registry, ledger); err != nil {
		return err
	}
	u := &undo.Undo{
		History: ledger, Remover: &session.Remover{ImageRegistry: session.ImageRegistry{Client: r.Registry}, Named: named}, Wanted: sel.Meant, Since: since,
		Workers: o.workers, Pause: session.ItemPause,
	}
	return o.undo(ctx, stop, u, s, log)
}

// undo removes signatures, or only looks, and shows the result as it comes.
func (o *undoOptions) undo(ctx context.Context, stop <-chan struct{}, u *undo.Undo, s cli.Streams, log *slog.Logger) error {
	out := report.NewUndoText(s.Out, o.dryRun)
	if o.Output == "json" {
		out = report.NewUndoJSON(s.Out, cli.Tool(), o.dryRun)
	}
	var werr error // the first; deletions are recorded all the same
	done, spoke := 0, time.Now()
	u.Observe = func(one undo.Undone) {
		if werr == nil {
			werr = out.Signature(one)
		}
		if one.Result == undo.Failed || one.Result == undo.Refused {
			log.Error(string(one.Result), append([]any{"repository", safetext.Safe(one.Repository, 256), "digest", safetext.Safe(one.Digest, 80), "class", string(one.Class)}, cli.Reasoned(one.Reason)...)...)
		}
		if done++; time.Since(spoke) >= cli.Heartbeat {
			spoke = time.Now()
			log.Info("progress", "done", done)
		}
	}
	quiet := cli.AnnounceEnd(stop, log)
	defer quiet()
	work := u.Run
	if o.dryRun {
		work = u.Look
	}
	summary, err := work(ctx, stop)
	err = undo.Unproven(err)
	if werr = errors.Join(werr, out.End(summary, err)); werr != nil {
		return errors.Join(err, werr)
	}
	switch {
	case err != nil:
		return err
	case summary.Drained:
		return cli.Exit(cli.ExitInterrupted)
	case !summary.Complete():
		return cli.Exit(cli.ExitFailures)
	}
	return nil
}

// parseSince reads --since; zero: everything.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("--since %s: it takes a time, such as 2026-01-02T15:04:05Z, or how long ago, such as 36h", safetext.Safe(text, 64))
	}
	return at, nil
}
