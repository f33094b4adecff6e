package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/notation/signature"
)

type readyOptions struct {
	cli.Common
	session.RemoteOptions
	session.SelectOptions
	trustPolicy string
	workers     int
	forceTag    bool
	platforms   string
	planned     string
	snapshot    string
	ledger      string
	noLedger    bool
	decisions   string
	products    []string
	running     string

	at time.Time // read by check
}

func newReady(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o readyOptions
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
	o.Common.Bind(f)
	o.RemoteOptions.Bind(f)
	o.SelectOptions.Bind(f)
	o.BindVerbose(f, "on a terminal too, print the evidence in full")
	f.Lookup("output").Usage = "format of the result on stdout: text, json or markdown"
	f.StringVar(&o.planned, "date", "", "date on which the server will be switched off, such as 2026-12-08")
	f.StringVar(&o.snapshot, "snapshot", "", "directory of the snapshot to keep")
	f.StringVar(&o.ledger, "ledger", "", "ledger of the runs to compare with, as for verify")
	f.BoolVar(&o.noLedger, "no-ledger", false, "compare without a ledger, if it is lost")
	f.StringVar(&o.running, "running", "", "what runs, as evidence for the check digests: a file with what kubectl get pods -A -o json writes, or with references, or - for stdin; as for verify --images")
	f.StringVar(&o.decisions, "decisions", "", "file with waivers and ticks (YAML)")
	f.StringSliceVar(&o.products, "product", nil, "registry product whose checks to list: "+strings.Join(verify.Products(), ", ")+" (default: guessed from the registry names)")
	f.StringVar(&o.trustPolicy, "trust-policy", "", "trust policy (default: notation's trustpolicy.json)")
	f.StringVar(&o.platforms, "platforms", "index", "as for verify")
	f.BoolVar(&o.forceTag, "force-referrers-tag", false, "find signatures with the referrers tag schema, without trying the referrers API")
	cli.Grouped(f, cli.GroupLimits, func(f *pflag.FlagSet) {
		f.IntVar(&o.workers, "concurrency", 64, "tags compared in parallel")
	})
	cli.HideFlags(f, "source")
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := session.LoadConfig(c)
		if err != nil {
			return err
		}
		ctx, cancel := cli.Until(c.Context(), stop)
		defer cancel()
		return runReady(ctx, o, cfg, args, s)
	}
	return c
}

func (o *readyOptions) check() error {
	if o.Output != "text" && o.Output != "json" && o.Output != "markdown" {
		return cli.Usage(fmt.Errorf("--output %s: it is text, json or markdown", o.Output))
	}
	for _, check := range []func() error{o.CheckLog, o.RemoteOptions.Check, o.SelectOptions.Check} {
		if err := check(); err != nil {
			return err
		}
	}
	at, err := time.Parse(time.DateOnly, o.planned)
	switch {
	case o.planned == "":
		return cli.Usage(errors.New("when will the server be switched off?\nhint: --date 2026-12-08"))
	case err != nil:
		return cli.Usage(fmt.Errorf("--date %s: it takes a date such as 2026-12-08", o.planned))
	case o.workers < 1:
		return cli.Usage(errors.New("--concurrency must be at least 1"))
	case o.platforms != "index" && o.platforms != "all":
		return cli.Usage(fmt.Errorf("--platforms %s: must be index or all", o.platforms))
	case !o.FromServer():
		return cli.Usage(fmt.Errorf("--source %s: whether a server may go is asked of the server\nhint: the snapshot that is to stay is named with --snapshot", o.Source))
	}
	if (o.ledger == "") == !o.noLedger {
		return cli.Usage(errors.New("either --ledger FILE or --no-ledger\nhint: the ledger of the runs has what was signed and withdrawn since, and which trust data was read last; without it that goes unnoticed"))
	}
	if at.Before(time.Now().UTC().Truncate(24 * time.Hour)) {
		return cli.Usage(fmt.Errorf("--date %s has passed\nhint: give the day on which the server is to be switched off", o.planned))
	}
	o.at = at
	for _, p := range o.products {
		if !slices.Contains(verify.Products(), p) {
			return cli.Usage(fmt.Errorf("--product %s: it is one of %s", p, strings.Join(verify.Products(), ", ")))
		}
	}
	return nil
}

func runReady(ctx context.Context, o readyOptions, cfg session.Config, args []string, s cli.Streams) error {
	if err := o.check(); err != nil {
		return err
	}
	decisions, err := verify.ReadDecisions(o.decisions, time.Now())
	if err != nil {
		return cli.Usage(err)
	}
	var running *verify.RunningList
	if o.running != "" {
		if running, err = session.ReadRunning("--running", o.running, s.In); err != nil {
			return err
		}
	}
	session.UseNotationFolders()
	log := o.Logger(s.Err)
	ledger, record, err := session.OpenRecord(o.ledger, log)
	if err != nil {
		return err
	}
	if ledger != nil {
		defer func() { _ = ledger.Close() }() // only read from
		if err := (session.Shard{}).CheckLedger(ledger.Known); err != nil {
			return err
		}
	}
	// Whatever is named now: the server goes for all that was ever signed.
	a := session.Access{ReadOnly: true, ForceTag: o.forceTag, Record: record, AllRecord: true}
	f, err := session.Connect(ctx, o.RemoteOptions, o.SelectOptions, cfg, args, a, s, log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	if f.Unlisted != nil {
		return f.Unlisted // it speaks of all of them
	}
	verifier, err := o.OpenVerifier(o.trustPolicy, f.Transport)
	if err != nil {
		return err
	}
	feed := o.feed(ctx, f)
	archive, saved, done, err := o.archive(f)
	if err != nil {
		return err
	}
	defer done()
	v := &verify.Verification{
		Trust: f.Reader(), Registry: &session.ImageRegistry{Client: f.Registry}, Scope: f.Scope, AllPlatforms: o.platforms == "all",
		Judge: &session.Judge{Client: f.Registry, Of: signature.Judge{Verifier: verifier}}, Workers: o.workers, Readers: o.NotaryLimit,
	}
	if err := session.CompareWith(v, f.Registry, ledger, record); err != nil {
		return err
	}
	now := time.Now()
	r := &verify.Readiness{
		Verification: v, Archive: archive, Saved: saved, Feed: feed, LeftOut: tagsLeftOut(f.Choice), Decisions: *decisions, Running: running, Scope: f.Running(),
		Products: o.used(f.GUNs), Planned: latest(verify.EndOfDay(o.at), now), Now: now,
	}
	if ledger != nil {
		r.Behind = ledger.Behind
	}
	screen, ok := o.Screen(s.Out)
	shown, meter := screen.Ready(s.Out, now), output.NewComparing(&o.Common, s, len(f.GUNs))
	r.Each = func(one verify.Repository) {
		meter.Compared(one)
		shown.Repository(one)
	}
	gates, err := r.Assess(ctx, f.GUNs)
	meter.Finish()
	if err != nil {
		return err
	}
	result := report.NewReady(cli.Tool(), gates, now, o.at)
	write := map[string]func(io.Writer, *report.Ready) error{"text": report.ReadyText, "json": report.JSON[*report.Ready], "markdown": report.ReadyMarkdown}[o.Output]
	if ok {
		write = func(_ io.Writer, r *report.Ready) error { return shown.End(r) }
	}
	if err := write(s.Out, result); err != nil {
		return err
	}
	if !result.Ready {
		return cli.Exit(cli.ExitDisagree)
	}
	return nil
}

// tagsLeftOut is what chooses among tags. Repositories that are left out are found by the
// changefeed.
func tagsLeftOut(choice []string) []string {
	return slices.DeleteFunc(slices.Clone(choice), func(c string) bool { return strings.HasPrefix(c, "exclude=") })
}

// latest is the planned date, or today where that has passed: what has expired meanwhile
// counts.
func latest(planned, now time.Time) time.Time {
	if planned.Before(now) {
		return now
	}
	return planned
}

// archive reads the snapshot that is to stay, by the same pins, and says when it was saved last; nil where none is named.
func (o *readyOptions) archive(f *session.Session) (_ migrate.Trust, saved time.Time, done func(), err error) {
	if o.snapshot == "" {
		return nil, saved, func() {}, nil
	}
	snap, err := snapshot.Open(o.snapshot)
	if err != nil {
		return nil, saved, nil, cli.Usage(err)
	}
	reader := f.Reader()
	reader.Source, reader.Cache = snap, nil
	reader.Listing = nil                                          // that the server lists it is not the snapshot's word
	return reader, snap.Saved(), func() { _ = snap.Close() }, nil // only read from
}

// feed asks the changefeeds of the Notary servers for all that they have. They are read at once too, for
// the reader of f to know what they list and what they have as deleted; who cannot be read then is asked
// again, and the error is of that.
func (o *readyOptions) feed(ctx context.Context, f *session.Session) func(context.Context) ([]dct.Changed, error) {
	if _, ok := f.Source.(*dct.Server); !ok {
		return nil
	}
	server := f.FeedServer()
	known, listed := session.Feeds{}, map[dct.GUN]dct.Listing{}
	maps.Copy(listed, f.Listed)
	var hosts []string // one for each server, which may serve several registries
	for _, host := range session.RegistryHosts(f.GUNs) {
		if slices.ContainsFunc(hosts, func(other string) bool { return server.URL(other) == server.URL(host) }) {
			continue
		}
		hosts = append(hosts, host)
		now, _, err := server.Changes(ctx, host, f.Feeds[host])
		if err != nil {
			continue
		}
		known[host] = now
		f.AddListed(listed, host, now)
	}
	f.Listed = listed
	return func(ctx context.Context) ([]dct.Changed, error) {
		var all []dct.Changed
		var refused error
		for _, host := range hosts {
			// Whatever the registry: the server goes as a whole.
			now, _, err := server.Changes(ctx, host, known[host])
			switch {
			case errors.Is(err, dct.ErrFeedRefused):
				refused = errors.Join(refused, err)
			case err != nil:
				return nil, err
			default:
				all = append(all, now.All()...)
			}
		}
		return all, refused
	}
}

// used are the products that the flags name, or that the registries' names tell.
func (o *readyOptions) used(guns []dct.GUN) []string {
	if len(o.products) > 0 {
		return o.products
	}
	var products []string
	for _, host := range session.RegistryHosts(guns) {
		switch {
		case host == "docker.io":
			products = append(products, verify.DockerHub)
		case strings.HasSuffix(host, ".azurecr.io"):
			products = append(products, verify.ACR)
		default:
			products = append(products, verify.SelfHosted)
		}
	}
	return products
}
