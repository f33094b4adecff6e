package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
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

// down does not answer for one registry, and counts the repositories it was asked for.
type down struct {
	dct.Source
	host  string
	asked atomic.Int64
}

func (d *down) File(ctx context.Context, gun dct.GUN, name string, limit int64) ([]byte, error) {
	if gun.Registry() != d.host {
		return d.Source.File(ctx, gun, name, limit)
	}
	d.asked.Add(1)
	return nil, &dct.Error{GUN: gun.String(), Role: name, Kind: dct.ErrUnavailable, Err: errors.New("answered 503")}
}

// Each repository of a server that is down costs minutes of repetitions.
func TestServerThatIsDownIsAskedForAFewRepositories(t *testing.T) {
	t.Parallel()
	for _, readers := range []int{1, 8} {
		s := newScene(t, rotated)
		guns := s.guns(t)
		for i := range 1000 {
			guns = append(guns, gun(t, fmt.Sprintf("down.example.com/r%d", i)))
		}
		reader, o := s.reader(), atNoon()
		d := &down{Source: reader.Source, host: "down.example.com"}
		reader.Source, o.Readers = d, readers
		sum, err := Save(t.Context(), t.TempDir(), reader, guns, o)
		if err != nil || sum.Failed != 1000 || sum.Added != 1 {
			t.Errorf("%d readers: added %d, failed %d, %v", readers, sum.Added, sum.Failed, err)
		}
		if n := d.asked.Load(); n > int64(3+readers) {
			t.Errorf("%d readers: asked for %d repositories", readers, n)
		}
		last := sum.Attention[len(sum.Attention)-1].Err
		if !errors.Is(last, dct.ErrUnavailable) || !strings.Contains(last.Error(), "not asked: the Notary server of down.example.com failed for") {
			t.Errorf("%d readers: the reason is %v", readers, last)
		}
	}
}
