package migrate

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/dct"
)

// meeting makes readers wait for each other, and counts how many met.
type meeting struct {
	Trust
	mu        sync.Mutex
	now, most int
	full      chan struct{} // closed when as many as wanted are there
	wanted    int
}

func (m *meeting) Read(ctx context.Context, gun dct.GUN, known dct.Known) (*dct.Repository, error) {
	m.mu.Lock()
	m.now++
	m.most = max(m.most, m.now)
	if m.now == m.wanted && m.full != nil {
		close(m.full)
		m.full = nil
	}
	full := m.full
	m.mu.Unlock()
	if full != nil {
		select {
		case <-full:
		case <-time.After(5 * time.Second):
		}
	}
	defer func() {
		m.mu.Lock()
		m.now--
		m.mu.Unlock()
	}()
	return m.Trust.Read(ctx, gun, known)
}

// As many repositories are read at the same time as requested, by default one. Results keep the
// order of the names.
func TestRepositoriesAreReadSideBySide(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var names []string
	for i := range 8 {
		names = append(names, fmt.Sprintf("registry.example.com/r%d", i))
		s.Publish(names[i], fmt.Sprintf("v%d", i))
	}
	for want, readers := range map[int]int{1: 0, 4: 4} {
		trust := func() *meeting { return &meeting{Trust: s.Trust(), wanted: want, full: make(chan struct{})} }
		m := trust()
		s.mutate = func(e *Engine) { e.Trust, e.Readers = m, readers }
		p := s.plan(names...)
		for i, r := range p.Repositories {
			if r.GUN != names[i] || len(r.Items) != 1 {
				t.Errorf("repository %d of the plan: got %s with %d items, want %s with 1", i, r.GUN, len(r.Items), names[i])
			}
		}
		planned := m.most
		m = trust()
		summary, _, err := s.run(names...)
		s.Must(err)
		ran := m.most
		if planned != want || ran != want || summary.Repositories != 8 {
			t.Errorf("%d readers: got %d for the plan and %d for the run of %d repositories, want %d at the same time",
				readers, planned, ran, summary.Repositories, want)
		}
	}
}
