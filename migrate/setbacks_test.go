package migrate

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/failure"
)

// A process that makes many runs retries an item for which the key fails more and more rarely. It
// signs the others meanwhile.
func TestSetbacksSpareTheKey(t *testing.T) {
	t.Parallel()
	for _, class := range []failure.Class{failure.Permanent, failure.Denied, failure.Transient} {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.Publish(App, "bad", "good")
			s.BreakFor("sign", "bad", false, failure.New(class, errors.New("not this one")))
			setbacks, now := &Setbacks{Pause: 10 * time.Minute}, time.Now()
			s.mutate = func(e *Engine) {
				e.Setbacks, e.Now, e.Pause = setbacks, func() time.Time { return now }, time.Microsecond
			}
			var tried []int // runs in which the key was asked to sign it
			for n := range 40 {
				before := len(s.operations)
				summary, outcomes, err := s.run(App)
				s.Must(err)
				if summary.Failed[class] != 1 || summary.Complete() {
					t.Fatalf("run %d: got %+v, want incomplete, one failed with %s", n, summary, class)
				}
				for _, d := range s.operations[before:] {
					if d == digest.FromString("image bad") && (len(tried) == 0 || tried[len(tried)-1] != n) {
						tried = append(tried, n)
					}
				}
				if put := said(outcomes, "not tried again before"); put == (len(tried) > 0 && tried[len(tried)-1] == n) {
					t.Errorf("run %d: got put off %t, tried in runs %v, want it either put off or tried", n, put, tried)
				}
				now = now.Add(10 * time.Minute)
			}
			if want := []int{0, 1, 3, 7, 15, 31}; len(tried) != len(want) || tried[5] != 31 {
				t.Errorf("got it tried in runs %v, want %v", tried, want)
			}
			s.once("good")
			s.Heal()
			now = now.Add(longestSetback)
			summary, _, err := s.run(App)
			s.Must(err)
			s.want(summary, map[Result]int{ResultSigned: 1, ResultAlready: 1})
			if len(setbacks.items) != 0 {
				t.Errorf("remembered: got %v, want none", setbacks.items)
			}
		})
	}
}

func said(outcomes []Outcome, text string) bool {
	for _, o := range outcomes {
		if strings.Contains(o.Reason, text) {
			return true
		}
	}
	return false
}

// A postponed item says nothing about the key: it does not stop the others.
func TestSetbacksDoNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	for _, class := range []failure.Class{failure.Permanent, failure.Transient, failure.Denied} {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			tags := strings.Fields("a b c d e f g h i j k l m n o p q r s t u v w x")
			s.Publish(App, tags...)
			s.Faults["sign"] = func(digest.Digest) (bool, error) { return false, failure.New(class, errors.New("not now")) }
			now, setbacks := time.Now(), &Setbacks{Pause: time.Hour}
			s.mutate = func(e *Engine) {
				e.Setbacks, e.Now, e.Workers, e.Pause = setbacks, func() time.Time { return now }, 1, time.Microsecond
			}
			for range tags {
				if _, _, err := s.run(App); err == nil {
					break // each run gets a little further
				}
			}
			asked := len(s.operations)
			summary, _, err := s.run(App)
			s.Must(err)
			if summary.Failed[class] != len(tags) || len(s.operations) != asked {
				t.Errorf("%s: got %d more key operations, summary %+v, want none, %d failed", class, len(s.operations)-asked, summary, len(tags))
			}
			s.Heal()
			now = now.Add(2 * time.Hour)
			summary, _, err = s.run(App)
			s.Must(err)
			s.want(summary, map[Result]int{ResultSigned: len(tags)})
		})
	}
}

func TestSetbackIsNeverLongerThanADay(t *testing.T) {
	t.Parallel()
	var s Setbacks
	now := time.Now()
	for _, pause := range []time.Duration{time.Second, 10 * time.Minute, 48 * time.Hour} {
		s.Pause = pause
		w := Work{}
		for range 100 {
			s.note(w.Key, failure.Permanent, errors.New("no"), now)
			if until := s.items[w.Key].until.Sub(now); until < pause || until > max(longestSetback, pause) {
				t.Fatalf("pause %s: got it put off for %s, want from %s to %s", pause, until, pause, max(longestSetback, pause))
			}
		}
	}
}
