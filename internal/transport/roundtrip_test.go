package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

type answers = []func(*http.Request) (*http.Response, error)

func TestRetryAfterIsHonouredInFull(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		code    int
		headers []string
		want    time.Duration
	}{
		{"429 in seconds", 429, []string{"Retry-After", "47"}, 47 * time.Second},
		{"503 in seconds", 503, []string{"Retry-After", "10"}, 10 * time.Second},
		{"as a date, by the server's clock", 429, []string{
			"Retry-After", "Sat, 01 Jan 2022 00:02:00 GMT", "Date", "Sat, 01 Jan 2022 00:00:30 GMT"}, 90 * time.Second},
		{"as a date, by ours", 429, []string{"Retry-After", "Sat, 01 Jan 2000 00:01:00 GMT"}, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				base := &script{answers: answers{status(c.code, c.headers...), status(200)}}
				var w waits
				tr := mustNew(t, Options{Base: base, OnWait: w.told})
				code, err := send(t, tr, request(t, t.Context(), "POST", "https://r.example/token", "form"))
				if code != 200 || err != nil {
					t.Fatalf("got %d, %v, want 200", code, err)
				}
				if waited := base.at[1].Sub(base.at[0]); waited < c.want || waited > c.want+time.Second {
					t.Errorf("got a wait of %s, want %s", waited, c.want)
				}
				if base.bodies[1] != "form" {
					t.Errorf("the repeated request: got %q, want form", base.bodies[1])
				}
				if len(w.all) != 1 || !strings.HasPrefix(w.all[0], "r.example: "+http.StatusText(c.code)) &&
					!strings.Contains(w.all[0], "Retry-After") {
					t.Errorf("got %q announced, want one that names r.example and the reason", w.all)
				}
			})
		})
	}
}

func TestPauseHoldsForAllRequestsToTheHostOnly(t *testing.T) {
	t.Parallel()
	for _, code := range []int{429, 503} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			t.Parallel()
			pauseHolds(t, code)
		})
	}
}

func pauseHolds(t *testing.T, code int) {
	synctest.Test(t, func(t *testing.T) {
		base := &script{answers: answers{status(code, "Retry-After", "60"), status(200)}}
		var w waits
		tr := mustNew(t, Options{Base: base, OnWait: w.told})
		began := time.Now()
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Second) // the first meets the 429, the rest the pause
				if _, err := send(t, tr, request(t, t.Context(), "GET", "https://r.example/v2/", "")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Go(func() {
			time.Sleep(5 * time.Second)
			if _, err := send(t, tr, request(t, t.Context(), "GET", "https://other.example/v2/", "")); err != nil {
				t.Error(err)
			}
			if waited := time.Since(began); waited > 6*time.Second {
				t.Errorf("another host: got a wait until %s, want at most 6s", waited)
			}
		})
		all.Wait()
		for i, at := range base.at[2:] { // 0 met the 429, 1 is the other host
			if at.Sub(began) < time.Minute {
				t.Errorf("request %d: got it after %s, want none within the pause", i, at.Sub(began))
			}
		}
		if len(w.all) != 1 {
			t.Errorf("one pause: got %q announced, want it once", w.all)
		}
	})
}

func TestLastAnswerSurvivesTheBudget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		answer   func(*http.Request) (*http.Response, error)
		code     int
		requests int
	}{
		{"tries used up", status(500), 500, 7},
		{"Retry-After longer than the budget", status(429, "Retry-After", "86400"), 429, 1},
		{"Retry-After beyond counting", status(503, "Retry-After", "99999999999999999999"), 503, 1},
		{"budget used up by pauses", status(429, "Retry-After", "100"), 429, 3},
		{"permanent", status(404), 404, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				base := &script{answers: answers{c.answer}}
				tr := mustNew(t, Options{Base: base})
				code, err := send(t, tr, request(t, t.Context(), "GET", "https://r.example/v2/", ""))
				if code != c.code || err != nil || base.count() != c.requests {
					t.Errorf("got %d, %v after %d requests; want %d after %d", code, err, base.count(), c.code, c.requests)
				}
			})
		})
	}
}

func TestLongPauseIsAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &script{answers: answers{status(429, "Retry-After", "3600"), status(200)}}
		tr := mustNew(t, Options{Base: base})
		if _, err := send(t, tr, request(t, t.Context(), "GET", "https://r.example/v2/", "")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err := send(t, tr, request(t, t.Context(), "GET", "https://r.example/v2/", ""))
		var throttled *ThrottledError
		if !errors.As(err, &throttled) || throttled.Wait != time.Hour || time.Since(began) > 0 {
			t.Errorf("got %v after %s, want a wait of an hour told at once", err, time.Since(began))
		}
	})
}

func TestOnlyHarmlessRequestsAreRepeated(t *testing.T) {
	t.Parallel()
	const repo = "https://r.example/v2/app"
	for _, c := range []struct {
		name, method, url, body string
		opaque                  bool // the body cannot be had twice
		answer                  func(*http.Request) (*http.Response, error)
		requests                int
	}{
		{name: "reset of a GET", method: "GET", url: repo + "/tags/list", answer: failing(syscall.ECONNRESET), requests: 2},
		{name: "GET without an answer", method: "GET", url: repo + "/tags/list", answer: failing(io.EOF), requests: 2},
		{name: "cut GET", method: "HEAD", url: repo + "/manifests/v1", answer: failing(io.ErrUnexpectedEOF), requests: 2},
		{name: "timeout of a PUT", method: "PUT", url: repo + "/manifests/v1", body: "x", answer: failing(ErrStalled), requests: 2},
		{name: "starting an upload", method: "POST", url: repo + "/blobs/uploads/", answer: failing(syscall.ECONNRESET), requests: 2},
		{name: "a blob in the request that starts its upload", method: "POST", url: repo + "/blobs/uploads/?digest=sha256:0", body: "x", answer: failing(syscall.ECONNRESET), requests: 1},
		{name: "500 of such a one", method: "POST", url: repo + "/blobs/uploads/?digest=sha256:0", body: "x", answer: status(500), requests: 1},
		{name: "429 of such a one", method: "POST", url: repo + "/blobs/uploads/?digest=sha256:0", body: "x", answer: status(429), requests: 2},
		{name: "reset of another POST", method: "POST", url: "https://r.example/token", body: "x", answer: failing(syscall.ECONNRESET), requests: 1},
		{name: "502 of another POST", method: "POST", url: "https://r.example/token", body: "x", answer: status(502), requests: 1},
		{name: "503 of another POST", method: "POST", url: "https://r.example/token", body: "x", answer: status(503), requests: 2},
		{name: "body that is gone", method: "PUT", url: repo + "/manifests/v1", body: "x", opaque: true, answer: status(429), requests: 1},
		{name: "408", method: "GET", url: repo + "/tags/list", answer: status(408), requests: 2},
		{name: "unknown error", method: "GET", url: repo + "/tags/list", answer: failing(errUnknown), requests: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				base := &script{answers: answers{c.answer, status(201)}}
				tr := mustNew(t, Options{Base: base})
				req := request(t, t.Context(), c.method, c.url, c.body)
				if c.opaque {
					req.GetBody = nil
				}
				_, _ = send(t, tr, req)
				if base.count() != c.requests {
					t.Errorf("got %d requests, want %d", base.count(), c.requests)
				}
				for i, b := range base.bodies {
					if b != c.body {
						t.Errorf("request %d: got %q, want %q", i, b, c.body)
					}
				}
			})
		})
	}
}

// A caller with a pace of its own gets each failure at once. What the server asks for still
// counts.
func TestOwnPaceIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer  func(*http.Request) (*http.Response, error)
		waits   time.Duration // until the next request is sent
		refused int
	}{
		"429":              {status(429), 0, 429},
		"503":              {status(503), 0, 503},
		"asked for 429":    {status(429, "Retry-After", "60"), time.Minute, 429},
		"asked for by 503": {status(503, "Retry-After", "60"), time.Minute, 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				base := &script{answers: answers{c.answer, status(200)}}
				tr := mustNew(t, Options{Base: base})
				began := time.Now()
				for _, want := range []int{c.refused, 200} {
					got, err := send(t, tr, request(t, OwnPace(t.Context()), "POST", "https://tsa.example/", "x"))
					if err != nil || got != want {
						t.Fatalf("got %d, %v, want status %d", got, err, want)
					}
				}
				if took := time.Since(began); base.count() != 2 || took < c.waits || took > c.waits+time.Second {
					t.Errorf("got %d requests in %s, want 2 in %s", base.count(), took, c.waits)
				}
			})
		})
	}
}

func TestBackoffGrows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &script{answers: answers{status(502)}}
		tr := mustNew(t, Options{Base: base})
		_, _ = send(t, tr, request(t, t.Context(), "GET", "https://r.example/", ""))
		for i, ideal := range []time.Duration{1, 2, 4, 8, 16, 30} {
			ideal *= time.Second
			if got := base.at[i+1].Sub(base.at[i]); got < ideal*3/4 || got > ideal*5/4 {
				t.Errorf("wait %d was %s, want about %s", i, got, ideal)
			}
		}
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &script{answers: answers{status(429, "Retry-After", "60")}}
		tr := mustNew(t, Options{Base: base})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(7*time.Second, cancel)
		began := time.Now()
		_, err := send(t, tr, request(t, ctx, "GET", "https://r.example/", ""))
		if !errors.Is(err, context.Canceled) || time.Since(began) != 7*time.Second {
			t.Errorf("got %v after %s, want %v after 7s", err, time.Since(began), context.Canceled)
		}
	})
}

func TestDeadlineTooNearReturnsTheAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &script{answers: answers{status(429, "Retry-After", "60")}}
		tr := mustNew(t, Options{Base: base})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		code, err := send(t, tr, request(t, ctx, "GET", "https://r.example/", ""))
		if code != 429 || err != nil || time.Since(began) > 0 {
			t.Errorf("got %d, %v after %s, want 429 at once", code, err, time.Since(began))
		}
	})
}

// The header of each answer is reported, also of one that is tried again.
func TestAnswersAreTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		date := "Mon, 02 Jan 2006 15:04:05 GMT"
		s := &script{answers: []func(*http.Request) (*http.Response, error){status(500, "Date", date), status(200, "Date", date)}}
		told := 0
		tr := mustNew(t, Options{Base: s, OnAnswer: func(host string, h http.Header) {
			if host == "example.com" && h.Get("Date") == date {
				told++
			}
		}})
		if _, err := send(t, tr, request(t, t.Context(), http.MethodGet, "http://example.com/", "")); err != nil {
			t.Fatal(err)
		}
		if told != 2 {
			t.Errorf("got told %d times, want 2", told)
		}
	})
}

// Each try is reported, with its outcome.
func TestTriesAreTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lost := func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
		s := &script{answers: []func(*http.Request) (*http.Response, error){status(500), lost, status(200)}}
		var told []int
		tr := mustNew(t, Options{Base: s, OnTry: func(r *http.Request, status int) {
			if r.URL.Path == "/v2/" {
				told = append(told, status)
			}
		}})
		if _, err := send(t, tr, request(t, t.Context(), http.MethodGet, "http://example.com/v2/", "")); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(told, []int{500, 0, 200}) {
			t.Errorf("got told %v, want [500 0 200]", told)
		}
	})
}
