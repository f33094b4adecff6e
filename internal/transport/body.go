package transport

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// slowest is the average a body must keep up after IdleBodyTimeout, in bytes per second. It is far below any real
// link; without it a server could drip bytes forever.
const slowest = 1 << 10

// ErrStalled is returned by Read when a response body has sent nothing for IdleBodyTimeout, or only trickles. It is a
// timeout in net.Error's sense, so Transient reports true.
var ErrStalled error = stalledError{}

type stalledError struct{}

func (stalledError) Error() string   { return "the server stopped sending the response body" }
func (stalledError) Timeout() bool   { return true }
func (stalledError) Temporary() bool { return true }

// A slowError is ErrStalled for a body that arrived steadily, but too slowly.
type slowError struct{ limit time.Duration }

func (e slowError) Error() string {
	return fmt.Sprintf("reading the response body took longer than %s", e.limit)
}
func (slowError) Timeout() bool        { return true }
func (slowError) Temporary() bool      { return true }
func (slowError) Is(target error) bool { return target == ErrStalled }

// A body is a response body that gives its in-flight slot back and never blocks without end. Like any body it is read
// by one goroutine; Close may come from another.
type body struct {
	rc      io.ReadCloser
	idle    time.Duration
	limit   time.Duration // spent in Read at most
	finish  func()        // ends the try: cancels its context, gives its slot back; runs once
	stalled atomic.Bool

	reading sync.Mutex    // held by whoever reads
	length  int64         // of the whole body; -1: not known
	spent   time.Duration // inside Read; guarded by reading
	got     int64         // guarded by reading
	over    bool          // read completely, or no longer readable; guarded by reading
}

func newBody(rc io.ReadCloser, length int64, idle, limit time.Duration, done func()) *body {
	return &body{rc: rc, length: length, idle: idle, limit: limit, finish: sync.OnceFunc(done)}
}

func (b *body) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	watch := time.AfterFunc(max(0, min(b.idle, b.limit-b.spent)), b.abandon)
	began := time.Now()
	n, err := b.rc.Read(p)
	watch.Stop()
	b.spent += time.Since(began)
	b.got += int64(n)
	b.over = b.over || err != nil
	late := !b.over && b.spent >= b.limit
	if b.stalled.Load() || late || (err == nil && b.trickles()) {
		b.abandon()
		if late {
			return n, slowError{b.limit}
		}
		// Do not wrap the cause: it is our own cancellation, which callers would mistake for
		// theirs.
		return n, ErrStalled
	}
	if err != nil {
		b.finish()
	}
	return n, err
}

// trickles reports whether the time spent reading is out of proportion to the bytes received.
func (b *body) trickles() bool {
	return b.spent > b.idle+time.Duration(b.got/slowest)*time.Second
}

// abandon ends a try whose body is not worth waiting for; a Read under way returns.
func (b *body) abandon() {
	b.stalled.Store(true)
	b.finish()
	_ = b.rc.Close() // the read reports ErrStalled
}

// maxDrained is how much of an unwanted body is read anyway.
const maxDrained = 8 << 10

// drain reads the short rest of a body, so that the connection can be reused: oras-go closes challenges unread, and
// each would cost a connection with its TLS handshake.
func (b *body) drain() {
	if !b.reading.TryLock() {
		return // closed during a read
	}
	defer b.reading.Unlock()
	if b.over || b.stalled.Load() || b.length-b.got > maxDrained {
		return
	}
	b.over = true
	timer := time.AfterFunc(time.Second, func() { _ = b.rc.Close() }) // the slot is still held
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, b.rc, maxDrained+1) // a failure costs only the connection
}

// Close closes the body and gives the slot back. It may be called more than once.
func (b *body) Close() error {
	b.drain()
	err := b.rc.Close()
	b.finish()
	return err
}
