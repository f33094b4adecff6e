package state

import "sync"

// A fault is the error that has stopped a ledger. The first one stays: after a failed flush nobody knows what is on
// the disk, and a retry would not change that. It is safe for concurrent use.
type fault struct {
	mu    sync.Mutex
	err   error
	panic bool
}

func (f *fault) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// set records err unless there is an earlier error, and returns the recorded one.
func (f *fault) set(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
	return f.err
}

// panicking records that bbolt was interrupted in an unknown state.
func (f *fault) panicking() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.panic = true
}

func (f *fault) panicked() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.panic
}
