package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// A script answers requests one after the other; the last answer repeats. It is the network
// of tests that run on fake time.
type script struct {
	mu      sync.Mutex
	answers []func(*http.Request) (*http.Response, error)
	at      []time.Time // when each request arrived
	bodies  []string    // what each request brought
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	brought := ""
	if req.Body != nil {
		data, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		_ = req.Body.Close()
		brought = string(data)
	}
	s.mu.Lock()
	answer := s.answers[min(len(s.at), len(s.answers)-1)]
	s.at = append(s.at, time.Now())
	s.bodies = append(s.bodies, brought)
	s.mu.Unlock()
	return answer(req)
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.at)
}

// status answers with a status and headers given as key, value, ...
func status(code int, headers ...string) func(*http.Request) (*http.Response, error) {
	return func(req *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{
			StatusCode: code, Header: h, Request: req,
			Body: io.NopCloser(strings.NewReader("body")),
		}, nil
	}
}

// failing answers with an error.
func failing(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// waits collects what OnWait reports.
type waits struct {
	mu  sync.Mutex
	all []string
}

func (w *waits) told(host, reason string, _ time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, host+": "+reason)
}

func mustNew(t *testing.T, o Options) *Transport {
	t.Helper()
	tr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func request(t *testing.T, ctx context.Context, method, url, body string) *http.Request {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, r)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// send makes a request and closes its answer.
func send(t *testing.T, tr *Transport, req *http.Request) (int, error) {
	t.Helper()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		return resp.StatusCode, err
	}
	return resp.StatusCode, resp.Body.Close()
}

var errUnknown = errors.New("something else")
