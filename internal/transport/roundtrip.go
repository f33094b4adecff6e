package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// RoundTrip sends the request. It first waits for the host's limits and pauses, and repeats the request if that is
// harmless. After the budget is used up the response may be a failure (429, 503, ...). The body must be closed, since
// it holds the host's in-flight slot. The error is a *ThrottledError if the host's pause is longer than the budget,
// or wraps the last network error or the context's.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	l, err := t.limiter(req.URL)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	started := time.Now()
	for try := 0; ; try++ {
		if err := l.acquire(req.Context(), t.o.MaxRetryWait-time.Since(started)); err != nil {
			if try == 0 {
				closeBody(req)
			}
			return nil, err
		}
		if try == 0 {
			// Our own limit caused the queue before the first try. It must not use up the patience meant for the
			// server.
			started = time.Now()
		}
		resp, err := t.send(l, req, try)
		v := judge(req, resp, err, try)
		if req.Context().Value(ownPace{}) != nil {
			v.again, v.pause = false, v.pause && v.asked
		}
		if v.pause {
			t.pause(l, v)
		}
		if !v.again || try >= t.o.Retries || !t.affordable(req.Context(), started, v.wait) {
			return resp, tried(err, try)
		}
		discard(resp) // gives the slot back before the wait
		if err := t.wait(req.Context(), l, v); err != nil {
			return nil, err
		}
	}
}

type ownPace struct{}

// OwnPace marks requests of a caller that paces and repeats them itself: it gets each failure. A pause that the
// server asks for still applies.
func OwnPace(ctx context.Context) context.Context {
	return context.WithValue(ctx, ownPace{}, true)
}

// send makes one try. The try has its own context, so that a stalled body can be abandoned, and its own copy of the
// request, which a RoundTripper must not change. On success the body owns the slot; on failure the slot has been
// given back.
func (t *Transport) send(l *hostLimiter, req *http.Request, try int) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	attempt := req.Clone(ctx)
	// http.Client sets Referer on redirects, to an address whose query can be a credential.
	attempt.Header.Del("Referer")
	used.sent(attempt)
	if t.o.UserAgent != "" && attempt.Header.Get("User-Agent") == "" {
		attempt.Header.Set("User-Agent", t.o.UserAgent)
	}
	if try > 0 && req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			cancel()
			l.leave()
			return nil, fmt.Errorf("reading the request body again: %w", err)
		}
		attempt.Body = body
	}
	began := time.Now()
	resp, err := l.base.RoundTrip(attempt)
	if err == nil && resp.StatusCode < http.StatusBadRequest {
		l.answered(time.Since(began))
	}
	if err != nil {
		t.o.OnTry(attempt, 0)
		cancel()
		l.leave()
		return nil, err
	}
	t.o.OnTry(attempt, resp.StatusCode)
	t.o.OnAnswer(l.host, resp.Header)
	done := func() { cancel(); l.leave() }
	if resp.Body == nil || resp.Body == http.NoBody {
		done()
		return resp, nil
	}
	resp.Body = newBody(resp.Body, resp.ContentLength, t.o.IdleBodyTimeout, t.o.BodyTimeout, done)
	if req.Method != http.MethodGet {
		resp.Body = readAhead(resp.Body)
	}
	return resp, nil
}

// maxAhead bounds how much of an answer is read ahead, in bytes.
const maxAhead = 64 << 10

// readAhead reads a short answer, such as a mere status, completely, so that its slot is free. Otherwise a caller
// that sends another request before closing it would wait for a slot while holding one; enough such callers would
// wait forever.
func readAhead(body io.ReadCloser) io.ReadCloser {
	data, err := io.ReadAll(io.LimitReader(body, maxAhead))
	switch {
	case err != nil:
		_ = body.Close() // what was read is passed on, with the error
		return io.NopCloser(io.MultiReader(bytes.NewReader(data), afterError{err}))
	case len(data) < maxAhead:
		_ = body.Close() // all of it was read
		return io.NopCloser(bytes.NewReader(data))
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(data), body), body}
}

// afterError is a reader that has failed.
type afterError struct{ err error }

func (f afterError) Read([]byte) (int, error) { return 0, f.err }

// pause closes the host for as long as the server asked, and announces it if it is new.
func (t *Transport) pause(l *hostLimiter, v verdict) {
	if l.close(v.wait, v.reason) {
		t.o.OnWait(l.host, v.reason, v.wait)
	}
}

// wait waits before the next try. acquire waits out a pause, together with all other requests.
func (t *Transport) wait(ctx context.Context, l *hostLimiter, v verdict) error {
	if v.pause {
		return nil
	}
	t.o.OnWait(l.host, v.reason, v.wait)
	return sleep(ctx, v.wait)
}

// affordable reports whether the next try still begins within the budget and before the request's deadline. If not,
// return the answer at hand rather than wait in vain.
func (t *Transport) affordable(ctx context.Context, started time.Time, wait time.Duration) bool {
	if time.Since(started)+wait > t.o.MaxRetryWait {
		return false
	}
	deadline, ok := ctx.Deadline()
	return ctx.Err() == nil && (!ok || time.Until(deadline) > wait)
}

// tried adds the number of repetitions to an error.
func tried(err error, repetitions int) error {
	if err == nil || repetitions == 0 {
		return err
	}
	return fmt.Errorf("%w (tried %d times)", err, repetitions+1)
}

// discard closes a response that is not returned.
func discard(resp *http.Response) {
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close() // its content is not needed
	}
}

// closeBody closes the body of a request that was never sent, as the contract of http.RoundTripper requires.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // never read: nothing can be lost
	}
}

// sleep waits, or returns the reason why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errBadURL is returned for an address without host or with a scheme other than http(s).
var errBadURL = errors.New("not an http or https address")
