package command

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
)

// progress shows what a plan or run does: a bar on a terminal, lines elsewhere. It also
// gathers what the report needs. Its methods are called from several goroutines.
type progress struct {
	log    *slog.Logger
	verb   string
	status *statusFile // nil: none
	saved  *recording  // nil: none
	began  time.Time

	mu     sync.Mutex
	bar    *progressbar.ProgressBar // nil: plain lines
	total  int
	done   int
	spoke  time.Time
	report report.Run
}

// heartbeat is how often a line is written where there is no bar.
const heartbeat = 10 * time.Second

func newProgress(o *commonOptions, w io.Writer, verb string, status *statusFile) *progress {
	now := time.Now()
	p := &progress{log: o.logger(w), verb: verb, status: status, began: now, spoke: now}
	p.report.Started = now
	if o.terminal(w) {
		p.bar = progressbar.NewOptions(-1,
			progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(verb), progressbar.OptionShowCount(),
			progressbar.OptionShowIts(), progressbar.OptionSetItsString("images"), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionEnableColorCodes(os.Getenv("NO_COLOR") == ""), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(true), progressbar.OptionSetRenderBlankState(true))
	}
	return p
}

// observe takes news from the engine.
func (p *progress) observe(ev migrate.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ev.Found > 0 {
		p.total += ev.Found
		if p.bar != nil {
			p.bar.ChangeMax(p.total)
		}
	}
	if ev.Trust != nil {
		p.trust(ev.Trust)
		p.save(func(l *report.Lines) error { return report.Read(l, ev.Trust) })
	}
	if ev.Outcome != nil {
		p.outcome(ev.Outcome)
		p.save(func(l *report.Lines) error { return report.Settled(l, ev.Outcome) })
	}
	if p.status != nil {
		p.status.update(p.report.Counts(), p.total, p.done)
	}
}

func (p *progress) save(step func(*report.Lines) error) {
	if p.saved != nil {
		p.saved.note(step)
	}
}

// clear makes room for a line where a bar is.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear() // a bar that cannot be cleared is no reason to stop
	}
}

func (p *progress) trust(n *migrate.TrustNews) {
	gun := safetext.Safe(n.GUN, 256)
	if n.Err != nil {
		p.clear()
		p.log.Error("trust data not read", append([]any{"repository", gun, "class", string(n.Class)}, reasoned(n.Err.Error())...)...)
		p.report.AddUnread(n)
		return
	}
	if n.PinnedBy == dct.PinnedTOFU {
		p.clear()
		p.log.Warn("root trusted at first sight", "repository", gun, "keys", n.RootKeys)
	}
	if n.Replaced != "" {
		p.clear()
		p.log.Warn("another root accepted", "repository", gun, "what", n.Replaced)
	}
	for _, c := range n.Changed {
		p.clear()
		p.log.Warn("plan changed", "repository", gun, "what", safetext.Safe(c, 512))
	}
	for _, f := range n.Findings {
		p.log.Debug("not signed", "repository", gun, "tag", safetext.Safe(f.Tag, 128), "class", f.Class, "reason", safetext.Safe(f.Detail, 256))
	}
	p.report.AddFindings(n)
	p.log.Debug("trust data verified", "repository", gun, "pinned by", n.PinnedBy, "digests", n.Items)
}

func (p *progress) outcome(o *migrate.Outcome) {
	p.done++
	if o.Result == migrate.ResultFailed {
		p.clear()
		p.log.Error("failed", append([]any{"repository", safetext.Safe(o.Repository, 256), "digest", safetext.Safe(o.Digest, 80), "class", string(o.Class)}, reasoned(o.Reason)...)...)
	}
	for _, note := range o.Notes {
		p.log.Debug("note", "repository", safetext.Safe(o.Repository, 256), "digest", safetext.Safe(o.Digest, 80), "note", safetext.Safe(note, 512))
	}
	p.report.Add(o)
	if p.bar != nil {
		_ = p.bar.Add(1) // drawing is no reason to stop
		return
	}
	if now := time.Now(); now.Sub(p.spoke) >= heartbeat {
		p.spoke = now
		p.log.Info("progress", "done", p.done, "of", p.total, "rate", fmt.Sprintf("%.1f/s", float64(p.done)/now.Sub(p.began).Seconds()))
	}
}

// reasoned gives a log the reason for a failure and, apart from it, what to do.
func reasoned(text string) []any {
	reason, hint, hinted := strings.Cut(text, "\nhint: ")
	attrs := []any{"reason", firstLine(reason)}
	if hinted {
		attrs = append(attrs, "hint", safetext.Safe(strings.ReplaceAll(hint, "\nhint: ", "; "), 1024))
	}
	return attrs
}

// firstLine is what a log takes of a reason.
func firstLine(reason string) string {
	line, _, _ := strings.Cut(reason, "\n")
	return safetext.Safe(line, 1024)
}

// finish ends the display.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// result is the run's report.
func (p *progress) result(s migrate.Summary, err error) *report.Run {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Close(s, err, time.Now())
	if p.status != nil {
		p.status.end(p.report.Counts(), p.total, p.done, err)
	}
	return &p.report
}
