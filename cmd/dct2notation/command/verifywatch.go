package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/runner"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/monitor"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// verifyAddress is where a watch of verify answers if nothing else is said: beside one of run.
const verifyAddress = "127.0.0.1:9478"

func (o *verifyOptions) bindWatch(f *pflag.FlagSet) {
	cli.Grouped(f, cli.GroupProgress, func(f *pflag.FlagSet) {
		f.DurationVar(&o.every, "watch", 0, "run until stopped: wait this long after each comparison, then compare again, such as 1h (at least 10s)")
	})
	cli.Grouped(f, cli.GroupOutput, func(f *pflag.FlagSet) {
		f.StringVar(&o.metrics, "metrics-address", "", "HOST:PORT that serves /metrics (Prometheus) and /healthz with --watch, or none (default "+verifyAddress+")")
	})
}

// checkWatch refuses what does not go with --watch.
func (o *verifyOptions) checkWatch() error {
	switch {
	case o.every == 0:
		return nil
	case o.every < runner.ShortestWatch:
		return cli.Usage(fmt.Errorf("--watch %s: must be at least %s", o.every, runner.ShortestWatch))
	case o.sample > 0:
		return cli.Usage(errors.New("--sample cannot be used with --watch, which says when all was compared last"))
	case o.Output != "text" && o.Output != "json":
		return cli.Usage(fmt.Errorf("--output %s: with --watch it must be text or json\nhint: --report writes the other formats after each pass", o.Output))
	}
	return nil
}

// watch compares until it is stopped, or what it was asked for is wrong. Its error is what the last pass
// came to.
func (o *verifyOptions) watch(ctx context.Context, stop <-chan struct{}, cfg session.Config, args []string, s cli.Streams, log *slog.Logger) error {
	address := o.metrics
	if address == "" {
		address = verifyAddress
	}
	watched, unwatch, err := runner.Serve(address, log, monitor.Options{
		Interval: o.every,
		Outcomes: []string{"complete", "disagree", "partial", "incomplete", "nothing-read", "interrupted", "error"},
		Fine:     []string{string(verify.Agree)},
		Counted:  []string{string(verify.DCTOnly), string(verify.NoneSigned)}, // an alert sees the first of them
	})
	if err != nil {
		return err
	}
	defer unwatch()
	if err := o.Credentials(s.In); err != nil {
		return err
	}
	o.monitor = watched
	told := report.NewVerifyPasses(s.Out, o.Output == "json", cli.Tool(), o.Shard.String())
	return runner.Repeat(ctx, stop, o.every, func() (bool, error) {
		watched.Began()
		looked, err := o.pass(ctx, cfg, args, told.Next(), s, log)
		watched.Ended(verifyOutcome(ctx, looked, err), looked.whole, looked.all)
		var wrong *cli.UsageError
		var shown *cli.ExitStatus
		switch {
		case errors.As(err, &wrong) && !errors.Is(err, session.ErrNoTags):
			return true, err
		case err != nil && !errors.As(err, &shown) && ctx.Err() == nil:
			log.Error("pass", append([]any{"next", time.Now().Add(o.every).UTC().Format(time.RFC3339)}, cli.Reasoned(report.Why(err))...)...)
		}
		return false, err
	})
}

// verifyOutcome names what a pass came to, for metrics.
func verifyOutcome(ctx context.Context, looked passed, err error) string {
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

// compared is what the metrics are told of a repository.
func compared(r verify.Repository) monitor.Comparison {
	c := monitor.Comparison{Repository: safetext.Safe(r.GUN, 512), Unread: string(r.Class), Whole: r.LeftOut == 0 && r.Class == "" && r.Totals[verify.Unknown] == 0}
	if r.Class != "" {
		return c
	}
	if r.Reason != "" {
		c.Unread = string(verify.Unknown)
	}
	c.Rows, c.Expires = map[string]int{}, map[string]time.Time{}
	for _, t := range r.Tags {
		c.Rows[string(t.Class)]++
		if at := t.CertificateExpires; !at.IsZero() && (c.Signed.IsZero() || at.Before(c.Signed)) {
			c.Signed = at
		}
	}
	for _, e := range r.Expiries {
		c.Expires[e.Role] = e.At
	}
	return c
}
