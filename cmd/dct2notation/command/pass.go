package command

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/monitor"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/state"
)

// runner makes the passes of one call of run: one, or with --watch as many as come.
type runner struct {
	runOptions
	cfg     config
	args    []string
	plan    *migrate.Plan // what the pass is bound to; nil: nothing
	narrow  *only         // what alone is asked for; nil: all
	ledger  *state.Ledger
	known   state.Fingerprint // the ledger's configuration, before and after it is bound
	path    string            // of the ledger
	monitor *monitor.Monitor  // nil: nobody watches
	streams Streams
	log     *slog.Logger

	// What passes share. All else is made anew for each, so that nothing an earlier one has
	// seen of a server counts.
	keys     []openedKey
	rt       *transport.Transport // with the pauses that servers asked for
	setbacks *migrate.Setbacks
	status   *statusFile // of the last; nil: none yet
	feeds    feeds       // of a watch: what the last complete pass had read of the changefeeds
	left     bool        // of a watch: that chosen tags have left something out, since all was read
	whole    time.Time   // when a pass began that read them from their beginning, and was complete
}

// mayPass marks an error that the next pass need not have: it does not end a watch.
type mayPass struct{ error }

func (m mayPass) Unwrap() error { return m.error }

// prepare connects to the servers, finds the repositories, opens the keys if they are not,
// and binds the ledger to the configuration.
func (r *runner) prepare(ctx context.Context) (_ *engineParts, err error) {
	if err := r.valid(time.Now()); err != nil {
		return nil, err
	}
	a := access{forceTag: r.forceTag, rt: r.rt, monitor: r.monitor}
	f, sel, err := approach(r.remoteOptions, r.selectOptions, r.cfg, r.args, a, r.streams, r.log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.close() // only read from
		}
	}()
	r.rt = f.rt
	f.registry.Remember(r.ledger)
	since := r.since(time.Now())
	if err := f.find(ctx, r.discover, sel, r.cfg, since, r.log); err != nil {
		var u *usageError
		if errors.As(err, &u) || r.ledger.Err() != nil {
			return nil, err
		}
		return nil, mayPass{err} // a server that is down
	}
	if f.part = since != nil; f.part {
		if err := f.addUnfinished(r.ledger, sel); err != nil {
			return nil, err
		}
	}
	if err := f.acceptRoots(r.acceptRoot); err != nil {
		return nil, err
	}
	if err := r.open(ctx, f); err != nil {
		return nil, err
	}
	if err := r.checkKeys(f, r.keys, time.Now(), r.log); err != nil {
		return nil, err
	}
	if err := r.bind(f); err != nil {
		return nil, err
	}
	parts := newEngine(f, r.engineOptions, r.keys, r.known, r.log)
	r.acceptChanges = false // those that were there when it was said
	parts.engine.Ledger, parts.engine.Setbacks = r.ledger, r.setbacks
	if r.plan != nil {
		if err := r.plan.Check(parts.engine); err != nil {
			return nil, usage(err)
		}
		parts.engine.Plan = r.plan
	}
	if r.narrow != nil {
		// What is named was amiss, whatever the ledger says of it.
		parts.engine.Only, parts.engine.Recheck = r.narrow.asks, true
		if !r.narrow.failures.Whole {
			r.log.Warn("the list is of a result that did not come to its end", "hint", "a run without --only does what that one had not come to")
		}
	}
	parts.asked, err = r.scope(parts.asked)
	return parts, err
}

// bind ties the ledger to the configuration, and learns what identities it has accepted before.
func (r *runner) bind(f *field) error {
	now, err := (&engineParts{field: f, keys: r.keys}).fingerprint()
	if err != nil {
		return err
	}
	// Whoever accepts a root has changed its pin for that.
	if err := r.ledger.Bind(now, r.acceptChanges || r.acceptRoot.onlyAccepted(r.known, now)); err != nil {
		return r.acceptRoot.namingRoots(err, r.ledger, now)
	}
	r.known, err = r.ledger.Fingerprint()
	return err
}

// open opens the keys, once.
func (r *runner) open(ctx context.Context, f *field) error {
	if r.keys != nil {
		return nil
	}
	known := r.known
	if r.acceptChanges {
		known = nil // the key is asked anew what its certificate is
	}
	keys, err := f.openKeys(ctx, r.keyOptions, r.cfg, known, r.log)
	r.keys = keys
	r.showKeys()
	return err
}

// made is what became of a pass.
type made struct {
	summary migrate.Summary
	result  *report.Run
	err     error // that ended it before its time
	missed  error // that, or what --only names and was not met with
	unsaved error // why its result is not where it was to be
}

// done reports whether nothing is left of what the pass was asked for.
func (m made) done() bool { return m.missed == nil && m.summary.Done() }

// part reports whether that is not all that DCT vouches for, as a plan or chosen tags have left something out.
func (m made) part() bool {
	return m.done() && m.summary.Skipped[failure.NotPlanned]+m.summary.LeftOut > 0
}

// pass runs the engine, saves what became of it and shows it.
func (r *runner) pass(ctx context.Context, stop <-chan struct{}, parts *engineParts, show func(*report.Run) error) made {
	head := report.NewHead(report.OfRun, tool(), parts.asked, time.Now())
	for _, k := range r.keys {
		head.Keys = append(head.Keys, report.SigningKey{Name: k.Name(), Certificate: k.Leaf(), Begins: k.NotBefore().UTC(), Ends: k.NotAfter().UTC()})
	}
	saved, err := r.record(head, r.output, r.log)
	if err != nil {
		return made{err: err, missed: err}
	}
	r.status = newStatusFile(r.path, r.log)
	r.status.rests = r.every > 0
	p := newProgress(&r.commonOptions, r.streams.Err, "signed", len(parts.guns), r.status)
	p.saved = saved
	p.report.AddOddNames(parts.odd)
	p.report.Started, p.report.Keys = head.Started, head.Keys // as in the saved result
	parts.engine.Observe = r.observe(p)
	failpoints(parts.engine)
	m := made{}
	m.summary, m.err = parts.engine.Run(ctx, stop, parts.guns)
	p.finish()
	if m.err == nil && m.summary.Items == 0 && m.summary.Repositories > 0 && r.selectsTags() {
		m.err = errNoTags // no report may say that all is well
	}
	m.missed = m.err
	if r.narrow != nil && m.err == nil && !m.summary.Drained {
		m.missed = r.narrow.missed(r.log)
	}
	if m.missed == nil && !m.summary.Drained {
		m.missed = parts.unlisted
	}
	m.result = p.result(m.summary, m.missed)
	end := report.End{
		Ended: m.result.Ended, Well: m.result.Complete, Complete: m.missed == nil && !m.summary.Drained, Stopped: m.summary.Drained, Items: m.summary.Items, Error: m.result.Error,
	}
	if m.part() {
		end.Complete, end.Error = false, report.ErrPart.Error()
	}
	werr := p.saved.finish(end, r.output, false, r.streams.Out)
	m.unsaved = errors.Join(show(m.result), werr)
	return m
}

// verdict is the error that a pass comes to. early says that its time was over.
func (r *runner) verdict(m made, early bool) error {
	switch {
	case m.unsaved != nil:
		return errors.Join(m.err, m.unsaved)
	case m.err != nil:
		return told(m.err)
	case m.summary.Drained && early:
		return &verdict{exitEarly}
	case m.summary.Drained:
		return &verdict{exitInterrupted}
	case !m.done():
		return &verdict{exitFailures}
	}
	return nil
}

// wholeEvery is after how long a watch reads the changefeeds from their beginning, and all
// repositories with them: a record that came very late, a signature that was deleted or has
// expired is found then.
const wholeEvery = 24 * time.Hour

// since is what earlier passes have read of the changefeeds, so that only what has changed
// is looked at; nil: everything is. Where the options ask for what is done already, the feeds
// only discover.
func (r *runner) since(now time.Time) feeds {
	if r.recheck || r.rebind || r.plan != nil || r.narrow != nil || now.Sub(r.whole) >= wholeEvery {
		return nil
	}
	return r.feeds
}

// advance remembers how far the changefeeds were read. It comes after a complete pass:
// whatever was left undone has to be found again by the next.
func (r *runner) advance(parts *engineParts, began time.Time) {
	r.feeds = parts.feeds
	if !parts.part {
		r.whole = began
	}
}

// once makes one pass.
func (r *runner) once(ctx context.Context, stop <-chan struct{}) error {
	r.monitor.Began()
	parts, err := r.prepare(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = parts.close() }() // only read from
	quiet := announceEnd(stop, r.log)
	defer quiet()
	stop, early := within(stop, r.maxDuration)
	m := r.pass(ctx, stop, parts, r.show)
	err = r.verdict(m, early())
	r.monitor.Ended(outcome(err, !m.summary.Complete()), err == nil && m.summary.Complete(), true)
	return err
}

// show writes the result to stdout, unless the recording does.
func (r *runner) show(result *report.Run) error {
	switch r.output {
	case "text":
		return report.RunText(r.streams.Out, result)
	case "json":
		return report.JSON(r.streams.Out, result)
	}
	return nil
}
