package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/state"
)

// watch runs passes until it is stopped, or one fails for a reason that will not pass. Its error is that of the last
// pass.
func (r *Runner) watch(ctx context.Context, stop <-chan struct{}) error {
	r.setbacks = &migrate.Setbacks{Pause: r.Every}
	quiet := cli.AnnounceEnd(stop, r.Log)
	defer quiet()
	told := &printer{out: r.Streams.Out, json: r.Output == "json"}
	first := true
	err := Repeat(ctx, stop, r.Every, func() (bool, error) {
		r.Monitor.Began()
		complete, all, err := r.round(ctx, stop, told, first)
		first = false
		r.Monitor.Ended(outcome(err, r.left), complete && !r.left, all)
		if r.lasting(err) {
			return true, err
		}
		var shown *cli.ExitStatus
		if err != nil && !errors.As(err, &shown) {
			r.Log.Error("pass", append([]any{"next", time.Now().Add(r.Every).UTC().Format(time.RFC3339)}, cli.Reasoned(report.Why(err))...)...)
		}
		return false, err
	})
	r.status.Over()
	if err := state.RemoveCopy(r.Path); err != nil { // the ledger is free now
		r.Log.Warn("the copy of the ledger cannot be removed", "reason", err.Error())
	}
	if r.lasting(err) {
		r.Monitor.Over(safetext.FirstLine(report.Why(err)))
	}
	return err
}

// Repeat calls pass, waits, and calls it again, until pass reports the last, stop is closed or ctx has ended. It
// returns the error of the last call.
func Repeat(ctx context.Context, stop <-chan struct{}, wait time.Duration, pass func() (last bool, err error)) error {
	for {
		last, err := pass()
		if last {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-stop:
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		select {
		case <-stop: // even if the time is over as well
			return err
		case <-ctx.Done():
			return err
		default:
		}
	}
}

// round runs one pass. complete reports that everything requested was done; all, that it covered all repositories
// there are.
func (r *Runner) round(ctx context.Context, stop <-chan struct{}, told *printer, first bool) (complete, all bool, err error) {
	began := time.Now()
	parts, err := r.prepare(ctx)
	if err != nil {
		return false, false, err
	}
	defer func() { _ = parts.Close() }() // only read from
	m := r.pass(ctx, stop, parts, told.pass)
	if err := r.Ledger.SaveCopy(); err != nil && r.Ledger.Err() == nil {
		r.Log.Warn("cannot make a copy of the ledger for commands that read it during the watch", "reason", safetext.FirstLine(err.Error()))
	}
	err = r.exitStatus(m, false)
	switch {
	case errors.Is(err, session.ErrNoTags) && !first:
		err = nil // there were some
	case m.unsaved != nil && m.err == nil, errors.Is(m.err, migrate.ErrStopped), errors.Is(m.err, dct.ErrNothingRead):
		err = mayPass{err}
	}
	all = !parts.Part && m.err == nil && !m.summary.Drained
	r.left = r.left && parts.Part || m.summary.LeftOut > 0
	if !m.done() {
		return false, all, err
	}
	r.advance(parts, began)
	return err == nil, all, err
}

// lasting reports whether an error of a pass ends a watch: every error does that is not known to be one that may
// pass.
func (r *Runner) lasting(err error) bool {
	var may mayPass
	var shown *cli.ExitStatus
	switch {
	case err == nil:
		return false
	case r.Ledger.Err() != nil:
		return true
	case errors.As(err, &shown):
		return shown.Code == cli.ExitInterrupted
	}
	return !errors.As(err, &may)
}

// valid returns an error if a key's signatures would soon be worth nothing.
func (r *Runner) valid(now time.Time) error {
	for _, k := range r.keys {
		if err := r.Lasts(k.Name(), k.NotAfter(), k.TSAURL != "", now); err != nil {
			return err
		}
	}
	return nil
}

// outcome names the result of a pass, for metrics. left says that something was left out.
func outcome(err error, left bool) string {
	var v *cli.ExitStatus
	switch {
	case err == nil && left:
		return "partial"
	case err == nil:
		return "complete"
	case errors.As(err, &v) && v.Code == cli.ExitFailures:
		return "incomplete"
	case errors.As(err, &v):
		return "interrupted"
	case errors.Is(err, migrate.ErrStopped):
		return "stopped"
	case errors.Is(err, dct.ErrNothingRead):
		return "nothing-read"
	}
	return "error"
}

// printer shows the passes of a watch on stdout.
type printer struct {
	out  io.Writer
	json bool
	n    int
	old  map[string]bool // what the last pass did not sign: it is not reported again
}

// pass writes the result of a pass: in JSON one object per line; in text what was not signed, if that is news, and a
// line.
func (t *printer) pass(r *report.Run) error {
	t.n++
	if t.json {
		return json.NewEncoder(t.out).Encode(r)
	}
	now := map[string]bool{}
	news := func(parts ...string) bool {
		name := fmt.Sprintf("%q", parts)
		now[name] = true
		return !t.old[name]
	}
	err := report.PassText(t.out, r, t.n, news)
	t.old = now
	return err
}
