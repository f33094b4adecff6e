package output

import (
	"log/slog"
	"strings"
	"sync"
	"time"
)

// stallAfter is after how long without any end somebody wonders whether the work goes on at all.
const stallAfter = 30 * time.Second

// A stall says once what the work waits for when nothing has ended for a while, and again when that happens after
// something has ended. It is safe for concurrent use.
type stall struct {
	log   *slog.Logger
	waits func() []string // for what; nothing: it goes on

	mu    sync.Mutex
	timer *time.Timer // nil: nothing is watched, or no more
	now   string      // what it waits for; empty: it goes on
}

func newStall(log *slog.Logger, waits func() []string) *stall {
	s := &stall{log: log, waits: waits}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(stallAfter, s.stalled)
	return s
}

func (s *stall) stalled() {
	text := strings.Join(s.waits(), ", ") // outside the lock: it takes others
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

// moved says that something has ended.
func (s *stall) moved() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.now = ""
		s.timer.Reset(stallAfter)
	}
}

// reason is what it waits for; empty: it goes on.
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
