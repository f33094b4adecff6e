package output

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// Saving shows how far a snapshot has come: on a terminal as a bar, elsewhere as lines. It is safe for concurrent
// use.
type Saving struct {
	log   *slog.Logger
	lines bool
	stop  func()

	mu               sync.Mutex
	of, done, failed int
	spoke            time.Time
}

// NewSaving begins the display for that many repositories.
func NewSaving(o *cli.Common, to cli.Streams, repositories int, log *slog.Logger) *Saving {
	s := &Saving{log: log, lines: o.ProgressOn(to.Err) == nil, of: repositories, spoke: time.Now()}
	s.stop = Meter(o, to, s.far)
	return s
}

// Saved records a repository.
func (s *Saving) Saved(one snapshot.Saved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done++
	if one.Outcome == snapshot.Failed {
		s.failed++
	}
	if s.lines && time.Since(s.spoke) > cli.Heartbeat {
		s.spoke = time.Now()
		s.log.Info("progress", "done", s.done, "of", s.of)
	}
	s.log.Debug("saved", "repository", one.GUN.String(), "outcome", string(one.Outcome))
}

func (s *Saving) far() (far cli.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	far.Percent = 100 * s.done / max(s.of, 1)
	far.Text = fmt.Sprintf("saved: %d of %s", s.done-s.failed, safetext.Count(s.of, "repository"))
	far.Fail(s.failed, "failed")
	return far
}

// Finish ends the display.
func (s *Saving) Finish() { s.stop() }
