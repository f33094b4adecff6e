// Package ordered works on the elements of a list concurrently and returns the results in the order of the list.
package ordered

import (
	"context"
	"iter"
	"sync"
)

// Each calls do for each element of the list, up to n at the same time, and yields each element with its result, in
// order. At most n results wait to be consumed. It takes the next element when the one before it has begun, so a list
// that waits before it yields an element decides when that begins.
//
// When the loop over it ends early, or ctx ends, Each begins no more elements, cancels the context of those under way
// and waits for them. do must return a result in that case as well; the caller has to tell what that result is worth.
func Each[In, Out any](ctx context.Context, list iter.Seq[In], n int, do func(context.Context, In) Out) iter.Seq2[In, Out] {
	return func(yield func(In, Out) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		slots := make(chan struct{}, max(n, 1))
		queue := make(chan pending[In, Out], cap(slots)-1)
		all.Go(func() {
			defer close(queue)
			for in := range list {
				select {
				case slots <- struct{}{}:
				case <-ctx.Done():
					return
				}
				p := pending[In, Out]{in, make(chan Out, 1)}
				all.Go(func() {
					defer func() { <-slots }()
					p.out <- do(ctx, p.in)
				})
				select {
				case queue <- p:
				case <-ctx.Done():
					return
				}
			}
		})
		for p := range queue {
			if !yield(p.in, <-p.out) {
				return
			}
		}
	}
}

// pending is an element under way.
type pending[In, Out any] struct {
	in  In
	out chan Out
}
