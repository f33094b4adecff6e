package cli

import (
	"context"
	"io"
	"log/slog"
	"time"
)

// AnnounceEnd says, when stop is closed, what happens now. The returned function ends it.
func AnnounceEnd(stop <-chan struct{}, log *slog.Logger) func() {
	done := make(chan struct{})
	go func() {
		select {
		case <-stop:
			log.Warn("stopping: finishing work in flight; a second signal stops at once")
		case <-done:
		}
	}()
	return func() { close(done) }
}

// Within returns a channel that is closed when stop is closed or the time has passed; early then
// reports whether the time had passed.
func Within(stop <-chan struct{}, limit time.Duration) (_ <-chan struct{}, early func() bool) {
	signalled := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	if limit <= 0 {
		return stop, func() bool { return false }
	}
	both := make(chan struct{})
	go func() {
		defer close(both)
		t := time.NewTimer(limit)
		defer t.Stop()
		select {
		case <-stop:
		case <-t.C:
		}
	}()
	return both, func() bool { return !signalled() }
}

// Streams are the standard streams of a call.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Then     *Then // what to run next, for a verb to say; may be nil
}

// Until gives a context that ends when stop is closed as well: a verb that changes nothing
// has nothing to finish. It is to be cancelled.
func Until(ctx context.Context, stop <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
