package registry

import (
	"context"
	"sync"
)

// A latch remembers that something was done, once. It does not remember a failure: the next caller tries again, with
// its own context.
type latch struct {
	turn chan struct{} // holds a token while nobody runs f
	done bool          // owned by whoever holds the token
}

func newLatch() *latch {
	l := &latch{turn: make(chan struct{}, 1)}
	l.turn <- struct{}{}
	return l
}

// do calls f unless it has succeeded before. Other callers wait meanwhile, until their context ends.
func (l *latch) do(ctx context.Context, f func() error) error {
	select {
	case <-l.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { l.turn <- struct{}{} }()
	if l.done {
		return nil
	}
	if err := f(); err != nil {
		return err
	}
	l.done = true
	return nil
}

// set marks it as done without doing it.
func (l *latch) set() { l.put(true) }

// forget makes the next caller do it again.
func (l *latch) forget() { l.put(false) }

func (l *latch) put(done bool) {
	<-l.turn
	l.done = done
	l.turn <- struct{}{}
}

// keyed is a lock per key; a caller stops waiting when its context ends. Keys that nobody holds or waits for take no
// memory.
type keyed struct {
	mu    sync.Mutex
	locks map[string]*keyLock // guarded by mu
}

type keyLock struct {
	held  chan struct{} // holds a token while locked
	users int           // holder and waiters; guarded by keyed.mu
}

func newKeyed() *keyed { return &keyed{locks: make(map[string]*keyLock)} }

// lock waits for the key. The function it returns unlocks.
func (k *keyed) lock(ctx context.Context, key string) (unlock func(), err error) {
	k.mu.Lock()
	l := k.locks[key]
	if l == nil {
		l = &keyLock{held: make(chan struct{}, 1)}
		k.locks[key] = l
	}
	l.users++
	k.mu.Unlock()
	select {
	case l.held <- struct{}{}:
		return func() { <-l.held; k.drop(key, l) }, nil
	case <-ctx.Done():
		k.drop(key, l)
		return nil, ctx.Err()
	}
}

func (k *keyed) drop(key string, l *keyLock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(k.locks, key)
	}
}
