package e2e

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// lateWrites makes a registry carry out one manifest in three with a delay, whether or not the
// sender still exists, like a proxy that has accepted the request. The run after a kill may
// therefore look before its predecessor's write is visible. A program without a ledger of its own
// then signs again.
type lateWrites struct {
	flying sync.WaitGroup
}

const latest = 250 * time.Millisecond

func (l *lateWrites) hook(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
	if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/") || rand.N(3) != 0 {
		return false
	}
	l.flying.Add(1)
	defer l.flying.Done()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return true // the sender died before everything was sent
	}
	time.Sleep(rand.N(latest))
	r = r.WithContext(context.WithoutCancel(r.Context()))
	r.Body = io.NopCloser(bytes.NewReader(body))
	next.ServeHTTP(w, r)
	return true
}

// wait returns when every write has been carried out. Nobody may send any more requests.
func (l *lateWrites) wait() { l.flying.Wait() }
