package migrate

import (
	"errors"
	"sync"
)

// ErrSpent is returned by Budget.Take once nothing is left. A run that meets it begins nothing new, and leaves the
// item as it is for the next run.
var ErrSpent = errors.New("the key operations that the run may spend are spent")

// A Budget limits the operations of all keys of a run, proofs included. It is safe for concurrent use.
type Budget struct {
	mu   sync.Mutex
	left int
}

// NewBudget returns a budget of so many operations.
func NewBudget(operations int) *Budget { return &Budget{left: operations} }

// Take takes one operation. Call it before asking the key.
func (b *Budget) Take() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left < 1 {
		return ErrSpent
	}
	b.left--
	return nil
}

// Return gives back an operation that the key's service refused because there were too many.
func (b *Budget) Return() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left++
}
