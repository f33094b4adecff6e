package notation

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// pace is one key's gate, shared by all who sign with it: when the key's service
// throttles one call, all wait.
type pace struct {
	mu    sync.Mutex
	until time.Time     // closed until then
	delay time.Duration // how long the next closing lasts
	wait  func(time.Duration)
}

const (
	minDelay = 200 * time.Millisecond
	maxDelay = 5 * time.Second
	maxTries = 30 // over two minutes of throttling, more than any quota's window we know of
)

// enter waits until the gate is open.
func (p *pace) enter(ctx context.Context) error {
	for {
		p.mu.Lock()
		d := time.Until(p.until)
		p.mu.Unlock()
		if d <= 0 {
			return ctx.Err()
		}
		// Jitter, or all would come back in the same instant.
		t := time.NewTimer(d + rand.N(200*time.Millisecond))
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

// hit closes the gate after a throttled call, for twice as long as the time before.
func (p *pace) hit() {
	p.mu.Lock()
	if time.Now().Before(p.until) {
		p.mu.Unlock()
		return // calls in flight together count as one
	}
	d := min(max(2*p.delay, minDelay), maxDelay)
	p.delay, p.until = d, time.Now().Add(d)
	p.mu.Unlock()
	if p.wait != nil {
		p.wait(d)
	}
}

// ok notes a call that was not throttled.
func (p *pace) ok() {
	p.mu.Lock()
	p.delay -= p.delay / 10
	p.mu.Unlock()
}

// job is the plugin as one signature sees it. notation-go flattens the errors of plugins
// to text, so the job remembers them, and retries throttled calls below notation-go.
type job struct {
	*plug
	pace  *pace
	cause error
}

// GenerateSignature calls the key, again as long as it throttles.
func (j *job) GenerateSignature(ctx context.Context, req *plugin.GenerateSignatureRequest) (*plugin.GenerateSignatureResponse, error) {
	return paced(ctx, j, func() (*plugin.GenerateSignatureResponse, error) { return j.plug.GenerateSignature(ctx, req) })
}

// GenerateEnvelope calls the key, again as long as it throttles.
func (j *job) GenerateEnvelope(ctx context.Context, req *plugin.GenerateEnvelopeRequest) (*plugin.GenerateEnvelopeResponse, error) {
	return paced(ctx, j, func() (*plugin.GenerateEnvelopeResponse, error) { return j.plug.GenerateEnvelope(ctx, req) })
}

func paced[T any](ctx context.Context, j *job, call func() (T, error)) (T, error) {
	for try := 1; ; try++ {
		if err := j.pace.enter(ctx); err != nil {
			var none T
			j.cause = err
			return none, err
		}
		v, err := call()
		if err == nil {
			j.pace.ok()
			return v, nil
		}
		var e *Error
		if !errors.As(err, &e) || e.Class != Throttled || try >= maxTries {
			j.cause = err
			return v, err
		}
		j.pace.hit()
	}
}
