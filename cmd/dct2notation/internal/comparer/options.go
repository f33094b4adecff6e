package comparer

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/runner"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// Sides are the options that verify and ready share: how to read both sides, and what to compare them by.
type Sides struct {
	session.ReadOptions
	TrustPolicy string
	Workers     int
	ForceTag    bool
	Platforms   string
	Ledger      string // of the runs to compare with; empty: none
}

func (o *Sides) check() error {
	switch {
	case o.Workers < 1:
		return cli.Usage(errors.New("--concurrency must be at least 1"))
	case o.Platforms != "index" && o.Platforms != "all":
		return cli.Usage(fmt.Errorf("--platforms %s: must be index or all", o.Platforms))
	}
	return nil
}

// verification compares what a session has selected, also with a ledger if there is one.
func (o *Sides) verification(f *session.Session, ledger *session.Readable, record *verify.Record) (*verify.Verification, error) {
	verifier, err := o.OpenVerifier(o.TrustPolicy, f.Transport)
	if err != nil {
		return nil, err
	}
	v := f.Verification(verifier, nil)
	v.Workers, v.Readers, v.AllPlatforms = o.Workers, o.NotaryLimit, o.Platforms == "all"
	return v, session.CompareWith(v, f.Registry, ledger, record)
}

// record opens the ledger to compare with. The returned function closes it.
func (o *Sides) record(log *slog.Logger) (*session.Readable, *verify.Record, func(), error) {
	ledger, record, err := session.OpenRecord(o.Ledger, log)
	if err != nil || ledger == nil {
		return nil, nil, func() {}, err
	}
	done := func() { _ = ledger.Close() } // only read from
	if err := o.Shard.CheckLedger(ledger.Known); err != nil {
		done()
		return nil, nil, nil, err
	}
	return ledger, record, done, nil
}

// Options are the options of verify.
type Options struct {
	Sides
	output.Results
	AllTags bool
	Sample  int
	Seed    string
	FailOn  []string
	Images  string        // a list of what runs, to look up instead of repositories
	Every   time.Duration // between the passes of a watch; 0: a single pass
	Metrics string        // the address for a watch's metrics; empty: the default, "none": nowhere
}

// Check returns a usage error for options that do not fit together.
func (o *Options) Check() error {
	return cli.FirstError(o.CheckResult, o.CheckReading, o.CheckReports, o.checkVerify, o.Sides.check, o.checkFailOn, o.checkWatch, o.checkImages)
}

func (o *Options) checkVerify() error {
	switch {
	case o.Sample < 0:
		return cli.Usage(fmt.Errorf("--sample %d: it is 0 (all tags) or more", o.Sample))
	case o.Sample == 0 && o.Seed != "":
		return cli.Usage(errors.New("--sample-seed is of a sample: give --sample too"))
	}
	return nil
}

func (o *Options) checkFailOn() error {
	for _, class := range o.FailOn {
		if !slices.Contains(FailClasses(), class) {
			return cli.Usage(fmt.Errorf("--fail-on %s: must be one of %s", safetext.Safe(class, 64), strings.Join(FailClasses(), ", ")))
		}
	}
	return nil
}

// FailClasses returns the classes that --fail-on accepts: all but agree.
func FailClasses() (all []string) {
	for _, c := range report.Classes() {
		if c != verify.Agree {
			all = append(all, string(c))
		}
	}
	return all
}

// checkWatch refuses options that cannot be used with --watch.
func (o *Options) checkWatch() error {
	switch {
	case o.Every == 0:
		return nil
	case o.Every < runner.ShortestWatch:
		return cli.Usage(fmt.Errorf("--watch %s: must be at least %s", o.Every, runner.ShortestWatch))
	case o.Sample > 0:
		return cli.Usage(errors.New("--sample cannot be used with --watch, which says when all was compared last"))
	case o.Output != "text" && o.Output != "json":
		return cli.Usage(fmt.Errorf("--output %s: with --watch it must be text or json\nhint: --report writes the other formats after each pass", o.Output))
	}
	return nil
}

// checkImages refuses options for comparing repositories.
func (o *Options) checkImages() error {
	wrong := ""
	switch {
	case o.Images == "":
		return nil
	case o.Every != 0:
		return cli.Usage(errors.New("--watch cannot be used with --images: a list says what runs at one time\nhint: let cron take a new list each time: kubectl get pods -A -o json | dct2notation verify --images -"))
	case len(o.Reports) > 0:
		return cli.Usage(errors.New("--report cannot be used with --images, whose result has images and no tags\nhint: -o json writes all of it on stdout"))
	case o.Sample > 0:
		wrong = "--sample"
	case o.Ledger != "":
		wrong = "--ledger"
	case o.Shard.Count > 0:
		wrong = "--shard"
	case o.AllTags:
		wrong = "--all-tags"
	case len(o.FailOn) > 0:
		wrong = "--fail-on"
	case o.SelectsTags():
		wrong = "--include-tags and --exclude-tags"
	case o.Output != "text" && o.Output != "json":
		return cli.Usage(fmt.Errorf("--output %s: with --images it must be text or json", o.Output))
	}
	if wrong != "" {
		return cli.Usage(fmt.Errorf("%s cannot be used with --images, which looks up images and no repositories", wrong))
	}
	return nil
}
