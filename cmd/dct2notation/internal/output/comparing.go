package output

import (
	"fmt"
	"sync"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// Comparing shows on a terminal how far a comparison has come. It is safe for concurrent use.
type Comparing struct {
	stop func()
	then *cli.Then

	stall *stall

	mu                        sync.Mutex
	of, done, tags, amiss, no int
}

// NewComparing begins the display for that many repositories. pending returns the servers that have been waited for
// at least that long: a repository of many tags takes its time.
func NewComparing(o *cli.Common, to cli.Streams, repositories int, pending func(time.Duration) []string) *Comparing {
	c := &Comparing{of: repositories, then: to.Then}
	c.stall = newStall(o.Logger(to.Err), func() []string { return pending(stallAfter) })
	c.stop = Meter(o, to, c.far)
	return c
}

// Compared records a repository.
func (c *Comparing) Compared(r verify.Repository) {
	c.stall.moved()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done++
	c.tags += len(r.Tags)
	if r.Class != "" {
		c.no++
		c.then.NotRead(r.Failure, r.GUN)
	}
	for _, t := range r.Tags {
		if !t.Class.Agrees() {
			c.amiss++
			c.then.Differ(t.Class)
		}
	}
}

func (c *Comparing) far() (s cli.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Percent = 100 * c.done / max(c.of, 1)
	s.Text = fmt.Sprintf("compared: %s, %d of %s", safetext.Count(c.tags, "tag"), c.done, safetext.Count(c.of, "repository"))
	s.Fail(c.amiss, "do not agree")
	s.Fail(c.no, "not read")
	if waits := c.stall.reason(); waits != "" {
		s.Rest = "waits for " + waits
	}
	return s
}

// Finish ends the display.
func (c *Comparing) Finish() {
	c.stall.stop()
	c.stop()
}
