package runner

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A pass begins a fixed time after the end of the previous one, however long that took.
func TestPassesFollowOneAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		running := false
		failed := errors.New("the last one's")
		err := Repeat(t.Context(), nil, 10*time.Minute, func() (bool, error) {
			if running {
				t.Error("got two passes at once, want one")
			}
			running = true
			defer func() { running = false }()
			at = append(at, time.Since(began))
			time.Sleep(time.Duration(len(at)) * 7 * time.Minute)
			return len(at) == 4, failed
		})
		if !errors.Is(err, failed) {
			t.Errorf("got error %v at the end, want %v", err, failed)
		}
		if want := []time.Duration{0, 17 * time.Minute, 41 * time.Minute, 72 * time.Minute}; !slices.Equal(at, want) {
			t.Errorf("got passes at %v, want %v", at, want)
		}
	})
}

// A signal ends the wait at once. If it arrives during a pass, that pass is the last. The outcome
// of the last pass is returned.
func TestStopEndsTheWaitAndMakesThePassTheLast(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after time.Duration // time of the signal
		want  time.Duration // time of the end
		calls int
	}{
		"during a pass":    {2 * time.Minute, 5 * time.Minute, 1},
		"while it waits":   {8 * time.Minute, 8 * time.Minute, 1},
		"as a pass begins": {15 * time.Minute, 15 * time.Minute, 1},
		"in a later pass":  {17 * time.Minute, 20 * time.Minute, 2},
	} {
		for _, how := range []string{"stop", "context"} {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					stop := make(chan struct{})
					go func() {
						time.Sleep(c.after)
						if how == "stop" {
							close(stop)
							return
						}
						cancel()
					}()
					began, calls := time.Now(), 0
					failed := errors.New("not complete")
					err := Repeat(ctx, stop, 10*time.Minute, func() (bool, error) {
						calls++
						// The timer ends at the same time as the signal: either may be seen first.
						time.Sleep(5*time.Minute - time.Nanosecond)
						time.Sleep(time.Nanosecond)
						return false, failed
					})
					if calls != c.calls && (name != "as a pass begins" || calls != 2) {
						t.Errorf("%s: got %d passes, want %d", name, calls, c.calls)
					}
					if took := time.Since(began); calls == c.calls && took != c.want || !errors.Is(err, failed) {
						t.Errorf("%s: got an end after %s with %v, want %s with %v", name, took, err, c.want, failed)
					}
				})
			})
		}
	}
}
