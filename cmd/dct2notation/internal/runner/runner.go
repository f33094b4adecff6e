// Package runner runs the passes of run. It prepares each anew, so that nothing an earlier one has seen of a server
// counts, calls the engine, saves and shows the result, and decides the exit code. A watch runs passes until it is
// stopped, or one fails for a reason that will not pass.
package runner

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/monitor"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/state"
)

// A Runner runs the passes of one call of run: one, or those of a watch.
type Runner struct {
	Options
	Config  session.Config
	Args    []string
	Plan    *migrate.Plan // binds the pass; nil: nothing does
	Filter  *Filter       // narrows the pass; nil: everything
	Ledger  *state.Ledger
	Known   *state.Fingerprint // the ledger's configuration, before and after it is bound
	Path    string             // of the ledger
	Monitor *monitor.Monitor   // nil: nobody watches
	Streams cli.Streams
	Log     *slog.Logger

	// What passes share. Everything else is made anew for each, so that nothing an earlier one has seen of a server
	// counts.
	keys     []session.OpenedKey
	rt       *transport.Transport // with the pauses that servers asked for
	setbacks *migrate.Setbacks
	told     session.Told
	status   *output.StatusFile // of the last pass; nil: none yet
	feeds    session.Feeds      // of a watch: what the last complete pass had read of the changefeeds
	left     bool               // of a watch: a selection of tags has left something out since everything was read
	whole    time.Time          // when the last complete pass began that read them from their beginning
}

// Run runs the passes. Its error is that of the last one.
func (r *Runner) Run(ctx context.Context, stop <-chan struct{}) error {
	defer r.shown()()
	r.Streams.Then.Wrote(r.Path)
	if r.Every > 0 {
		return r.watch(ctx, stop)
	}
	return r.once(ctx, stop)
}

// mayPass marks an error that the next pass may not have: it does not end a watch.
type mayPass struct{ error }

func (m mayPass) Unwrap() error { return m.error }

// prepare connects to the servers, finds the repositories, opens the keys if they are not open, and binds the ledger
// to the configuration.
func (r *Runner) prepare(ctx context.Context) (_ *session.EngineParts, err error) {
	if err := r.valid(time.Now()); err != nil {
		return nil, err
	}
	if r.told == nil {
		r.told = session.Told{}
	}
	a := session.Access{ForceTag: r.ForceTag, Transport: r.rt, Monitor: r.Monitor, Told: r.told}
	if r.MaxOperations > 0 {
		a.Budget = migrate.NewBudget(r.MaxOperations)
	}
	f, sel, err := session.Prepare(r.RemoteOptions, r.SelectOptions, r.Config, r.Args, a, r.Streams, r.Log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // only read from
		}
	}()
	r.rt = f.Transport
	f.Registry.Remember(r.Ledger)
	since := r.since(time.Now())
	if err := f.Find(ctx, r.Discover, sel, r.Config, since, r.Log); err != nil {
		var u *cli.UsageError
		if errors.As(err, &u) || r.Ledger.Err() != nil {
			return nil, err
		}
		return nil, mayPass{err} // a server that is down
	}
	if f.Part = since != nil; f.Part {
		if err := f.AddUnfinished(r.Ledger, sel); err != nil {
			return nil, err
		}
	}
	if err := f.AcceptRoots(r.AcceptRoot); err != nil {
		return nil, err
	}
	if err := r.open(ctx, f); err != nil {
		return nil, err
	}
	if err := r.CheckKeys(f, r.keys, time.Now(), r.Log); err != nil {
		return nil, err
	}
	if err := r.bind(f); err != nil {
		return nil, err
	}
	parts := session.NewEngine(f, r.EngineOptions, r.keys, r.Known, r.Log)
	r.AcceptChanges = false // it applied only to the changes at that time
	parts.Engine.Ledger, parts.Engine.Setbacks = r.Ledger, r.setbacks
	if r.Plan != nil {
		if err := r.Plan.Check(parts.Engine); err != nil {
			return nil, cli.Usage(err)
		}
		parts.Engine.Plan = r.Plan
	}
	if r.Filter != nil {
		// What the list names had failed, whatever the ledger says about it.
		parts.Engine.Filter, parts.Engine.Recheck = r.Filter.Matches, true
		if !r.Filter.failures.Whole {
			r.Log.Warn("the list was written by a run that did not finish", "hint", "a run without --only processes the rest")
		}
	}
	parts.Asked, err = r.scope(parts.Asked)
	return parts, err
}

// bind ties the ledger to the configuration, and reads which identities it has accepted before.
func (r *Runner) bind(f *session.Session) error {
	now, err := (&session.EngineParts{Session: f, Keys: r.keys}).Fingerprint()
	if err != nil {
		return err
	}
	// Whoever accepts a root has changed its pin for that.
	if err := r.Ledger.Bind(now, r.AcceptChanges || r.AcceptRoot.OnlyAccepted(r.Known, now)); err != nil {
		return r.AcceptRoot.NamingRoots(err, r.Ledger, now)
	}
	for _, k := range r.keys {
		key, err := k.NotationKey()
		if err != nil {
			return err
		}
		k.OnRenewed(func(chain [][]byte) {
			r.Log.Info("renewed", "key", safetext.Safe(k.Name(), 128), "leaf", k.Leaf(), "valid_until", k.NotAfter().UTC().Format(time.RFC3339))
			if err := r.Ledger.Renewed(session.KeyID(key), chain); err != nil {
				r.Log.Error("the renewal of the key could not be recorded in the ledger", "key", safetext.Safe(k.Name(), 128), "error", report.Why(err))
			}
		})
	}
	r.Known, err = r.Ledger.Fingerprint()
	return err
}

// open opens the keys, once.
func (r *Runner) open(ctx context.Context, f *session.Session) error {
	if r.keys != nil {
		return nil
	}
	known := r.Known
	if r.AcceptChanges {
		known = nil // ask the key again for its certificate
	}
	keys, err := f.OpenKeys(ctx, r.KeyOptions, r.Config, known, r.Log)
	r.keys = keys
	r.showKeys()
	return err
}

// made is the result of a pass.
type made struct {
	summary migrate.Summary
	result  *report.Run
	err     error // why it ended early
	missed  error // err, or that --only names things that were not met
	unsaved error // why its result could not be saved as requested
}

// done reports whether nothing is left of what the pass was asked to do.
func (m made) done() bool { return m.missed == nil && m.summary.Done() }

// part reports whether that is less than what DCT vouches for: a plan or a selection of tags has left something out.
func (m made) part() bool {
	return m.done() && m.summary.Skipped[failure.NotPlanned]+m.summary.LeftOut > 0
}

// pass runs the engine, and saves and shows the result.
func (r *Runner) pass(ctx context.Context, stop <-chan struct{}, parts *session.EngineParts, show func(*report.Run) error) made {
	var alike []string
	if parts.Engine.AllPlatforms {
		alike = []string{"platforms=all"}
	}
	head := parts.Head(report.OfRun, alike...)
	for _, k := range r.keys {
		key := report.SigningKey{Name: k.Name(), Certificate: k.Leaf(), Begins: k.NotBefore().UTC(), Ends: k.NotAfter().UTC()}
		if i := k.Signer.Identity(); i.Renews() {
			key.Identity = i.Title()
		}
		head.Keys = append(head.Keys, key)
	}
	saved, err := r.Record(head, r.Output, r.Log)
	if err != nil {
		return made{err: err, missed: err}
	}
	r.status = output.NewStatusFile(r.Path, r.Log)
	r.status.Rests = r.Every > 0
	p := output.NewProgress(&r.Common, r.Streams, "signed", len(parts.GUNs), parts.Pending, r.status)
	p.Saved = saved
	p.Report.AddOddNames(parts.Odd)
	p.Report.Started, p.Report.Keys, p.Report.Shard = head.Started, head.Keys, head.Shard // as in the saved result
	parts.Engine.Observe = r.observe(p)
	session.Failpoints(parts.Engine)
	m := made{}
	m.summary, m.err = parts.Engine.Run(ctx, stop, parts.GUNs)
	p.Finish()
	r.Streams.Then.Covered(session.PolicyCovers(p.Places()))
	if !m.summary.Drained {
		parts.TellUnmatchedTags(r.Log)
	}
	if m.err == nil && m.summary.Items == 0 && m.summary.Repositories > 0 && r.SelectsTags() && r.Shard.Alone() {
		m.err = session.ErrNoTags // no report may say that everything is well
	}
	m.missed = m.err
	if r.Filter != nil && m.err == nil && !m.summary.Drained {
		m.missed = r.Filter.missed(r.Shard.Alone(), r.Log)
	}
	if m.missed == nil && !m.summary.Drained {
		m.missed = parts.Unlisted
	}
	m.result = p.Result(m.summary, m.missed)
	end := report.End{
		Ended: m.result.Ended, Well: m.result.Complete, Complete: m.missed == nil && !m.summary.Drained, Stopped: m.summary.Drained, Spent: m.summary.Spent, Items: m.summary.Items, Error: m.result.Error,
	}
	if m.part() {
		end.Complete, end.Error = false, report.ErrPart.Error()
	}
	werr := p.Saved.Finish(end, r.Output, false, r.Streams.Out)
	m.unsaved = errors.Join(show(m.result), werr)
	return m
}

// Nothing handles a list or a plan that names nothing: it contacts no server and no key. Its result is
// empty, and counts as that of a part.
func (r *Runner) Nothing() error {
	asked, err := r.Asked(r.Args, r.Config)
	if err != nil {
		return err
	}
	if asked, err = r.scope(asked); err != nil {
		return err
	}
	head := report.NewHead(report.OfRun, cli.Tool(), asked, time.Now())
	head.Shard = r.Shard.String()
	saved, err := r.Record(head, r.Output, r.Log)
	if err != nil {
		return err
	}
	result := &report.Run{Started: head.Started, Shard: head.Shard}
	result.Close(migrate.Summary{}, nil, time.Now())
	result.Complete = false // everything requested was done, but nobody looked at what DCT vouches for
	werr := saved.Finish(report.End{Ended: result.Ended, Error: report.ErrPart.Error()}, r.Output, false, r.Streams.Out)
	return errors.Join(r.show(result), werr)
}

// exitStatus returns the error of a pass. early says that its time was over.
func (r *Runner) exitStatus(m made, early bool) error {
	switch {
	case m.unsaved != nil:
		return errors.Join(m.err, m.unsaved)
	case m.err != nil && r.Every == 0 && r.Twice(r.Streams):
		return cli.Shown(m.err)
	case m.err != nil:
		return cli.Reported(m.err)
	case m.summary.Drained && early, m.summary.Spent:
		return cli.Exit(cli.ExitEarly)
	case m.summary.Drained:
		return cli.Exit(cli.ExitInterrupted)
	case !m.done():
		return cli.Exit(cli.ExitFailures)
	}
	return nil
}

// wholeEvery is after how long a watch reads the changefeeds from their beginning, and so all repositories. That
// finds records that came very late, and signatures that were deleted or have expired.
const wholeEvery = 24 * time.Hour

// since returns what earlier passes have read of the changefeeds, so that only changes are looked at; nil: everything
// is. If the options ask for what is done already, the feeds are used only to discover.
func (r *Runner) since(now time.Time) session.Feeds {
	if r.Recheck || r.Rebind || r.Plan != nil || r.Filter != nil || now.Sub(r.whole) >= wholeEvery {
		return nil
	}
	return r.feeds
}

// advance records how far the changefeeds were read. Call it after a complete pass: whatever was left undone must be
// found again by the next.
func (r *Runner) advance(parts *session.EngineParts, began time.Time) {
	r.feeds = parts.Feeds
	if !parts.Part {
		r.whole = began
	}
}

// once makes one pass.
func (r *Runner) once(ctx context.Context, stop <-chan struct{}) error {
	r.Monitor.Began()
	parts, err := r.prepare(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = parts.Close() }() // only read from
	quiet := cli.AnnounceEnd(stop, r.Log)
	defer quiet()
	stop, early := cli.Within(stop, r.MaxDuration)
	m := r.pass(ctx, stop, parts, r.show)
	err = r.exitStatus(m, early())
	r.Monitor.Ended(outcome(err, !m.summary.Complete()), err == nil && m.summary.Complete(), true)
	return err
}

// show writes the result to stdout, unless the recording does.
func (r *Runner) show(result *report.Run) error {
	screen, ok := r.Screen(r.Streams.Out)
	switch {
	case ok:
		return screen.Run(r.Streams.Out, result)
	case r.Output == "text":
		return report.RunText(r.Streams.Out, result)
	case r.Output == "json":
		return report.JSON(r.Streams.Out, result)
	}
	return nil
}
