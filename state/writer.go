package state

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
)

// A flush of the disk takes far longer than the change itself. So one goroutine
// writes, and while it waits for the disk the next changes queue up and then
// share the next flush.

// An op is a change on its way to the disk.
type op struct {
	apply func(*batch) error // run in the writer; may refuse only before it changes anything
	done  chan error         // holds one, so that the writer never waits for a caller
}

// maxBatch bounds the changes in one transaction.
const maxBatch = 512

// A refusal is an error of one change that leaves the others of its batch
// alone. It may only be returned by an apply that has not changed anything.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// errNothing rolls back a transaction that would change nothing, to save the flush. It never leaves the writer.
var errNothing = errors.New("nothing to write")

// do queues a change and returns when it is on the disk, or has been refused,
// or the ledger has stopped.
func (l *Ledger) do(apply func(*batch) error) error {
	l.gate.RLock()
	defer l.gate.RUnlock()
	if err := l.usable(); err != nil {
		return err
	}
	if l.fixed {
		return errReadOnly
	}
	o := &op{apply: apply, done: make(chan error, 1)}
	l.queue <- o
	return <-o.done
}

var errReadOnly = errors.New("the ledger was opened for reading")

// usable returns why no call is possible any more, or nil. The caller holds the gate.
func (l *Ledger) usable() error {
	if err := l.fault.get(); err != nil {
		return err
	}
	if l.closed {
		return ErrClosed
	}
	return nil
}

// write is the writer: the only goroutine that changes the file. It ends when
// the queue is closed, after everything in it has been answered.
func (l *Ledger) write() {
	// The writer stays on one thread, so that faults injected into "the nth call of a thread" hit exactly the nth
	// call of the writer.
	runtime.LockOSThread()
	defer close(l.stopped)
	for first := range l.queue {
		ops := l.drain(first)
		results := make([]error, len(ops))
		err := l.commit(ops, results)
		for i, o := range ops {
			if err != nil {
				results[i] = err
			}
			o.done <- results[i]
		}
	}
}

// drain collects the queued changes. It never waits for more: others gather anyway while the disk is flushed.
func (l *Ledger) drain(first *op) []*op {
	ops := []*op{first}
	for len(ops) < maxBatch {
		select {
		case o, open := <-l.queue:
			if !open {
				return ops
			}
			ops = append(ops, o)
		default:
			return ops
		}
	}
	return ops
}

// commit applies the ops in order in one transaction. Refusals go into results. The error, if any, applies to all ops
// and has stopped the ledger.
func (l *Ledger) commit(ops []*op, results []error) error {
	if err := l.fault.get(); err != nil {
		return err
	}
	err := l.guard(func() error {
		return l.db.Update(func(tx *bolt.Tx) error { return l.apply(tx, ops, results) })
	})
	if errors.Is(err, errNothing) {
		err = nil
	}
	if err == nil {
		// Check this after the commit and before the answers: acknowledged changes must be in the file that the next
		// run will find.
		err = l.inPlace()
	}
	if err != nil {
		return l.fault.set(fmt.Errorf("writing ledger %s: %w\nhint: check the disk, then run the same command again; what was recorded is not lost", l.path, err))
	}
	return nil
}

func (l *Ledger) apply(tx *bolt.Tx, ops []*op, results []error) error {
	b, err := newBatch(tx, l.clock())
	if err != nil {
		return err
	}
	for i, o := range ops {
		var refused refusal
		switch err := o.apply(b); {
		case errors.As(err, &refused):
			results[i] = refused.error
		case err != nil:
			return err
		}
	}
	return b.finish()
}

// guard turns a panic or a memory fault in f into an error. These come from a file that was damaged or truncated
// while it was open.
func (l *Ledger) guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			l.fault.panicking()
			err = damage("%v", r)
		}
	}()
	return f()
}
