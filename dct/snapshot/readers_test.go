package snapshot

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/dct"
)

// meeting lets those who ask for a root wait for each other, and tells how many met.
type meeting struct {
	dct.Source
	wanted    int
	full      chan struct{}
	mu        sync.Mutex
	now, most int
}

func (m *meeting) File(ctx context.Context, gun dct.GUN, name string, limit int64) ([]byte, error) {
	if name == "root" {
		m.mu.Lock()
		m.now++
		m.most = max(m.most, m.now)
		if m.now == m.wanted {
			close(m.full)
		}
		m.mu.Unlock()
		select {
		case <-m.full:
		case <-time.After(5 * time.Second):
		}
		defer func() {
			m.mu.Lock()
			m.now--
			m.mu.Unlock()
		}()
	}
	return m.Source.File(ctx, gun, name, limit)
}

// As many repositories are read at the same time as asked for, and what is saved is the same.
func TestRepositoriesAreSavedSideBySide(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers, nested, rotated)
	one := t.TempDir()
	s.save(t, one)
	four := t.TempDir()
	reader := s.reader()
	m := &meeting{Source: reader.Source, wanted: 4, full: make(chan struct{})}
	reader.Source = m
	o := atNoon()
	o.Readers = 4
	if _, err := Save(t.Context(), four, reader, s.guns(t), o); err != nil || m.most != 4 {
		t.Errorf("%d at the same time, %v", m.most, err)
	}
	if names := differ(tree(t, one), tree(t, four)); len(names) > 0 {
		t.Errorf("differs in %v", names)
	}
}
