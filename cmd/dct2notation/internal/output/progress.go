// Package output shows what a verb does and its result: progress on stderr and in the status file beside the ledger,
// saved results and their history.
package output

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
)

// Progress shows what a plan or run does: as a bar on a terminal, as lines elsewhere. It also collects what the
// report needs. Its methods may be called from several goroutines.
type Progress struct {
	log    *slog.Logger
	verb   string
	silent bool // leave out what the result shows to the same person
	lines  bool // there is no terminal, and progress is wanted
	stop   func()
	stall  *stall
	then   *cli.Then
	status *StatusFile // nil: none
	Saved  *recording  // nil: none

	mu       sync.Mutex
	so       Counts
	first    time.Time // when the first signature was made
	spoke    time.Time
	signing  map[string]int // operations in flight, by key
	places   []string       // repositories that have images to be signed, or signed
	unseen   int            // repositories whose root was trusted on first use
	troubles troubles
	Report   report.Run
}

// NewProgress begins the display for that many repositories. pending returns the servers that have been waited for at
// least that long.
func NewProgress(o *cli.Common, to cli.Streams, verb string, repositories int, pending func(time.Duration) []string, status *StatusFile) *Progress {
	now := time.Now()
	p := &Progress{log: o.Logger(to.Err), verb: verb, status: status, spoke: now, so: Counts{Repositories: repositories}, silent: o.Twice(to), then: to.Then, lines: o.ProgressOn(to.Err) == nil}
	p.Report.Started = now
	p.signing = map[string]int{}
	p.stall = newStall(p.log, func() []string {
		all := append(p.keys(), pending(0)...)
		if len(all) == 0 {
			return []string{"no server and no key: this machine may be busy"}
		}
		return all
	})
	p.stop = Meter(o, to, p.far)
	return p
}

// Meter shows a progress bar, if there is a terminal for it, until the returned function is called. It is drawn five
// times a second, however much happens, and even if nothing does, because the time of a wait passes. status is called
// from another goroutine.
func Meter(o *cli.Common, to cli.Streams, status func() cli.Status) (stop func()) {
	t := o.ProgressOn(to.Err)
	if t == nil {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	draw := func() { t.Progress(status(), o.Colored(t)) }
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for draw(); ; draw() {
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(done)
		<-ended
		t.Done()
	})
}

// far returns the progress. Until all repositories are read, it is extrapolated from those that were.
func (p *Progress) far() (s cli.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Percent = 100 * p.so.Done * p.so.Read / max(p.so.Known*p.so.Repositories, 1)
	s.Text = fmt.Sprintf("%s: %s images, %d of %s", p.verb, p.so.Of(), p.so.Read, safetext.Count(p.so.Repositories, "repository"))
	s.Fail(p.Report.Results[migrate.ResultFailed], "failed")
	s.Fail(p.Report.NotRead, "not read")
	if p.so.Rate > 0 {
		s.Rest = p.so.ToGo()
	}
	if waits := p.stall.reason(); waits != "" {
		s.Rest = "waits for " + waits
	}
	return s
}

// keys returns the keys with unanswered operations.
func (p *Progress) keys() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(p.signing)) {
		if n := p.signing[name]; n > 0 {
			all = append(all, fmt.Sprintf("key %s (%s without an answer)", safetext.Safe(name, 128), safetext.Count(n, "operation")))
		}
	}
	return all
}

// Observe receives events from the engine.
func (p *Progress) Observe(ev migrate.Event) {
	if ev.Trust != nil || ev.Outcome != nil {
		p.stall.moved()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if ev.Found > 0 {
		p.so.Known += ev.Found
	}
	if k := ev.Key; k != nil {
		p.signing[k.Name] += map[bool]int{false: 1, true: -1}[k.Ended]
		return
	}
	if ev.Trust != nil {
		p.so.Read++
		p.trust(ev.Trust)
		p.save(func(l *report.Lines) error { return report.Read(l, ev.Trust) })
	}
	if ev.Outcome != nil {
		p.outcome(ev.Outcome)
		p.save(func(l *report.Lines) error { return report.Settled(l, ev.Outcome) })
	}
	if p.status != nil && p.status.due() {
		p.status.update(p.now())
	}
}

// Places returns the repositories that have images signed, or to be signed.
func (p *Progress) Places() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.places)
}

// now returns the progress of the run.
func (p *Progress) now() Counts {
	c := p.so
	c.results = p.Report.Counts()
	return c
}

func (p *Progress) save(step func(*report.Lines) error) {
	if p.Saved != nil {
		p.Saved.Note(step)
	}
}

func (p *Progress) trust(n *migrate.TrustNews) {
	gun := safetext.Safe(n.GUN, 256)
	if n.Err != nil {
		p.Report.AddUnread(n)
		p.then.NotRead(n.Class, n.GUN)
		if cause := failure.HostCause(n.Err); !p.silent && (cause == "" || p.troubles.add(trouble{migrate.HostOf(n.GUN), cause}, n.GUN, "")) {
			p.log.Error("trust data not read", append([]any{"repository", gun, "class", string(n.Class)}, cli.Reasoned(n.Err.Error())...)...)
		}
		return
	}
	if n.Items > 0 {
		p.places = append(p.places, cmp.Or(n.Place, n.GUN))
	}
	if n.PinnedBy == dct.PinnedTOFU {
		p.unseen++
		p.log.Debug("root trusted on first use", "repository", gun, "keys", n.RootKeys)
	}
	if n.Replaced != "" {
		p.log.Warn("another root accepted", "repository", gun, "what", n.Replaced)
	}
	for _, c := range n.Changed {
		p.log.Warn("plan changed", "repository", gun, "what", safetext.Safe(c, 512))
	}
	for _, f := range n.Findings {
		p.log.Debug("not signed", "repository", gun, "tag", safetext.Safe(f.Tag, 128), "class", f.Class, "reason", safetext.Safe(f.Detail, 256))
	}
	p.Report.AddFindings(n)
	p.log.Debug("trust data verified", "repository", gun, "pinned_by", n.PinnedBy, "digests", n.Items)
}

func (p *Progress) outcome(o *migrate.Outcome) {
	p.so.Done++
	if o.Result == migrate.ResultFailed {
		p.then.Fail(o.Class)
	}
	if o.Result == migrate.ResultFailed && !p.silent && (o.HostCause == "" || p.troubles.add(trouble{migrate.HostOf(o.Repository), o.HostCause}, o.Repository, o.Digest)) {
		p.log.Error("failed", append([]any{"repository", safetext.Safe(o.Repository, 256), "digest", safetext.Safe(o.Digest, 80), "class", string(o.Class)}, cli.Reasoned(o.Reason)...)...)
	}
	for _, note := range o.Notes {
		p.log.Debug("note", "repository", safetext.Safe(o.Repository, 256), "digest", safetext.Safe(o.Digest, 80), "note", safetext.Safe(note, 512))
	}
	p.Report.Add(o)
	now := time.Now()
	p.measure(o.Result, now)
	if p.lines && now.Sub(p.spoke) >= cli.Heartbeat {
		p.spoke = now
		p.log.Info("progress", "repositories_read", fmt.Sprintf("%d of %d", p.so.Read, p.so.Repositories), "digests_done", p.so.Of(), "rest", p.so.ToGo())
	}
}

// measure measures the rate of new signatures only: images that are already signed take almost no time, and come in
// bursts.
func (p *Progress) measure(result migrate.Result, now time.Time) {
	signed := p.Report.Results[migrate.ResultSigned]
	switch {
	case result != migrate.ResultSigned:
	case p.first.IsZero():
		p.first = now
	default:
		p.so.Rate = float64(signed-1) / max(now.Sub(p.first).Seconds(), 1e-3)
	}
}

// Of returns how many digests are done, and of how many. Until all repositories are read, there are more than are
// known.
func (c Counts) Of() string {
	if c.Read < c.Repositories {
		return fmt.Sprintf("%d of at least %d", c.Done, c.Known)
	}
	return fmt.Sprintf("%d of %d", c.Done, c.Known)
}

// ToGo returns how long the rest takes, as far as that is known.
func (c Counts) ToGo() string {
	if c.Rate <= 0 {
		return "remaining time not known yet"
	}
	if c.Done >= c.Known {
		return fmt.Sprintf("%.1f signatures/s", c.Rate) // until all repositories are read, nobody knows how much is to come
	}
	rest := time.Duration(float64(c.Known-c.Done) / c.Rate * float64(time.Second)).Round(time.Second)
	if c.Read < c.Repositories {
		return fmt.Sprintf("%.1f signatures/s, at least %s to go", c.Rate, rest)
	}
	return fmt.Sprintf("%.1f signatures/s, %s to go at most", c.Rate, rest)
}

// Finish ends the display.
func (p *Progress) Finish() {
	p.stall.stop()
	p.stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.troubles.sorted() {
		if affects := p.troubles[t].String(); affects != "" {
			p.log.Error("one problem of a host, reported above", "host", safetext.Safe(t.host, 256), "affects", affects)
		}
	}
	WarnOfUnseen(p.unseen, p.log)
}

// WarnOfUnseen warns of repositories whose roots nothing vouched for: whatever is said about them relies on what the
// server shows now.
func WarnOfUnseen(repositories int, log *slog.Logger) {
	if repositories > 0 {
		log.Warn("roots trusted on first use (--tofu); --debug lists them", "repositories", repositories)
	}
}

// Result returns the run's report.
func (p *Progress) Result(s migrate.Summary, err error) *report.Run {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Report.Close(s, err, time.Now())
	if p.status != nil {
		p.status.End(p.now(), err)
	}
	return &p.Report
}

// A trouble is a problem of a whole host. It is reported once when it first occurs, and counted at the end: the
// result lists everything that it affects.
type trouble struct{ host, cause string }

// affected is what a trouble has prevented.
type affected struct {
	images       int
	repositories map[string]bool
}

type troubles map[trouble]*affected

// add records what is affected, and reports whether the trouble is new. Without a digest, the repository's trust data
// is affected.
func (all *troubles) add(t trouble, repository, digest string) (news bool) {
	if *all == nil {
		*all = troubles{}
	}
	a, known := (*all)[t]
	if !known {
		a = &affected{repositories: map[string]bool{}}
		(*all)[t] = a
	}
	if digest != "" {
		a.images++
	}
	a.repositories[repository] = true
	return !known
}

// sorted returns the troubles by host.
func (all troubles) sorted() []trouble {
	return slices.SortedFunc(maps.Keys(all), func(a, b trouble) int {
		return cmp.Or(strings.Compare(a.host, b.host), strings.Compare(a.cause, b.cause))
	})
}

// String is empty if the first report of the trouble said everything.
func (a *affected) String() string {
	switch {
	case a.images == 0 && len(a.repositories) > 1:
		return "the trust data of " + safetext.Count(len(a.repositories), "repository")
	case a.images > 1:
		return safetext.Count(a.images, "image") + " in " + safetext.Count(len(a.repositories), "repository")
	}
	return ""
}
