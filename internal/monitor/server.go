package monitor

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	patience  = 5 * time.Second  // for a client to send its request
	answering = 15 * time.Second // until an answer is read
	goodbye   = time.Second      // for clients, at the end
)

// Public reports whether other machines can reach a listener.
func Public(l net.Listener) bool {
	a, ok := l.Addr().(*net.TCPAddr)
	return !ok || !a.IP.IsLoopback()
}

// Serve answers on the listener until the returned function is called, which closes it.
func (m *Monitor) Serve(l net.Listener) (stop func()) {
	s := &http.Server{
		Handler: m.pages(), ReadHeaderTimeout: patience, ReadTimeout: patience, WriteTimeout: answering, IdleTimeout: time.Minute,
		MaxHeaderBytes: 8 << 10,
		ErrorLog:       log.New(io.Discard, "", 0), // clients' errors do not concern us
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // ends when s is closed; a run does not end because nobody can watch it
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), goodbye)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			_ = s.Close() // somebody reads very slowly
		}
		<-done
	}
}

// pages returns all pages. Each answers GET and HEAD.
func (m *Monitor) pages() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4, Timeout: answering - patience, ErrorHandling: promhttp.ContinueOnError,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		h := m.Health()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if h.Status != StatusOK {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(h) // on error the client is gone
	})
	return mux
}
