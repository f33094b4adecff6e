package report

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/dct2notation/dct2notation/dct"
)

// many writes n rows of 20 repositories, each row with texts of its own.
func many(n int) func(l *Lines) error {
	return func(l *Lines) error {
		bound := true
		for i := range n {
			repository := fmt.Sprintf("registry.example.com/team/service-%02d", i*20/n)
			if i*20/n != (i-1)*20/n || i == 0 {
				if err := l.Section(Section{Repository: repository, PinnedBy: "configuration", Expiries: []dct.Expiry{{Role: "targets", At: noon.AddDate(0, 0, i%400)}}}); err != nil {
					return err
				}
			}
			d := fmt.Sprintf("sha256:%064x", i*7919)
			r := Row{Repository: repository, Tags: []string{fmt.Sprintf("v1.%d", i)}, Digest: d, Registry: d, Class: "agree", Role: "targets/releases", Bound: &bound, Expires: noon.AddDate(1, 0, 0)}
			if i%3 == 0 {
				r.Class, r.Registry = "tag-moved", fmt.Sprintf("sha256:%064x", i*104729)
				r.Reason = "the registry has " + r.Registry + " under this tag"
			}
			if err := l.Row(r); err != nil {
				return err
			}
		}
		return nil
	}
}

// A page of 50,000 rows, of which each has something of its own, is below 15 MB; and no rows
// are held while it is written. internal/e2e/browser has that many; the race detector is
// slow with them.
func TestPageOfManyRows(t *testing.T) { // not parallel: it measures memory
	few, _ := mostHeld(t, 5_000)
	lots, size := mostHeld(t, 12_000)
	if lots > few+2<<20 {
		t.Errorf("memory grows with the rows: %d kB, then %d kB", few>>10, lots>>10)
	}
	if size > 15<<20*12/50 {
		t.Errorf("the page has %d bytes", size)
	}
}

// mostHeld is the most memory that is in use while a page of n rows is written, beyond what was
// before, and the size of the page.
func mostHeld(t *testing.T, n int) (most, size int) {
	t.Helper()
	s := saved(t, OfVerify, many(n), End{Complete: true})
	m := &meter{every: 128 << 10}
	before := inUse()
	if err := Render(m, "html", s, Options{Now: noon}); err != nil {
		t.Fatal(err)
	}
	return m.most - before, m.size
}

// A meter reads the memory in use while it is written to.
type meter struct{ every, size, next, most int }

func (m *meter) Write(p []byte) (int, error) {
	if m.size += len(p); m.size >= m.next {
		m.most, m.next = max(m.most, inUse()), m.size+m.every
	}
	return len(p), nil
}

func inUse() int {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}
