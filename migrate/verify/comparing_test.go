package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/migrate"
)

// crowdJudge blocks judges until as many as wanted are there, and counts the most that were there
// at once.
type crowdJudge struct {
	mu        sync.Mutex
	now, most int
	wanted    int
	full      chan struct{} // closed when as many as wanted are there
}

func (c *crowdJudge) Judge(context.Context, migrate.Image) (Verdict, error) {
	c.mu.Lock()
	c.now++
	c.most = max(c.most, c.now)
	if c.now == c.wanted {
		close(c.full)
		c.wanted = 0
	}
	c.mu.Unlock()
	select {
	case <-c.full:
	case <-time.After(5 * time.Second):
	}
	time.Sleep(20 * time.Millisecond) // for more than allowed to arrive
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now--
	return Verdict{}, nil
}

// onlyNamed is a registry that has only the tags that DCT names: the scene's has all tags in each
// repository.
type onlyNamed struct{ migrate.ReadRegistry }

func (onlyNamed) Tags(context.Context, string, func(string) error) error { return nil }

// With one reader, repositories of one tag keep all workers busy, and no more than there are.
// Results come in the order of the names, and a repository that cannot be read keeps its place
// among them.
func TestSmallRepositoriesAreComparedSideBySide(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprintf("registry.example.com/r%d", i))
		if i != 5 {
			s.Publish(names[i], fmt.Sprintf("v%d", i))
		}
	}
	judge := &crowdJudge{wanted: 4, full: make(chan struct{})}
	v := &Verification{Trust: s.Trust(), Registry: onlyNamed{s}, Judge: described{judge}, Workers: 4}
	i := 0
	s.Must(v.Verify(context.Background(), s.GUNs(names...), func(r Repository) error {
		if want := map[bool]int{true: 0, false: 1}[i == 5]; r.GUN != names[i] || r.Totals[DCTOnly] != want || (r.Class != "") != (i == 5) {
			t.Errorf("repository %d: got %+v, want %s with %d %s", i, r, names[i], want, DCTOnly)
		}
		i++
		return nil
	}))
	if judge.most != 4 || i != 10 {
		t.Errorf("got %d tags at the same time, %d repositories, want 4, 10", judge.most, i)
	}
}

// However many tags wait, no repository besides the one whose turn it is stays in memory.
func TestLargeRepositoriesTakeTheirTurn(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	names := []string{"registry.example.com/r0", "registry.example.com/r1"}
	for i, name := range names {
		s.Publish(name, fmt.Sprintf("v%d", i))
	}
	v := &Verification{Trust: s.Trust(), Registry: onlyNamed{s}, Judge: described{noJudge{}}, Workers: 4}
	c := v.begin()
	s.Must(c.tags.Acquire(context.Background(), aheadTags)) // as by a large repository
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan compared, len(names))
	go func() {
		for _, one := range c.all(ctx, s.GUNs(names...)) {
			done <- one
		}
	}()
	select {
	case one := <-done:
		t.Fatalf("beside a large one: got %+v, want it to wait", one)
	case <-time.After(100 * time.Millisecond):
	}
	if len(c.readers) != 1 {
		t.Errorf("got %d with a reader's place, want 1", len(c.readers))
	}
	c.tags.Release(aheadTags)
	for range names {
		if one := <-done; one.err != nil || one.unread != nil {
			t.Errorf("got %+v, want it read without an error", one)
		}
	}
	cancel()
	for _, one := range c.all(ctx, s.GUNs(names...)) {
		if one.err == nil && one.unread == nil {
			t.Error("after the end: got no error, want one")
		}
	}
}

// reads notes the order in which repositories are read.
type reads struct {
	migrate.Trust
	mu    sync.Mutex
	order []string
}

func (r *reads) Read(ctx context.Context, gun dct.GUN, known dct.Known) (*dct.Repository, error) {
	r.mu.Lock()
	r.order = append(r.order, gun.String())
	r.mu.Unlock()
	return r.Trust.Read(ctx, gun, known)
}

// A repository that is read before its turn would wait in memory with its result.
func TestRepositoriesAreReadInOrder(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var names []string
	for i := range 12 {
		names = append(names, fmt.Sprintf("registry.example.com/r%02d", i))
		s.Publish(names[i], fmt.Sprintf("v%d", i))
	}
	trust := &reads{Trust: s.Trust()}
	v := &Verification{Trust: trust, Registry: onlyNamed{s}, Judge: described{noJudge{}}, Workers: 2}
	s.Must(v.Verify(context.Background(), s.GUNs(names...), func(Repository) error { return nil }))
	if !slices.Equal(trust.order, names) {
		t.Errorf("got read in the order %v, want %v", trust.order, names)
	}
}

// gauge counts how many repositories are read at the same time. One host is down.
type gauge struct {
	migrate.Trust
	mu        sync.Mutex
	now, most int
	asked     int // requests to the host that is down
	wanted    int
	full      chan struct{} // closed when as many as wanted are there
}

func (g *gauge) Read(ctx context.Context, gun dct.GUN, known dct.Known) (*dct.Repository, error) {
	if gun.Registry() == "down.example.com" {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.asked++
		return nil, &dct.Error{GUN: gun.String(), Role: "root", Kind: dct.ErrUnavailable, Err: errors.New("answered 503")}
	}
	g.mu.Lock()
	g.now++
	if g.most = max(g.most, g.now); g.now == g.wanted && g.full != nil {
		close(g.full)
		g.full = nil
	}
	full := g.full
	g.mu.Unlock()
	if full != nil {
		select {
		case <-full:
		case <-time.After(5 * time.Second):
		}
	}
	defer func() {
		g.mu.Lock()
		g.now--
		g.mu.Unlock()
	}()
	return g.Trust.Read(ctx, gun, known)
}

// As many repositories are read at the same time as requested, by default one. A Notary server that
// is down is given up.
func TestRepositoriesAreReadSideBySide(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var names []string
	for i := range 8 {
		names = append(names, fmt.Sprintf("registry.example.com/r%d", i))
		s.Publish(names[i], fmt.Sprintf("v%d", i))
	}
	for i := range 100 {
		names = append(names, fmt.Sprintf("down.example.com/r%d", i))
	}
	for want, readers := range map[int]int{1: 0, 4: 4} {
		g := &gauge{Trust: s.Trust(), wanted: want, full: make(chan struct{})}
		v := &Verification{Trust: g, Registry: s, Judge: described{noJudge{}}, Workers: 1, Readers: readers}
		i, reason := 0, ""
		s.Must(v.Verify(context.Background(), s.GUNs(names...), func(r Repository) error {
			if r.GUN != names[i] {
				t.Errorf("repository %d: got %s, want %s", i, r.GUN, names[i])
			}
			i, reason = i+1, r.Reason
			return nil
		}))
		if g.most != want || g.asked > 3+readers {
			t.Errorf("%d readers: got %d at the same time and %d requests of a host that is down, want %d and at most %d", readers, g.most, g.asked, want, 3+readers)
		}
		for _, part := range []string{names[107] + ": not asked: the Notary server of down.example.com failed for", "answered 503", "\nhint: once it answers again"} {
			if !strings.Contains(reason, part) {
				t.Errorf("%d readers: got the reason %q, want %q in it", readers, reason, part)
			}
		}
	}
}

// Joined reasons keep their hints at the end, each once.
func TestReasonsAreJoinedBeforeTheirHints(t *testing.T) {
	t.Parallel()
	for want, reasons := range map[string][]string{
		"a; b":                 {"a", "b"},
		"a; b\nhint: log in":   {"a\nhint: log in", "b\nhint: log in"},
		"a; b; c\nhint: x; y":  {"a\nhint: x", "b", "c\nhint: y"},
		"a\nhint: only of one": {"a\nhint: only of one"},
	} {
		if got := together(reasons...); got != want {
			t.Errorf("%q: got %q, want %q", reasons, got, want)
		}
	}
}
