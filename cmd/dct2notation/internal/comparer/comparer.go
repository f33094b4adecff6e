// Package comparer runs the passes of verify (a watch runs many), looks up what runs, and assesses for ready whether
// the Notary server may be switched off. It connects anew for each pass, so that nothing an earlier one has seen of a
// server counts. It calls package verify, saves and shows the result, and decides the exit code.
package comparer

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/monitor"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// A Comparer runs the passes of one call of verify: one, or those of a watch.
type Comparer struct {
	Options
	Config  session.Config
	Args    []string
	Streams cli.Streams
	Log     *slog.Logger

	monitor   *monitor.Monitor // nil: no monitor
	told      session.Told
	transport *transport.Transport // of the pass before, with the pauses that servers asked for
}

// Run runs the passes, or looks up what runs. Its error is that of the last one.
func (c *Comparer) Run(ctx context.Context, stop <-chan struct{}) error {
	session.UseNotationFolders()
	switch {
	case c.Images != "":
		return c.lookUp(ctx)
	case c.Every > 0:
		return c.watch(ctx, stop)
	}
	_, err := c.pass(ctx, c.live())
	return err
}

// passed says what a pass has covered, whatever it found.
type passed struct {
	whole bool // everything was compared, and nothing is unknown
	all   bool // it covered all repositories there are
}

// pass compares both sides once.
func (c *Comparer) pass(ctx context.Context, out report.Verify) (passed, error) {
	ledger, record, done, err := c.record(c.Log)
	if err != nil {
		return passed{}, err
	}
	defer done()
	cfg := c.Config
	if record != nil && len(c.Args)+len(cfg.Repositories) == 0 && c.Discover == session.DiscoverList {
		cfg.Repositories = record.GUNs()
	}
	if c.told == nil {
		c.told = session.Told{}
	}
	access := session.Access{ReadOnly: true, ForceTag: c.ForceTag, Record: record, Transport: c.transport, Monitor: c.monitor, Told: c.told}
	f, err := c.Connect(ctx, cfg, c.Args, access, c.Streams, c.Log)
	if err != nil {
		return passed{}, err
	}
	defer func() { _ = f.Close() }() // only read from
	c.transport = f.Transport
	v, err := c.verification(f, ledger, record)
	if err != nil {
		return passed{}, err
	}
	session.WarnOfStore(c.TrustPolicy, c.Log)
	v.AllTags = c.AllTags || slices.Contains(c.FailOn, string(verify.NoneSigned))
	if c.Sample > 0 {
		v.Sample, v.Seed = c.Sample, cmp.Or(c.Seed, rand.Text())
		f.Asked += fmt.Sprintf(" sample=%d", c.Sample)
		c.Log.Info("a sample is compared, not all tags", "per_repository", v.Sample, "seed", v.Seed)
	}
	if chosen := tagsLeftOut(f.Choice); len(chosen) > 0 {
		c.Log.Warn("only the selected tags are compared", "chosen_by", strings.Join(chosen, " "))
	}
	return c.compare(ctx, v, f, errors.Join(f.Unlisted, ledger.Part()), out)
}

// tagsLeftOut returns the settings that select tags. Excluded repositories are found through the changefeed.
func tagsLeftOut(choice []string) []string {
	return slices.DeleteFunc(slices.Clone(choice), func(c string) bool { return strings.HasPrefix(c, "exclude=") })
}

// compare verifies, and shows and saves the result. lacking is why it cannot cover all that is selected; nil: it can.
func (c *Comparer) compare(ctx context.Context, v *verify.Verification, f *session.Session, lacking error, out report.Verify) (passed, error) {
	saved, err := c.Record(f.Head(report.OfVerify, c.alike()...), c.Output, c.Log)
	if err != nil {
		return passed{}, err
	}
	totals, tags, leftOut, unseen, deleted := report.Totals{}, report.Totals{}, 0, 0, 0
	meter := output.NewComparing(&c.Common, c.Streams, len(f.GUNs), f.Pending)
	err = v.Verify(ctx, f.GUNs, func(one verify.Repository) error {
		meter.Compared(one)
		totals.Add(one)
		tags.AddTags(one)
		leftOut += one.LeftOut
		if one.PinnedBy == dct.PinnedTOFU {
			unseen++
		}
		if one.Deleted {
			deleted++
		}
		c.monitor.Compared(compared(one))
		saved.Note(func(l *report.Lines) error { return report.Verified(l, one) })
		return out.Repository(one)
	})
	meter.Finish()
	output.WarnOfUnseen(unseen, c.Log)
	f.TellUnmatchedTags(c.Log)
	chosen := len(tagsLeftOut(f.Choice)) > 0
	if err == nil && totals.Empty() {
		err = c.nothing(f, chosen, deleted)
	}
	err = cli.Reported(err) // the rows give its cause
	part := err
	if part == nil && chosen {
		part = report.ErrChosen
	}
	if lacking != nil {
		part = errors.Join(part, lacking)
	}
	end := ending(totals, leftOut, part)
	looked := passed{whole: end.Complete && !totals.Unknown(), all: err == nil && lacking == nil}
	if endErr := errors.Join(out.End(totals, part), saved.Finish(end, c.Output, c.Verbose, c.Streams.Out)); endErr != nil {
		return looked, errors.Join(err, endErr)
	}
	if errors.Is(err, dct.ErrNothingRead) && (totals.Disagree() || totals.Unknown()) {
		// The rows report this for each repository, and decide the exit code. Repositories that were found and have
		// no trust data have no rows.
		if c.Output != "text" {
			c.Log.Error("reading trust data", cli.Reasoned(err.Error())...)
		}
		err = nil
	}
	switch {
	case err != nil && c.Every == 0 && c.Twice(c.Streams):
		return looked, cli.Shown(err)
	case err != nil:
		return looked, err
	case totals.Disagree(), c.fails(totals, tags):
		return looked, cli.Exit(cli.ExitDisagree)
	case totals.Unknown(), lacking != nil:
		return looked, cli.Exit(cli.ExitFailures)
	}
	return looked, nil
}

// alike returns the options that all shards must share, besides the selection: without one of them, less is compared.
func (c *Comparer) alike() (options []string) {
	if c.Platforms != "index" {
		options = append(options, "platforms="+c.Platforms)
	}
	if c.AllTags {
		options = append(options, "all-tags")
	}
	if c.Ledger != "" {
		options = append(options, "ledger")
	}
	return options
}

// nothing returns the error of a comparison that compared no tag, if it should have.
func (c *Comparer) nothing(f *session.Session, chosen bool, deleted int) error {
	switch {
	case len(f.GUNs) == 0 && f.Shard.Count > 0: // there are fewer repositories than shards
	case chosen && !f.Shard.Alone(): // the tags may be in other shards: report --merge sees whether none has any
	case chosen:
		return errNothingChosen
	case deleted == 0:
		return errNothingCompared
	default:
		c.Log.Info("everything that was compared was deleted from Notary, and Notation trusts none of it either", "repositories", deleted)
	}
	return nil
}

// fails reports whether a class of --fail-on has tags, or repositories that were not read.
func (c *Comparer) fails(totals, tags report.Totals) (fails bool) {
	for _, class := range c.FailOn {
		if all, of := totals[verify.Class(class)], tags[verify.Class(class)]; all > 0 {
			c.Log.Error("something is in a class of --fail-on", "class", class, "tags", of, "repositories", all-of)
			fails = true
		}
	}
	return fails
}

// ending returns the saved end of a verification. A part does not count as the whole.
func ending(totals report.Totals, leftOut int, err error) report.End {
	whole := err == nil && leftOut == 0
	end := report.End{Ended: time.Now(), Complete: whole, Well: whole && !totals.Disagree() && !totals.Unknown()}
	switch {
	case err != nil:
		end.Error = report.Why(err)
	case leftOut > 0:
		end.Error = report.Partial(leftOut)
	}
	return end
}

var (
	errNothingChosen   = fmt.Errorf("nothing was compared: %w", session.ErrNoTags)
	errNothingCompared = errors.New("nothing was compared: neither DCT nor Notation trusts a tag of the repositories\nhint: are these the ones that were signed?")
)

// live returns the writer that shows the result as it comes, for the formats that allow it.
func (c *Comparer) live() report.Verify {
	screen, ok := c.Screen(c.Streams.Out)
	switch {
	case ok:
		return report.OfShard(screen.Verify(c.Streams.Out, time.Now()), c.Streams.Out, c.Shard.String())
	case c.Output == "text":
		return report.OfShard(report.NewVerifyText(c.Streams.Out, c.Verbose, time.Now()), c.Streams.Out, c.Shard.String())
	case c.Output == "json":
		return report.NewVerifyJSON(c.Streams.Out, cli.Tool(), c.Shard.String())
	}
	return report.NewVerifyText(io.Discard, false, time.Now())
}
