package transport

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A challenge that oras-go closes unread costs no connection.
func TestChallengesCostNoConnections(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/token"):
			_, _ = io.WriteString(w, `{"token":"t"}`)
		case r.Header.Get("Authorization") == "":
			w.Header().Set("Www-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="s",scope="repository:a:pull"`)
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`)
			if r.URL.Query().Has("chunked") {
				w.(http.Flusher).Flush() // its length is not known then
				_, _ = io.WriteString(w, " ")
			}
		}
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	for _, path := range []string{"/v2/a", "/v2/a?chunked"} {
		connections.Store(0)
		rt := mustNew(t, Options{Retries: -1})
		for range 5 {
			// A new client each time: every request is challenged.
			resp, err := Client(rt, nil).Do(request(t, t.Context(), "GET", srv.URL+path, ""))
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}
		// A busy machine may open a second one before the first is free again; one for each
		// challenge would be ten.
		if n := connections.Load(); n > 2 {
			t.Errorf("%s: got %d connections, want at most 2", path, n)
		}
	}
}

// dripping yields a byte an hour.
type dripping struct{ closed chan struct{} }

func (d dripping) Read(p []byte) (int, error) {
	select {
	case <-d.closed:
		return 0, io.ErrClosedPipe
	case <-time.After(time.Hour):
		return copy(p, "x"), nil
	}
}

func (d dripping) Close() error {
	select {
	case <-d.closed:
	default:
		close(d.closed)
	}
	return nil
}

// Closing a body neither waits for one that does not come nor reads a long one.
func TestClosingABodyDoesNotWaitForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began, done := time.Now(), false
		b := newBody(dripping{make(chan struct{})}, 5, time.Minute, time.Hour, func() { done = true })
		_ = b.Close()
		if took := time.Since(began); took > time.Second || !done {
			t.Errorf("got closed after %v, slot given back %v, want at once, and given back", took, done)
		}
		long := strings.NewReader(strings.Repeat("x", 1<<20))
		b = newBody(io.NopCloser(long), 1<<20, time.Minute, time.Hour, func() {})
		_ = b.Close()
		if long.Len() != 1<<20 {
			t.Errorf("a long body: got %d bytes read, want none", 1<<20-long.Len())
		}
		unknown := strings.NewReader(strings.Repeat("x", 1<<20))
		b = newBody(io.NopCloser(unknown), -1, time.Minute, time.Hour, func() {})
		_ = b.Close()
		if read := 1<<20 - unknown.Len(); read > 2*maxDrained {
			t.Errorf("a body of unknown length: got %d bytes read, want at most %d", read, 2*maxDrained)
		}
	})
}

// steady yields bytes at a fixed rate forever.
type steady struct{ perSecond int }

func (s steady) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return min(len(p), s.perSecond), nil
}

func (steady) Close() error { return nil }

// A body at the slowest rate that is not a stall still ends: after BodyTimeout, not before.
func TestSlowBodyEnds(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{slowest, slowest + 1, 1 << 20} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			b := newBody(steady{rate}, -1, 30*time.Second, 10*time.Minute, func() {})
			_, err := io.Copy(io.Discard, b)
			if took := time.Since(began); !errors.Is(err, ErrStalled) || !Transient(err) || !strings.Contains(Hint(err), "--body-timeout") || took != 10*time.Minute {
				t.Errorf("%d bytes a second: got an end after %v, %v, want 10m, %v", rate, took, err, ErrStalled)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		// One that ends in time is whole.
		b := newBody(io.NopCloser(io.LimitReader(steady{1 << 10}, 500<<10)), -1, 30*time.Second, 10*time.Minute, func() {})
		if data, err := io.ReadAll(io.LimitReader(b, 1<<20)); err != nil || len(data) != 500<<10 {
			t.Errorf("got %d bytes, %v, want %d", len(data), err, 500<<10)
		}
	})
}
