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

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/notation/signature"
)

type readyOptions struct {
	commonOptions
	remoteOptions
	selectOptions
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

	at time.Time // read by check
}

func newReady(stop <-chan struct{}, s Streams) *cobra.Command {
	var o readyOptions
	c := &cobra.Command{
		Use:   "ready --date DATE --snapshot DIR --ledger FILE [flags] [REPOSITORY...]",
		Short: "Check whether the Notary v1 server may be switched off, gate by gate",
		Long: `Ready compares both signature sets anew, as verify --ledger does, reads the snapshot back,
and asks the server for all that it has. Each gate is shown with what it rests on. Without the
ledger of the runs (--no-ledger), images that DCT has withdrawn since they were signed and a
Notary server that was rolled back are not noticed. What no program can find out is listed for
the registry products in use, to be ticked in a file:

  version: 1
  waivers:              # disagreements that may stay
  - {repository: registry.example.com/team/old, tag: v0, class: dct-only, reason: retired, by: Jane, until: 2027-01-31}
  ticks:                # checks that were made
  - {check: clients, by: Jane, date: 2026-11-20, note: "CI and 40 hosts"}

An image that no tag leads to is waived by its digest in place of the tag. Docker Hub, Azure and
Harbor keep the list of what they have to themselves: there, listed is ticked with a file that
has all repositories, one on a line, is not older than seven days, and was compared as a whole:

  - {check: listed, by: Jane, date: 2026-12-01, file: repositories.txt, sha256: 5891b5b5...}

Exit code 0: all gates hold. 4: they do not.`,
		Example: `  dct2notation ready --config migration.yaml --date 2026-12-08 --snapshot archive --ledger migration.db --decisions decisions.yaml`,
	}
	f := c.Flags()
	o.commonOptions.bind(f)
	o.remoteOptions.bind(f)
	o.selectOptions.bind(f)
	f.Lookup("output").Usage = "format of the result on stdout: text, json or markdown"
	f.StringVar(&o.planned, "date", "", "when the server is to be switched off, as 2026-12-08")
	f.StringVar(&o.snapshot, "snapshot", "", "directory of the snapshot that is to stay")
	f.StringVar(&o.ledger, "ledger", "", "ledger of the runs, to compare with as verify does")
	f.BoolVar(&o.noLedger, "no-ledger", false, "compare without a ledger, where none is left")
	f.StringVar(&o.decisions, "decisions", "", "file with waivers and ticks (YAML)")
	f.StringSliceVar(&o.products, "product", nil, "registry product whose own checks are listed: "+strings.Join(verify.Products(), ", ")+" (default: by the names of the registries)")
	f.StringVar(&o.trustPolicy, "trust-policy", "", "trust policy (default: notation's trustpolicy.json)")
	f.StringVar(&o.platforms, "platforms", "index", "as for verify")
	f.BoolVar(&o.forceTag, "force-referrers-tag", false, "find signatures by the tag schema without asking for the referrers API")
	grouped(f, groupLimits, func(f *pflag.FlagSet) {
		f.IntVar(&o.workers, "workers", 16, "tags looked at at the same time")
	})
	hideFlags(f, "source")
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := loadConfig(c)
		if err != nil {
			return err
		}
		ctx, cancel := until(c.Context(), stop)
		defer cancel()
		return runReady(ctx, o, cfg, args, s)
	}
	return c
}

func (o *readyOptions) check() error {
	if o.output != "text" && o.output != "json" && o.output != "markdown" {
		return usage(fmt.Errorf("--output %s: it is text, json or markdown", o.output))
	}
	for _, check := range []func() error{o.checkLog, o.remoteOptions.check, o.selectOptions.check} {
		if err := check(); err != nil {
			return err
		}
	}
	at, err := time.Parse(time.DateOnly, o.planned)
	switch {
	case o.planned == "":
		return usage(errors.New("when is the server to be switched off?\nhint: --date 2026-12-08"))
	case err != nil:
		return usage(fmt.Errorf("--date %s: it takes a date such as 2026-12-08", o.planned))
	case o.workers < 1:
		return usage(errors.New("--workers is at least 1"))
	case o.platforms != "index" && o.platforms != "all":
		return usage(fmt.Errorf("--platforms %s: it is index or all", o.platforms))
	case o.source != "server":
		return usage(fmt.Errorf("--source %s: whether a server may go is asked of the server\nhint: the snapshot that is to stay is named with --snapshot", o.source))
	}
	if (o.ledger == "") == !o.noLedger {
		return usage(errors.New("either --ledger FILE or --no-ledger\nhint: the ledger of the runs has what was signed and withdrawn since, and which trust data was read last; without it that goes unnoticed"))
	}
	if at.Before(time.Now().UTC().Truncate(24 * time.Hour)) {
		return usage(fmt.Errorf("--date %s has passed\nhint: give the day on which the server is to be switched off", o.planned))
	}
	o.at = at
	for _, p := range o.products {
		if !slices.Contains(verify.Products(), p) {
			return usage(fmt.Errorf("--product %s: it is one of %s", p, strings.Join(verify.Products(), ", ")))
		}
	}
	return nil
}

func runReady(ctx context.Context, o readyOptions, cfg config, args []string, s Streams) error {
	if err := o.check(); err != nil {
		return err
	}
	decisions, err := readDecisions(o.decisions, time.Now())
	if err != nil {
		return err
	}
	useNotationFolders()
	log := o.logger(s.Err)
	ledger, record, err := openRecord(o.ledger, log)
	if err != nil {
		return err
	}
	if ledger != nil {
		defer func() { _ = ledger.Close() }() // only read from
	}
	// Whatever is named now: the server goes for all that was ever signed.
	a := access{readOnly: true, forceTag: o.forceTag, record: record, allRecord: true}
	f, err := enter(ctx, o.remoteOptions, o.selectOptions, cfg, args, a, s, log)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // only read from
	if f.unlisted != nil {
		return f.unlisted // it speaks of all of them
	}
	verifier, err := o.openVerifier(o.trustPolicy, f.rt)
	if err != nil {
		return err
	}
	feed := o.feed(ctx, f)
	archive, done, err := o.archive(f)
	if err != nil {
		return err
	}
	defer done()
	v := &verify.Verification{
		Trust: f.reader(), Registry: &imageRegistry{client: f.registry}, Scope: f.scope, AllPlatforms: o.platforms == "all",
		Judge: &judge{client: f.registry, of: signature.Judge{Verifier: verifier}}, Workers: o.workers, Readers: o.notaryLimit,
	}
	if err := compareWith(v, f.registry, ledger, record); err != nil {
		return err
	}
	now := time.Now()
	r := &verify.Readiness{
		Verification: v, Archive: archive, Feed: feed, LeftOut: tagsLeftOut(f.choice), Decisions: *decisions,
		Products: o.used(f.guns), Planned: latest(endOfDay(o.at), now), Now: now,
	}
	if ledger != nil {
		r.Behind = ledger.behind
	}
	gates, err := r.Assess(ctx, f.guns)
	if err != nil {
		return err
	}
	result := report.NewReady(tool(), gates, now, o.at)
	write := map[string]func(io.Writer, *report.Ready) error{"text": report.ReadyText, "json": report.JSON[*report.Ready], "markdown": report.ReadyMarkdown}[o.output]
	if err := write(s.Out, result); err != nil {
		return err
	}
	if !result.Ready {
		return &verdict{exitDisagree}
	}
	return nil
}

// tagsLeftOut is what chooses among tags. Repositories that are left out are found by the
// changefeed.
func tagsLeftOut(choice []string) []string {
	return slices.DeleteFunc(slices.Clone(choice), func(c string) bool { return strings.HasPrefix(c, "exclude=") })
}

// endOfDay is the last second of a day: when on it something happens, nobody said.
func endOfDay(day time.Time) time.Time { return day.AddDate(0, 0, 1).Add(-time.Second) }

// latest is the planned date, or today where that has passed: what has expired meanwhile
// counts.
func latest(planned, now time.Time) time.Time {
	if planned.Before(now) {
		return now
	}
	return planned
}

// archive reads the snapshot that is to stay, by the same pins; nil where none is named.
func (o *readyOptions) archive(f *field) (_ migrate.Trust, done func(), err error) {
	if o.snapshot == "" {
		return nil, func() {}, nil
	}
	snap, err := snapshot.Open(o.snapshot)
	if err != nil {
		return nil, nil, usage(err)
	}
	reader := f.reader()
	reader.Source, reader.Cache = snap, nil
	return reader, func() { _ = snap.Close() }, nil // only read from
}

// feed asks the changefeeds of the Notary servers for all that they have. They are read at once too, for
// the reader of f to know what they list and what they have as deleted; who cannot be read then is asked
// again, and the error is of that.
func (o *readyOptions) feed(ctx context.Context, f *field) func(context.Context) ([]dct.Changed, error) {
	if _, ok := f.source.(*dct.Server); !ok {
		return nil
	}
	server := f.feedServer()
	known, listed := feeds{}, map[dct.GUN]dct.Listing{}
	maps.Copy(listed, f.listed)
	var hosts []string // one for each server, which may serve several registries
	for _, host := range registryHosts(f.guns) {
		if slices.ContainsFunc(hosts, func(other string) bool { return server.URL(other) == server.URL(host) }) {
			continue
		}
		hosts = append(hosts, host)
		now, _, err := server.Changes(ctx, host, f.feeds[host])
		if err != nil {
			continue
		}
		known[host] = now
		f.addListed(listed, host, now)
	}
	f.listed = listed
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
	for _, host := range registryHosts(guns) {
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
