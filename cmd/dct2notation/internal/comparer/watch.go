package comparer

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/runner"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/monitor"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// WatchAddress is the default address for the metrics of a watch of verify: next to that of run.
const WatchAddress = "127.0.0.1:9478"

// watch compares until it is stopped, or the request itself is wrong. Its error is that of the last pass.
func (c *Comparer) watch(ctx context.Context, stop <-chan struct{}) error {
	watched, unwatch, err := runner.Serve(cmp.Or(c.Metrics, WatchAddress), c.Log, monitor.Options{
		Interval: c.Every,
		Outcomes: []string{"complete", "disagree", "partial", "incomplete", "nothing-read", "interrupted", "error"},
		Fine:     []string{string(verify.Agree)},
		Counted:  []string{string(verify.DCTOnly), string(verify.NoneSigned)}, // an alert covers the first of them
	})
	if err != nil {
		return err
	}
	defer unwatch()
	if err := c.Credentials(c.Streams.In); err != nil {
		return err
	}
	c.monitor = watched
	told := report.NewVerifyPasses(c.Streams.Out, c.Output == "json", cli.Tool(), c.Shard.String())
	return runner.Repeat(ctx, stop, c.Every, func() (bool, error) {
		watched.Began()
		looked, err := c.pass(ctx, told.Next())
		watched.Ended(outcome(ctx, looked, err), looked.whole, looked.all)
		var wrong *cli.UsageError
		var shown *cli.ExitStatus
		switch {
		case errors.As(err, &wrong) && !errors.Is(err, session.ErrNoTags):
			return true, err
		case err != nil && !errors.As(err, &shown) && ctx.Err() == nil:
			c.Log.Error("pass", append([]any{"next", time.Now().Add(c.Every).UTC().Format(time.RFC3339)}, cli.Reasoned(report.Why(err))...)...)
		}
		return false, err
	})
}

// outcome names the result of a pass, for metrics.
func outcome(ctx context.Context, looked passed, err error) string {
	var shown *cli.ExitStatus
	switch {
	case ctx.Err() != nil:
		return "interrupted"
	case err == nil && looked.whole:
		return "complete"
	case err == nil:
		return "partial"
	case errors.As(err, &shown) && shown.Code == cli.ExitDisagree:
		return "disagree"
	case errors.As(err, &shown):
		return "incomplete"
	case errors.Is(err, dct.ErrNothingRead):
		return "nothing-read"
	}
	return "error"
}

// compared returns what the metrics need of a repository.
func compared(r verify.Repository) monitor.Comparison {
	c := monitor.Comparison{Repository: safetext.Safe(r.GUN, 512), Unread: string(r.Class), Whole: r.LeftOut == 0 && r.Class == "" && r.Totals[verify.Unknown] == 0}
	if r.Class != "" {
		return c
	}
	if r.Reason != "" {
		c.Unread = string(verify.Unknown)
	}
	c.Rows, c.Tags, c.Expires = map[string]int{}, map[string]string{}, map[string]time.Time{}
	for _, t := range r.Tags {
		c.Rows[string(t.Class)]++
		c.Tags[cmp.Or(t.Tag, "@"+t.Registry.String())] = string(t.Class)
		if at := t.CertificateExpires; !at.IsZero() && (c.Signed.IsZero() || at.Before(c.Signed)) {
			c.Signed = at
		}
	}
	for _, e := range r.Expiries {
		c.Expires[e.Role] = e.At
	}
	return c
}
