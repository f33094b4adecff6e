package command

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/notaryproject/notation-go/dir"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/monitor"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/notation/signature"
)

type verifyOptions struct {
	cli.Common
	session.RemoteOptions
	session.SelectOptions
	output.Results
	trustPolicy string
	workers     int
	allTags     bool
	forceTag    bool
	sample      int
	seed        string
	platforms   string
	ledger      string
	failOn      []string
	images      string        // a list of what runs, to be looked up in place of repositories
	every       time.Duration // of a watch; 0: there is one pass
	metrics     string        // where a watch answers; empty: the default, "none": nowhere

	monitor   *monitor.Monitor // nil: nobody watches
	told      session.Told
	transport *transport.Transport // of the pass before, with the pauses that servers asked for
}

func newVerify(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify [flags] [REPOSITORY...]",
		Short: "Read both signature sets again and compare them, tag by tag",
		Long: `Verify reads the trust data, the registry and the Notation signatures again and compares
them for each tag. It uses neither the ledger nor the docker command. Notation signatures are
verified with a trust policy and notation's trust store, as notation verify does.

With --ledger, it also compares with what runs have done, and rejects trust data that is older
than the data they read or has another root. It then compares all repositories in the ledger,
unless some are named as arguments. The ledger is only read.

With --watch it repeats this until it is stopped, and shows what it finds as metrics.

With --images it looks up what runs: each image is trusted by DCT, by Notation, by both or by
neither. Only registries that the configuration or an argument names are asked.

Exit code 0: both sides agree on every tag. 4: they do not. 3: something could not be checked.`,
		Example: `  dct2notation verify --trust-pinning pins.json registry.example.com/team/app
  dct2notation verify --config migration.yaml --watch 1h --fail-on unsigned
  kubectl get pods -A -o json | dct2notation verify --config migration.yaml --images -`,
	}
	o.Common.Bind(c.Flags())
	o.RemoteOptions.Bind(c.Flags())
	o.SelectOptions.Bind(c.Flags())
	o.Shard.Bind(c.Flags())
	o.Results.Bind(c.Flags())
	output.Formats(c.Flags())
	c.Flags().StringVar(&o.trustPolicy, "trust-policy", "", "trust policy (default: notation's trustpolicy.json)")
	o.BindVerbose(c.Flags(), "on a terminal too, print the result in full, and the tags on which both sides agree")
	c.Flags().BoolVar(&o.allTags, "all-tags", false, "also list tags in the registry that neither side signed")
	c.Flags().StringVar(&o.platforms, "platforms", "index", "index: report every tag that only Notation trusts; all: not those whose image is listed by an index that DCT signed")
	c.Flags().StringVar(&o.ledger, "ledger", "", "ledger of the runs to compare with too: reports signatures that are gone, signatures by others and images DCT has withdrawn since; rejects trust data older than the runs have read")
	c.Flags().StringSliceVar(&o.failOn, "fail-on", nil, "also exit with code 4 if a tag is in one of these classes, besides all that do anyway: unsigned, unknown")
	c.Flags().BoolVar(&o.forceTag, "force-referrers-tag", false, "find signatures with the referrers tag schema, without trying the referrers API")
	c.Flags().StringVar(&o.images, "images", "", "look up the images of this list in place of repositories, or - for stdin: what kubectl get pods -A -o json writes, or references with a tag or digest, one per line")
	o.bindWatch(c.Flags())
	cli.Grouped(c.Flags(), cli.GroupLimits, func(f *pflag.FlagSet) {
		f.IntVar(&o.workers, "concurrency", 64, "tags compared in parallel")
		f.IntVar(&o.sample, "sample", 0, "compare this many tags of each repository, chosen at random (0: all)")
		f.StringVar(&o.seed, "sample-seed", "", "seed printed by an earlier --sample, to choose the same tags")
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := session.LoadConfig(c)
		if err != nil {
			return err
		}
		ctx, cancel := cli.Until(c.Context(), stop)
		defer cancel()
		return runVerify(ctx, stop, o, cfg, args, s)
	}
	return c
}

// checkVerify refuses what means nothing.
func (o *verifyOptions) checkVerify() error {
	switch {
	case o.workers < 1:
		return cli.Usage(errors.New("--concurrency must be at least 1"))
	case o.sample < 0:
		return cli.Usage(fmt.Errorf("--sample %d: it is 0 (all tags) or more", o.sample))
	case o.sample == 0 && o.seed != "":
		return cli.Usage(errors.New("--sample-seed is of a sample: give --sample too"))
	case o.platforms != "index" && o.platforms != "all":
		return cli.Usage(fmt.Errorf("--platforms %s: must be index or all", o.platforms))
	}
	for _, class := range o.failOn {
		if !slices.Contains(failClasses(), class) {
			return cli.Usage(fmt.Errorf("--fail-on %s: must be one of %s", safetext.Safe(class, 64), strings.Join(failClasses(), ", ")))
		}
	}
	return errors.Join(o.checkWatch(), o.checkImages())
}

// failClasses are the classes that --fail-on takes: all but the one on which all is well.
func failClasses() (all []string) {
	for _, c := range report.Classes() {
		if c != verify.Agree {
			all = append(all, string(c))
		}
	}
	return all
}

func runVerify(ctx context.Context, stop <-chan struct{}, o verifyOptions, cfg session.Config, args []string, s cli.Streams) error {
	for _, check := range []func() error{o.CheckResult, o.RemoteOptions.Check, o.SelectOptions.Check, o.CheckReports, o.checkVerify} {
		if err := check(); err != nil {
			return err
		}
	}
	session.UseNotationFolders()
	log := o.Logger(s.Err)
	if o.images != "" {
		return o.lookUp(ctx, cfg, args, s, log)
	}
	if o.every > 0 {
		return o.watch(ctx, stop, cfg, args, s, log)
	}
	_, err := o.pass(ctx, cfg, args, liveVerify(&o.Common, o.Shard.String(), s.Out), s, log)
	return err
}

// passed is what a pass has looked at, whatever it found.
type passed struct {
	whole bool // all was compared, and nothing left unknown
	all   bool // it came to all repositories there are
}

// pass compares both sides once.
func (o *verifyOptions) pass(ctx context.Context, cfg session.Config, args []string, out report.Verify, s cli.Streams, log *slog.Logger) (passed, error) {
	ledger, record, err := session.OpenRecord(o.ledger, log)
	if err != nil {
		return passed{}, err
	}
	if ledger != nil {
		defer func() { _ = ledger.Close() }() // only read from
		if err := o.Shard.CheckLedger(ledger.Known); err != nil {
			return passed{}, err
		}
	}
	if record != nil && len(args)+len(cfg.Repositories) == 0 && o.Discover == session.DiscoverList {
		cfg.Repositories = record.GUNs()
	}
	if o.told == nil {
		o.told = session.Told{}
	}
	access := session.Access{ReadOnly: true, ForceTag: o.forceTag, Record: record, Transport: o.transport, Monitor: o.monitor, Told: o.told}
	f, err := session.Connect(ctx, o.RemoteOptions, o.SelectOptions, cfg, args, access, s, log)
	if err != nil {
		return passed{}, err
	}
	defer func() { _ = f.Close() }() // only read from
	o.transport = f.Transport
	verifier, err := o.OpenVerifier(o.trustPolicy, f.Transport)
	if err != nil {
		return passed{}, err
	}
	warnOfStore(o.trustPolicy, log)
	v := &verify.Verification{
		Trust: f.Reader(), Registry: &session.ImageRegistry{Client: f.Registry}, Scope: f.Scope,
		AllTags: o.allTags || slices.Contains(o.failOn, string(verify.NoneSigned)),
		Judge:   &session.Judge{Client: f.Registry, Of: signature.Judge{Verifier: verifier}}, Workers: o.workers, Readers: o.NotaryLimit,
		AllPlatforms: o.platforms == "all",
	}
	if o.sample > 0 {
		v.Sample, v.Seed = o.sample, cmp.Or(o.seed, rand.Text())
		f.Asked += fmt.Sprintf(" sample=%d", o.sample)
		log.Info("a sample is compared, not all tags", "per_repository", v.Sample, "seed", v.Seed)
	}
	if err := session.CompareWith(v, f.Registry, ledger, record); err != nil {
		return passed{}, err
	}
	if chosen := tagsLeftOut(f.Choice); len(chosen) > 0 {
		log.Warn("only the selected tags are compared", "chosen_by", strings.Join(chosen, " "))
	}
	return o.compare(ctx, v, f, errors.Join(f.Unlisted, ledger.Part()), out, s, log)
}

// warnOfStore tells of a trust store beside the trust policy: it counts for nothing, and what
// policy writes belongs together.
func warnOfStore(trustPolicy string, log *slog.Logger) {
	if trustPolicy == "" {
		return
	}
	folder := filepath.Dir(trustPolicy)
	beside, err := os.Stat(filepath.Join(folder, dir.TrustStoreDir))
	if err != nil || !beside.IsDir() {
		return
	}
	read, err := dir.ConfigFS().SysPath(dir.TrustStoreDir)
	if err != nil {
		return
	}
	if used, err := os.Stat(read); err == nil && os.SameFile(used, beside) {
		return
	}
	log.Warn("notation's own trust store is used, not the one next to the trust policy; to use both, as policy writes them, set NOTATION_CONFIG to their folder", "folder", folder, "read", read)
}

// compare verifies, and shows and saves what came of it. lacking is why it cannot speak of all that is
// meant; nil: it can.
func (o *verifyOptions) compare(ctx context.Context, v *verify.Verification, f *session.Session, lacking error, out report.Verify, s cli.Streams, log *slog.Logger) (passed, error) {
	saved, err := o.Record(f.Head(report.OfVerify), o.Output, log)
	if err != nil {
		return passed{}, err
	}
	totals, leftOut, unseen, deleted := report.Totals{}, 0, 0, 0
	meter := output.NewComparing(&o.Common, s, len(f.GUNs))
	err = v.Verify(ctx, f.GUNs, func(one verify.Repository) error {
		meter.Compared(one)
		totals.Add(one)
		leftOut += one.LeftOut
		if one.PinnedBy == dct.PinnedTOFU {
			unseen++
		}
		if one.Deleted {
			deleted++
		}
		o.monitor.Compared(compared(one))
		saved.Note(func(l *report.Lines) error { return report.Verified(l, one) })
		return out.Repository(one)
	})
	meter.Finish()
	output.WarnOfUnseen(unseen, log)
	f.TellUnmatchedTags(log)
	chosen := len(tagsLeftOut(f.Choice)) > 0
	switch {
	case err != nil || !totals.Empty():
	case len(f.GUNs) == 0 && f.Shard.Count > 0: // there are fewer repositories than shards
	case chosen:
		err = errNothingChosen
	case deleted == 0:
		err = errNothingCompared
	default:
		log.Info("everything that was compared was deleted from Notary, and Notation trusts none of it either", "repositories", deleted)
	}
	err = cli.Reported(err) // the rows say what its cause is
	part := err
	if part == nil && chosen {
		part = report.ErrChosen
	}
	if lacking != nil {
		part = errors.Join(part, lacking)
	}
	end := ending(totals, leftOut, part)
	looked := passed{whole: end.Complete && !totals.Unknown(), all: err == nil && lacking == nil}
	if endErr := errors.Join(out.End(totals, part), saved.Finish(end, o.Output, o.Verbose, s.Out)); endErr != nil {
		return looked, errors.Join(err, endErr)
	}
	if errors.Is(err, dct.ErrNothingRead) && (totals.Disagree() || totals.Unknown()) {
		// The rows say it of each repository, and the exit code is theirs. Repositories that
		// were found, and have no trust data, make no rows.
		if of := (*dct.Error)(nil); errors.As(err, &of) && errors.Is(err, dct.ErrUnpinnedRoot) {
			s.Then.Pin(of.GUN)
		}
		if o.Output != "text" {
			log.Error("reading trust data", cli.Reasoned(err.Error())...)
		}
		err = nil
	}
	switch {
	case err != nil && o.every == 0 && o.Twice(s):
		return looked, cli.Shown(err)
	case err != nil:
		return looked, err
	case totals.Disagree(), o.fails(totals, log):
		return looked, cli.Exit(cli.ExitDisagree)
	case totals.Unknown(), lacking != nil:
		return looked, cli.Exit(cli.ExitFailures)
	}
	return looked, nil
}

// fails reports whether a class that --fail-on names has tags.
func (o *verifyOptions) fails(totals report.Totals, log *slog.Logger) (fails bool) {
	for _, class := range o.failOn {
		if n := totals[verify.Class(class)]; n > 0 {
			log.Error("tags are in a class of --fail-on", "class", class, "tags", n)
			fails = true
		}
	}
	return fails
}

// ending is what is saved of how a verification ended. A part is no whole.
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

// liveVerify writes the result as it comes, for the formats that can.
func liveVerify(o *cli.Common, shard string, out io.Writer) report.Verify {
	screen, ok := o.Screen(out)
	switch {
	case ok:
		return screen.Verify(out, time.Now())
	case o.Output == "text":
		return report.NewVerifyText(out, o.Verbose, time.Now())
	case o.Output == "json":
		return report.NewVerifyJSON(out, cli.Tool(), shard)
	}
	return report.NewVerifyText(io.Discard, false, time.Now())
}
