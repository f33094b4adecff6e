package runner

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
)

// A Filter narrows a run to what a list names. It is safe for concurrent use.
type Filter struct {
	file     string
	failures *report.Failures

	mu   sync.Mutex
	met  map[report.Named]bool // which of the named things the trust data has
	seen map[string]bool       // repositories that were read
}

// ErrNothingToDo is returned for the list of a result that is complete and has no failures, and for a plan without
// repositories. It is not a failure.
var ErrNothingToDo = errors.New("nothing to do")

// ReadFilter reads the file that --only names.
func ReadFilter(path string) (*Filter, error) {
	failures, err := report.ReadFailures(func() (io.ReadCloser, error) { return os.Open(path) })
	switch {
	case err != nil:
		return nil, cli.Usage(fmt.Errorf("reading the list %s: %w", safetext.Safe(path, 256), err))
	case len(failures.Named) == 0 && !failures.Whole:
		return nil, cli.Usage(fmt.Errorf("the list %s is empty, and the run that wrote it did not finish\nhint: run without --only", safetext.Safe(path, 256)))
	case len(failures.Named) == 0:
		return nil, fmt.Errorf("%w: the list %s is empty", ErrNothingToDo, safetext.Safe(path, 256))
	}
	o := &Filter{file: path, failures: failures, met: map[report.Named]bool{}, seen: map[string]bool{}}
	for _, n := range failures.Named {
		o.met[n] = false
	}
	return o, nil
}

// Repositories returns the names of the repositories in the list.
func (o *Filter) Repositories() ([]string, error) {
	var names []string
	for _, n := range o.failures.Named {
		if _, err := dct.ParseGUN(n.Repository); err != nil {
			return nil, err
		}
		names = append(names, n.Repository)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Matches reports whether the list names the item, in any form.
func (o *Filter) Matches(a migrate.FilterItem) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	asked := false
	note := func(n report.Named) {
		if _, ok := o.met[n]; ok {
			o.met[n], asked = true, true
		}
	}
	for _, repository := range []string{a.GUN, a.Place} {
		note(report.Named{Repository: repository})
		for _, d := range a.Digests {
			note(report.Named{Repository: repository, Digest: d})
		}
		for _, tag := range a.Tags {
			note(report.Named{Repository: repository, Tag: tag})
		}
	}
	return asked
}

// read records that a repository was read: if the list names it as a whole, it was met.
func (o *Filter) read(n *migrate.TrustNews) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, name := range []string{n.GUN, n.Place} {
		o.seen[name] = n.Err == nil
		if _, ok := o.met[report.Named{Repository: name}]; ok {
			o.met[report.Named{Repository: name}] = true
		}
	}
}

// missed returns the error of a run that ended, if the trust data that was read does not have everything that the
// list names, or nothing of it: that is not done either, and nothing else reports it. Unless the run is alone, what the
// list names may be in other shards.
func (o *Filter) missed(alone bool, log *slog.Logger) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var names []string
	some := false
	for n, met := range o.met {
		if some = some || met || o.seen[n.Repository]; !met && o.seen[n.Repository] {
			names = append(names, safetext.Safe(n.String(), 300))
		}
	}
	switch {
	case !some && alone:
		return fmt.Errorf("nothing listed in %s is in the repositories that were read", safetext.Safe(o.file, 256))
	case len(names) == 0:
		return nil
	}
	slices.Sort(names)
	const most = 20
	for _, name := range names[:min(len(names), most)] {
		log.Warn("listed but not found", "what", name, "hint", "DCT does not vouch for it, or it is left out by --plan, --include-tags or --exclude-tags")
	}
	return fmt.Errorf("%d entries of %s are not in the trust data that was read: %s", len(names), safetext.Safe(o.file, 256), safetext.Safe(strings.Join(names, ", "), 1000))
}
