package transport

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// host answers atOnce requests at a time, each in 20 ms; others wait their turn. It may throttle.
type host struct {
	atOnce chan struct{}
	late   int // one answer in so many also waits for a core of our own; 0: none does

	mu       sync.Mutex
	now      int
	most     int // requests at the same time, since it was last asked
	answered int
	sent     int
	throttle bool
}

const (
	hostTime   = 20 * time.Millisecond
	lateAnswer = 100 * time.Millisecond
)

func (h *host) RoundTrip(req *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.now++
	h.most = max(h.most, h.now)
	throttle := h.throttle
	h.throttle = false
	h.mu.Unlock()
	if !throttle {
		h.atOnce <- struct{}{}
		time.Sleep(hostTime)
		<-h.atOnce
	}
	h.mu.Lock()
	h.sent++
	late := h.late > 0 && h.sent%h.late == 0
	h.mu.Unlock()
	if late {
		time.Sleep(lateAnswer)
	}
	h.mu.Lock()
	h.now--
	h.answered++
	h.mu.Unlock()
	if throttle {
		return status(http.StatusTooManyRequests, "Retry-After", "1")(req)
	}
	return status(http.StatusOK)(req)
}

// since returns how many requests were in flight at most, and how many were answered, since its
// last call.
func (h *host) since() (most, answered int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	most, answered = h.most, h.answered
	h.most, h.answered = h.now, 0
	return most, answered
}

// A host gets as many requests at once as it answers without delay, and not many more.
func TestRequestsInFlightFitTheHost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ atOnce, limit, least, most, late int }{
		"more than are allowed": {1000, 64, 64, 64, 0},
		"more than at first":    {100, 512, 90, 300, 0},
		"fewer than at first":   {4, 256, 4, 32, 0},
		"one":                   {1, 1, 1, 1, 0},
		"while we are busy":     {1000, 256, 256, 256, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := &host{atOnce: make(chan struct{}, c.atOnce), late: c.late}
				tr := mustNew(t, Options{Base: h, Limits: func(string) Limit { return Limit{InFlight: c.limit} }})
				stop := make(chan struct{})
				var all sync.WaitGroup
				for range 600 {
					all.Go(func() {
						for {
							select {
							case <-stop:
								return
							default:
							}
							if code, err := send(t, tr, request(t, t.Context(), "GET", "https://r.example/", "")); code != 200 || err != nil {
								t.Errorf("got %d, %v, want 200", code, err)
								return
							}
						}
					})
				}
				time.Sleep(5 * time.Second)
				h.since()
				time.Sleep(5 * time.Second)
				most, answered := h.since()
				took := hostTime
				if c.late > 0 {
					took += lateAnswer / time.Duration(c.late)
				}
				possible := min(c.atOnce, c.limit) * int(5*time.Second/took)
				if most < c.least || most > c.most || answered < possible*9/10 {
					t.Errorf("got up to %d requests in flight and %d answers, want %d to %d, and %d answers", most, answered, c.least, c.most, possible)
				}
				h.mu.Lock()
				h.throttle = true
				h.mu.Unlock()
				time.Sleep(1300 * time.Millisecond) // the pause, and what it is spread by
				h.since()
				time.Sleep(25 * time.Millisecond)
				if now, _ := h.since(); c.limit > 1 && now > most*4/5 {
					t.Errorf("after it was throttled: got %d requests in flight, want about half of %d", now, most)
				}
				close(stop)
				all.Wait()
			})
		})
	}
}
