package transport

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestRequestsKeepTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &script{answers: answers{status(200)}}
		tr := mustNew(t, Options{Base: base, Limits: func(host string) Limit {
			if host != "r.example:5000" {
				t.Errorf("got asked for the limit of %q, want r.example:5000", host)
			}
			return Limit{PerSecond: 10}
		}})
		var all sync.WaitGroup
		for range 41 {
			all.Go(func() {
				if _, err := send(t, tr, request(t, t.Context(), "GET", "https://R.example:5000/", "")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := base.at[40].Sub(base.at[0]); took < 3999*time.Millisecond || took > 4100*time.Millisecond {
			t.Errorf("41 requests at 10 a second: got %s, want 4s", took)
		}
	})
}

func TestPendingSaysWhatIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &script{answers: answers{status(200)}}
		tr := mustNew(t, Options{Base: base})
		open := func() *http.Response {
			resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "https://r.example/", ""))
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		want := func(all ...Pending) {
			t.Helper()
			if got := tr.Pending(); !slices.Equal(got, all) {
				t.Errorf("got %+v, want %+v", got, all)
			}
		}
		want()
		first := open()
		time.Sleep(20 * time.Second)
		second := open()
		time.Sleep(time.Second)
		want(Pending{Host: "r.example", Requests: 2, Silent: 21 * time.Second})
		_ = second.Body.Close()
		time.Sleep(3 * time.Second)
		want(Pending{Host: "r.example", Requests: 1, Silent: 3 * time.Second})
		_ = first.Body.Close()
		want()
		for _, l := range tr.limiters {
			l.close(time.Minute, "429")
		}
		want(Pending{Host: "r.example", Reason: "429", Left: time.Minute})
	})
}

func TestSlotIsHeldUntilTheBodyIsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &script{answers: answers{status(200)}}
		tr := mustNew(t, Options{Base: base, Limits: func(string) Limit { return Limit{InFlight: 1} }})
		first, err := tr.RoundTrip(request(t, t.Context(), "GET", "https://r.example/", ""))
		if err != nil {
			t.Fatal(err)
		}
		second := make(chan error)
		go func() {
			_, err := send(t, tr, request(t, t.Context(), "GET", "https://r.example/", ""))
			second <- err
		}()
		synctest.Wait()
		if base.count() != 1 {
			t.Fatalf("got %d requests, want the second to wait for the first's body", base.count())
		}
		_ = first.Body.Close()
		_ = first.Body.Close() // closing twice must not free a second slot
		if err := <-second; err != nil || base.count() != 2 {
			t.Errorf("got %v after %d requests, want no error after 2", err, base.count())
		}
	})
}

// An answer that only says what became of a request is read at once, and holds no slot: whoever
// sends more before closing it waits for nobody. A long answer holds its slot.
func TestShortAnswersHoldNoSlot(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		for name, c := range map[string]struct {
			length int
			holds  bool
		}{"short": {100, false}, "long": {maxAhead + 1, true}} {
			synctest.Test(t, func(t *testing.T) {
				text := strings.Repeat("a", c.length)
				base := &script{answers: answers{func(req *http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: http.StatusAccepted, ContentLength: -1, Request: req, Body: io.NopCloser(strings.NewReader(text))}, nil
				}, status(200)}}
				tr := mustNew(t, Options{Base: base, Limits: func(string) Limit { return Limit{InFlight: 1} }})
				first, err := tr.RoundTrip(request(t, t.Context(), method, "https://r.example/", ""))
				if err != nil {
					t.Fatal(err)
				}
				second := make(chan error)
				go func() {
					_, err := send(t, tr, request(t, t.Context(), "GET", "https://r.example/", ""))
					second <- err
				}()
				synctest.Wait()
				if held := base.count() == 1; held != c.holds {
					t.Errorf("%s, %s answer: got a slot held %t, want %t", method, name, held, c.holds)
				}
				got, err := io.ReadAll(first.Body)
				if err != nil || string(got) != text {
					t.Errorf("%s, %s answer: got %d bytes, error %v, want %d", method, name, len(got), err, len(text))
				}
				_ = first.Body.Close()
				if err := <-second; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// With one slot, a request that waits for its next try must let others pass.
func TestWaitingHoldsNoSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &script{answers: answers{status(502), status(200)}}
		tr := mustNew(t, Options{Base: base, Limits: func(string) Limit { return Limit{InFlight: 1} }})
		began := time.Now()
		var all sync.WaitGroup
		all.Go(func() {
			if code, err := send(t, tr, request(t, t.Context(), "GET", "https://r.example/slow", "")); code != 200 || err != nil {
				t.Errorf("got %d, %v, want 200", code, err)
			}
		})
		synctest.Wait() // the first now waits for its second try
		if _, err := send(t, tr, request(t, t.Context(), "GET", "https://r.example/fast", "")); err != nil {
			t.Error(err)
		}
		if time.Since(began) > 0 {
			t.Errorf("the other request: got a wait of %s, want none", time.Since(began))
		}
		all.Wait()
	})
}

// The second request waits for the slot when the first is throttled.
func TestPauseHoldsForThoseAlreadyQueued(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		busy := status(429, "Retry-After", "60")
		base := &script{answers: answers{func(req *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return busy(req)
		}, status(200)}}
		tr := mustNew(t, Options{Base: base, Limits: func(string) Limit { return Limit{InFlight: 1} }})
		began := time.Now()
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				if code, err := send(t, tr, request(t, t.Context(), "GET", "https://r.example/", "")); code != 200 || err != nil {
					t.Errorf("got %d, %v, want 200", code, err)
				}
			})
		}
		all.Wait()
		for _, at := range base.at[1:] {
			if at.Sub(began) < 61*time.Second {
				t.Errorf("got a request after %s, want none within 61s", at.Sub(began))
			}
		}
	})
}

// Waiting for our own limit is not the server's fault and leaves its budget whole.
func TestQueueDoesNotEatTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &script{answers: answers{status(200), status(429, "Retry-After", "60"), status(200)}}
		tr := mustNew(t, Options{Base: base, Limits: func(string) Limit { return Limit{InFlight: 1} }})
		first, err := tr.RoundTrip(request(t, t.Context(), "GET", "https://r.example/", ""))
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(10*time.Minute, func() { _ = first.Body.Close() })
		if code, err := send(t, tr, request(t, t.Context(), "GET", "https://r.example/", "")); code != 200 || err != nil {
			t.Errorf("got %d, %v, want 200", code, err)
		}
	})
}

func TestFailedTryGivesItsSlotBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &script{answers: answers{failing(errUnknown), failing(errUnknown), status(200)}}
		tr := mustNew(t, Options{Base: base, Limits: func(string) Limit { return Limit{InFlight: 1} }})
		for range 2 {
			if _, err := send(t, tr, request(t, t.Context(), "GET", "https://r.example/", "")); !errors.Is(err, errUnknown) {
				t.Fatal(err)
			}
		}
		if code, err := send(t, tr, request(t, t.Context(), "GET", "https://r.example/", "")); code != 200 || err != nil {
			t.Errorf("got %d, %v, want 200", code, err)
		}
	})
}

// pipe answers 200 with a body that the test writes.
func pipe() (*io.PipeWriter, func(*http.Request) (*http.Response, error)) {
	r, w := io.Pipe()
	return w, func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: r, Request: req}, nil
	}
}

// A stalled answer to a push keeps its status. Whoever reads the text learns that it stalled, as
// with a GET.
func TestStalledBodyEnds(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "PUT"} {
		synctest.Test(t, func(t *testing.T) {
			w, answer := pipe()
			tr := mustNew(t, Options{Base: &script{answers: answers{answer, status(200)}},
				Limits: func(string) Limit { return Limit{InFlight: 1} }})
			began := time.Now()
			go func() {
				_, _ = w.Write([]byte("half"))
			}()
			resp, err := tr.RoundTrip(request(t, t.Context(), method, "https://r.example/", ""))
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("%s: got answer %v, error %v, want status 200", method, resp, err)
			}
			data, err := io.ReadAll(resp.Body)
			if !errors.Is(err, ErrStalled) || !Transient(err) || string(data) != "half" || time.Since(began) != 30*time.Second {
				t.Errorf("%s: got %q, %v after %s, want half, %v after 30s", method, data, err, time.Since(began), ErrStalled)
			}
			// Its slot is free although nobody closed the body.
			if code, err := send(t, tr, request(t, t.Context(), "GET", "https://r.example/", "")); code != 200 || err != nil {
				t.Errorf("%s, then: got %d, %v, want 200", method, code, err)
			}
		})
	}
}

func TestTricklingBodyEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, answer := pipe()
		tr := mustNew(t, Options{Base: &script{answers: answers{answer}}})
		began := time.Now()
		var writer sync.WaitGroup
		defer writer.Wait()
		writer.Go(func() {
			for {
				time.Sleep(20 * time.Second)
				if _, err := w.Write([]byte("x")); err != nil {
					return
				}
			}
		})
		resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "https://r.example/", ""))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, ErrStalled) || time.Since(began) > time.Minute {
			t.Errorf("got %v after %s, want %v within a minute", err, time.Since(began), ErrStalled)
		}
	})
}

func TestSlowButSteadyBodyIsRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, answer := pipe()
		tr := mustNew(t, Options{Base: &script{answers: answers{answer}}})
		go func() {
			for range 100 {
				time.Sleep(5 * time.Second)
				if _, err := w.Write(make([]byte, 8<<10)); err != nil {
					return
				}
			}
			_ = w.Close()
		}()
		resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "https://r.example/", ""))
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(resp.Body); err != nil || len(data) != 800<<10 {
			t.Errorf("got %d bytes, %v, want %d", len(data), err, 800<<10)
		}
	})
}
