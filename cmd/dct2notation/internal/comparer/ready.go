package comparer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// ReadyOptions are the options of ready.
type ReadyOptions struct {
	Sides
	output.Results
	Planned   string // when the server is to be switched off
	Snapshot  string
	NoLedger  bool
	Decisions string
	Products  []string
	Running   string // a list of what runs

	at time.Time // read by Check
}

// Check returns a usage error for options that do not fit together.
func (o *ReadyOptions) Check() error {
	if o.Output != "text" && o.Output != "json" && o.Output != "markdown" {
		return cli.Usage(fmt.Errorf("--output %s: it is text, json or markdown", o.Output))
	}
	if err := cli.FirstError(o.CheckReading, o.CheckReports); err != nil {
		return err
	}
	at, err := time.Parse(time.DateOnly, o.Planned)
	switch {
	case o.Planned == "":
		return cli.Usage(errors.New("when will the server be switched off?\nhint: --date 2026-12-08"))
	case err != nil:
		return cli.Usage(fmt.Errorf("--date %s: it takes a date such as 2026-12-08", o.Planned))
	case o.Sides.check() != nil:
		return o.Sides.check()
	case !o.FromServer():
		return cli.Usage(fmt.Errorf("--source %s: whether a server may go is asked of the server\nhint: the snapshot that is to stay is named with --snapshot", o.Source))
	}
	if (o.Ledger == "") == !o.NoLedger {
		return cli.Usage(errors.New("either --ledger FILE or --no-ledger\nhint: the ledger of the runs has what was signed and withdrawn since, and which trust data was read last; without it that goes unnoticed"))
	}
	if at.Before(time.Now().UTC().Truncate(24 * time.Hour)) {
		return cli.Usage(fmt.Errorf("--date %s has passed\nhint: give the day on which the server is to be switched off", o.Planned))
	}
	o.at = at
	for _, p := range o.Products {
		if !slices.Contains(verify.Products(), p) {
			return cli.Usage(fmt.Errorf("--product %s: it is one of %s", p, strings.Join(verify.Products(), ", ")))
		}
	}
	return nil
}

// A Readiness is one call of ready.
type Readiness struct {
	ReadyOptions
	Config  session.Config
	Args    []string
	Streams cli.Streams
	Log     *slog.Logger
}

// Run compares both sides, checks every gate, and shows the result.
func (r *Readiness) Run(ctx context.Context) error {
	decisions, err := verify.ReadDecisions(r.Decisions, time.Now())
	if err != nil {
		return cli.Usage(err)
	}
	var running *verify.RunningList
	if r.Running != "" {
		if running, err = session.ReadRunning("--running", r.Running, r.Streams.In); err != nil {
			return err
		}
	}
	session.UseNotationFolders()
	ledger, record, done, err := r.record(r.Log)
	if err != nil {
		return err
	}
	defer done()
	// Whatever is named now: the server is switched off for everything that was ever signed.
	a := session.Access{ReadOnly: true, ForceTag: r.ForceTag, Record: record, AllRecord: true}
	f, err := r.Connect(ctx, r.Config, r.Args, a, r.Streams, r.Log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	if f.Unlisted != nil {
		return f.Unlisted // it affects all of them
	}
	v, err := r.verification(f, ledger, record)
	if err != nil {
		return err
	}
	feed := r.feed(ctx, f)
	v.Trust = f.Reader() // it now knows what the servers list
	archive, saved, done, err := r.archive(f)
	if err != nil {
		return err
	}
	defer done()
	now := time.Now()
	gates := &verify.Readiness{
		Verification: v, Archive: archive, Saved: saved, Feed: feed, LeftOut: tagsLeftOut(f.Choice), Decisions: *decisions, Running: running, Scope: f.Running(),
		Products: products(r.Products, session.RegistryHosts(f.GUNs)), Planned: latest(verify.EndOfDay(r.at), now), Now: now,
	}
	if ledger != nil {
		gates.Behind = ledger.Behind
	}
	return r.assess(ctx, gates, f, ledger.Part())
}

// assess checks the gates, shows them, and saves them with what was compared. lacking is why that is not everything;
// nil: it is.
func (r *Readiness) assess(ctx context.Context, gates *verify.Readiness, f *session.Session, lacking error) error {
	saved, err := r.Record(f.Head(report.OfVerify), "text", r.Log)
	if err != nil {
		return err
	}
	totals, leftOut := report.Totals{}, 0
	screen, ok := r.Screen(r.Streams.Out)
	shown, meter := screen.Ready(r.Streams.Out, gates.Now), output.NewComparing(&r.Common, r.Streams, len(f.GUNs), f.Pending)
	gates.Each = func(one verify.Repository) {
		totals.Add(one)
		leftOut += one.LeftOut
		meter.Compared(one)
		shown.Repository(one)
		saved.Note(func(l *report.Lines) error { return report.Verified(l, one) })
	}
	all, err := gates.Assess(ctx, f.GUNs)
	meter.Finish()
	if err != nil {
		return errors.Join(err, saved.Finish(ending(totals, leftOut, err), "text", false, r.Streams.Out))
	}
	result := report.NewReady(cli.Tool(), all, gates.Now, r.at)
	write := map[string]func(io.Writer, *report.Ready) error{"text": report.ReadyText, "json": report.JSON[*report.Ready], "markdown": report.ReadyMarkdown}[r.Output]
	if ok {
		write = func(_ io.Writer, r *report.Ready) error { return shown.End(r) }
	}
	switch {
	case lacking != nil:
	case totals.Empty():
		lacking = errNothingCompared
	case len(gates.LeftOut) > 0:
		lacking = report.ErrChosen
	}
	end := ending(totals, leftOut, lacking)
	end.Well = end.Well && result.Ready
	saved.Note(func(l *report.Lines) error { return l.Ready(result) })
	if err := errors.Join(write(r.Streams.Out, result), saved.Finish(end, "text", false, r.Streams.Out)); err != nil {
		return err
	}
	if !result.Ready {
		return cli.Exit(cli.ExitDisagree)
	}
	return nil
}

// latest returns the planned date, or today if that has passed: what has expired meanwhile counts.
func latest(planned, now time.Time) time.Time {
	if planned.Before(now) {
		return now
	}
	return planned
}

// archive reads the snapshot that will remain, with the same pins, and returns when it was last saved; nil if none is
// named.
func (r *Readiness) archive(f *session.Session) (_ migrate.Trust, saved time.Time, done func(), err error) {
	if r.Snapshot == "" {
		return nil, saved, func() {}, nil
	}
	snap, err := snapshot.Open(r.Snapshot)
	if err != nil {
		return nil, saved, nil, cli.Usage(err)
	}
	reader := f.Reader()
	reader.Source, reader.Cache = snap, nil
	reader.Listing = nil                                          // a listing by the server says nothing about the snapshot
	return reader, snap.Saved(), func() { _ = snap.Close() }, nil // only read from
}

// feed reads the changefeeds of the Notary servers for everything that they have. They are also read at once, so that
// the reader of f knows what they list and what they have as deleted. A server whose feed cannot be read now is asked
// again later, and the error is of that attempt.
func (r *Readiness) feed(ctx context.Context, f *session.Session) func(context.Context) ([]dct.Changed, error) {
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
			// Whatever the registry: the server is switched off as a whole.
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

// products returns the products that the flags name, and those that the registries' names imply: a flag for one must
// not hide the checks of another.
func products(named, hosts []string) []string {
	all := slices.Clone(named)
	for _, host := range hosts {
		switch {
		case host == "docker.io":
			all = append(all, verify.DockerHub)
		case strings.HasSuffix(host, ".azurecr.io"):
			all = append(all, verify.ACR)
		case !slices.ContainsFunc(named, func(p string) bool { return p != verify.DockerHub && p != verify.ACR }):
			all = append(all, verify.SelfHosted)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
