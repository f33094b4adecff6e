package preflight

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/dct2notation/dct2notation/migrate/report"
)

// How far our clock may differ from the servers'. The time of signing and all expiry checks use it.
const (
	smallSkew = time.Minute
	largeSkew = 5 * time.Minute
)

// serverClocks compares our clock with those of the servers that answer. It is called from several goroutines at
// once.
type serverClocks struct {
	mu   sync.Mutex
	skew map[string]time.Duration // of ours, by host: the smallest seen; guarded by mu
}

func newServerClocks() *serverClocks { return &serverClocks{skew: map[string]time.Duration{}} }

// answered records the time of an answer.
func (c *serverClocks) answered(host string, h http.Header) {
	at, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	// SPEC (RFC 9111, 5.1): Age is how long a cache has kept the answer.
	if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
		at = at.Add(time.Duration(age) * time.Second)
	}
	skew := time.Since(at)
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.skew[host]; !ok || skew.Abs() < known.Abs() {
		c.skew[host] = skew
	}
}

// clocks compares our clock with the servers'. If one server disagrees with us and another agrees, the first one is
// wrong.
func (e *exam) clocks() {
	e.clock.mu.Lock()
	defer e.clock.mu.Unlock()
	agreed := false
	for _, skew := range e.clock.skew {
		agreed = agreed || skew.Abs() <= smallSkew
	}
	if len(e.clock.skew) == 0 {
		e.add(report.Check{Check: "clock", Subject: "local", Result: report.Unknown, Detail: "no server sent its time"})
	}
	for _, host := range slices.Sorted(maps.Keys(e.clock.skew)) {
		e.add(clockOf(host, e.clock.skew[host], agreed))
	}
}

func clockOf(host string, skew time.Duration, agreed bool) report.Check {
	c := report.Check{Check: "clock", Subject: host, Result: report.OK, Detail: "agrees with this machine's"}
	if skew.Abs() <= smallSkew {
		return c
	}
	way := "ahead of"
	if skew < 0 {
		way = "behind"
	}
	c.Detail = fmt.Sprintf("this machine's clock is %s %s this server's", skew.Abs().Round(time.Second), way)
	switch {
	case agreed:
		c.Result, c.Hint = report.Warn, "another server agrees with this machine, so this server's clock is probably wrong"
	case skew.Abs() > largeSkew:
		c.Result, c.Hint = report.Fail, "set this machine's clock: it is used for signing times and to check expiry"
	default:
		c.Result, c.Hint = report.Warn, "set this machine's clock"
	}
	return c
}
