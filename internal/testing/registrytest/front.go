package registrytest

import (
	"fmt"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// A Hook sees a request before the rate limit, the credentials and the registry do. True means that it
// answered; false lets the request go on to next. It may call next itself, and it may panic with
// http.ErrAbortHandler to cut the connection. It is called from many goroutines at once.
type Hook func(w http.ResponseWriter, r *http.Request, next http.Handler) bool

// LoseAnswer performs the request and cuts the connection instead of answering: the effect has
// happened and the client cannot know. For use in a Hook; it does not return.
func LoseAnswer(r *http.Request, next http.Handler) {
	next.ServeHTTP(newAnswer(), r)
	panic(http.ErrAbortHandler)
}

// front is what a request meets first: counting, latency, the hook and the rate limit.
type front struct {
	next     http.Handler
	latency  time.Duration
	hook     atomic.Pointer[Hook]
	requests atomic.Int64
	log      ring
}

func newFront(o Options, next http.Handler) *front {
	f := &front{latency: o.Latency, next: next}
	if o.MaxPerSecond > 0 {
		limit := rate.NewLimiter(rate.Limit(o.MaxPerSecond), int(math.Ceil(o.MaxPerSecond)))
		f.next = limited(limit, next)
	}
	return f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.requests.Add(1)
	seen := &statusWriter{ResponseWriter: w}
	status := "aborted"
	defer func() { f.log.add(fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, status)) }()
	if f.latency > 0 {
		select {
		case <-time.After(f.latency):
		case <-r.Context().Done():
			return
		}
	}
	if hook := f.hook.Load(); hook == nil || *hook == nil || !(*hook)(seen, r, f.next) {
		f.next.ServeHTTP(seen, r)
	}
	status = seen.String()
}

// limited answers what comes faster than limit with 429.
func limited(limit *rate.Limiter, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !limit.Allow() {
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "rate limit exceeded")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuseDelete answers DELETE with 405, as GHCR does.
func refuseDelete(on bool, next http.Handler) http.Handler {
	if !on {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "deleting is disabled")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// statusWriter remembers the status that went out.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets hooks flush and hijack through http.ResponseController.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *statusWriter) String() string {
	if s.status == 0 {
		return "200" // what net/http sends for a handler that says nothing
	}
	return fmt.Sprint(s.status)
}

// ring keeps the newest lines.
type ring struct {
	mu   sync.Mutex
	kept [4096]string
	n    int // lines ever added
}

func (l *ring) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept[l.n%len(l.kept)] = line
	l.n++
}

func (l *ring) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for i := max(0, l.n-len(l.kept)); i < l.n; i++ {
		out = append(out, l.kept[i%len(l.kept)])
	}
	return out
}
