package migrate

import (
	"fmt"
	"sync"
	"time"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// Setbacks remembers, between the runs of one process, the items for which the key has failed. Each is tried again
// after Pause, then after twice as long each time, at most after a day. Nothing else is delayed, since nothing else
// costs a key operation. A new process starts without setbacks. It is safe for concurrent use; nil remembers nothing.
type Setbacks struct {
	Pause time.Duration

	mu    sync.Mutex
	items map[state.Key]setback // guarded by mu
}

type setback struct {
	failures int
	until    time.Time
	class    failure.Class
	reason   string
}

const (
	longestSetback = 24 * time.Hour
	// maxSetbacks limits the memory. The breaker ends a run long before that.
	maxSetbacks = 10_000
)

// putOff marks an item that must wait before the key is tried again. It is neither retried in this run nor counted by
// the breaker: nothing new was learned.
type putOff struct{ setback }

func (p *putOff) Error() string {
	return fmt.Sprintf("not tried again before %s, after %d failures, the last: %s",
		p.until.UTC().Format(time.RFC3339), p.failures, p.reason)
}

// hold returns an error if the item must not be tried with the key now.
func (s *Setbacks) hold(k state.Key, now time.Time) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, known := s.items[k]
	if !known || !now.Before(b.until) {
		return nil
	}
	return failure.New(b.class, &putOff{b})
}

// note records that the key failed for the item, after all its tries.
func (s *Setbacks) note(k state.Key, class failure.Class, cause error, now time.Time) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.items == nil || len(s.items) >= maxSetbacks {
		s.items = map[state.Key]setback{} // then all of them are tried again
	}
	failures := s.items[k].failures + 1
	pause := s.Pause << min(failures-1, 20)
	if pause > longestSetback || pause < s.Pause {
		pause = max(longestSetback, s.Pause)
	}
	s.items[k] = setback{failures, now.Add(pause), class, cause.Error()}
}

// forget removes the item, which the key has signed.
func (s *Setbacks) forget(k state.Key) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.items, k)
}
