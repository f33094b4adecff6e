package output

import (
	"log/slog"
	"strings"
	"sync"
	"time"
)

// stallAfter is how long nothing may finish before the user is told what the work waits for.
const stallAfter = 30 * time.Second

// A stall reports once what the work waits for if nothing has finished for a while, and again if that happens after
// something has finished. It is safe for concurrent use.
type stall struct {
	log   *slog.Logger
	waits func() []string // what the work waits for; empty: it goes on

	mu    sync.Mutex
	timer *time.Timer // nil: not watching
	now   string      // what the work waits for; empty: it goes on
}

func newStall(log *slog.Logger, waits func() []string) *stall {
	s := &stall{log: log, waits: waits}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(stallAfter, s.stalled)
	return s
}

func (s *stall) stalled() {
	text := strings.Join(s.waits(), ", ") // not under the lock: it takes other locks
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil {
		return
	}
	if text == "" {
		s.timer.Reset(stallAfter)
		return
	}
	s.now = text
	s.log.Warn("nothing has ended for "+stallAfter.String(), "waits_for", text)
}

// moved records that something has finished.
func (s *stall) moved() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.now = ""
		s.timer.Reset(stallAfter)
	}
}

// reason returns what the work waits for; empty: it goes on.
func (s *stall) reason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *stall) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}
