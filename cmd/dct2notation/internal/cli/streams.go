package cli

import (
	"context"
	"io"
	"log/slog"
	"time"
)

// AnnounceEnd logs what happens now when stop is closed. The returned function ends it.
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

// Within returns a channel that is closed when stop is closed or the time is over; early then reports whether it was
// the time.
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
	Then     *Then // collects what to run next; may be nil
}

// Until returns a context that also ends when stop is closed: a verb that changes nothing has nothing to finish. The
// caller must cancel it.
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
