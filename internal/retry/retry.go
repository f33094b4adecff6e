// Package retry says how often to try something, and how long to wait in between.
package retry

import (
	"context"
	"math/rand/v2"
	"time"
)

// MaxTries is how often one run tries an item.
const MaxTries = 4

// Pause waits after a try: for about first (give or take half), and twice as long after each further try. It returns
// false if ctx ends or stop is closed before that.
func Pause(ctx context.Context, stop <-chan struct{}, first time.Duration, try int) bool {
	d := first << (try - 1)
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-stop:
		return false
	case <-t.C:
		return true
	}
}

// Wait returns after d, or with ctx's error.
func Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
