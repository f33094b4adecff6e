package output

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate"
)

// A host that is down or refuses the login is one problem, reported once and counted. A problem of
// one image is reported for each image.
func TestTroubleOfAHostIsToldOnce(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := NewProgress(&cli.Common{LogFormat: "text"}, cli.Streams{Err: &out}, "run", 8, nobody, nil)
	failed := func(repository, cause, reason string) {
		p.Observe(migrate.Event{Outcome: &migrate.Outcome{
			Repository: repository, Digest: "sha256:1", Result: migrate.ResultFailed, Class: failure.Transient, HostCause: cause, Reason: reason,
		}})
	}
	for i := range 16 {
		failed(fmt.Sprintf("down.example.com/app%d", i%4), "it cannot be reached", fmt.Sprintf("resolving %d: connection refused\nhint: is it there?", i))
	}
	failed("other.example.com/app", "it cannot be reached", "another host")
	failed("down.example.com/app", "it rejects the login", "another cause")
	failed("down.example.com/app", "", "of one image")
	failed("down.example.com/app", "", "of one image")
	for i := range 3 {
		name := fmt.Sprintf("down.example.com/app%d", i)
		gun, err := dct.ParseGUN(name)
		if err != nil {
			t.Fatal(err)
		}
		p.Observe(migrate.Event{Trust: &migrate.TrustNews{GUN: name, Class: failure.Transient, Err: &dct.Error{
			GUN: gun.String(), Role: "root", Kind: dct.ErrUnavailable, Err: errors.New(`Get "https://notary/v2/` + name + `": connection lost`), Hint: "is it the Notary server?",
		}}})
	}
	p.Finish()
	text := out.String()
	for want, n := range map[string]int{
		"connection refused": 1, "is it there?": 1, "another host": 1, "another cause": 1, "of one image": 2,
		"affects=\"16 images in 4 repositories\"": 1, "connection lost": 1, "affects=\"the trust data of 3 repositories\"": 1, "affects=": 2,
	} {
		if got := strings.Count(text, want); got != n {
			t.Errorf("%q: got it %d times, want %d:\n%s", want, got, n, text)
		}
	}
}

// locked is a buffer to which a timer's goroutine writes.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func nobody(time.Duration) []string { return nil }

// If nothing ends for half a minute, what the work waits for is reported once, and again only after
// something has ended.
func TestStallIsToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out locked
		const server = "registry registry.example.com (3 requests without an answer for 31s)"
		var gone atomic.Bool
		p := NewProgress(&cli.Common{LogFormat: "text"}, cli.Streams{Err: &out}, "run", 8, func(time.Duration) []string {
			if gone.Load() {
				return nil
			}
			return []string{server}
		}, nil)
		wait := func(d time.Duration, told int, waits string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if n := strings.Count(out.String(), "nothing has ended for 30s"); n != told {
				t.Fatalf("got it told %d times, want %d:\n%s", n, told, out.String())
			}
			if got := p.far().Rest; got != waits {
				t.Fatalf("got %q beside the progress, want %q", got, waits)
			}
		}
		p.Observe(migrate.Event{Found: 1})
		p.Observe(migrate.Event{Key: &migrate.KeyNews{Name: "release"}})
		wait(30*time.Second-1, 0, "")
		wait(1, 1, "waits for key release (1 operation without an answer), "+server)
		wait(time.Hour, 1, "waits for key release (1 operation without an answer), "+server)
		p.Observe(migrate.Event{Key: &migrate.KeyNews{Name: "release", Ended: true}})
		p.Observe(migrate.Event{Outcome: &migrate.Outcome{Result: migrate.ResultSigned}})
		wait(29*time.Second, 1, "")
		gone.Store(true)
		wait(time.Second, 2, "waits for no server and no key: this machine may be busy")
		p.Observe(migrate.Event{Trust: &migrate.TrustNews{}})
		p.Finish()
		wait(time.Hour, 2, "")
	})
}

// A comparison of a large repository is not a stall while the servers answer.
func TestComparingIsNoStallWhileServersAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out locked
		var silent atomic.Int64
		silent.Store(1)
		c := NewComparing(&cli.Common{LogFormat: "text"}, cli.Streams{Err: &out}, 8, func(atLeast time.Duration) []string {
			if time.Duration(silent.Load())*time.Second < atLeast {
				return nil
			}
			return []string{"registry registry.example.com"}
		})
		for _, told := range []int{0, 0, 1, 1} {
			if got := strings.Count(out.String(), "nothing has ended for 30s"); got != told {
				t.Fatalf("got it told %d times, want %d:\n%s", got, told, out.String())
			}
			time.Sleep(50 * time.Second)
			silent.Store(silent.Load() * 60)
			synctest.Wait()
		}
		c.Finish()
	})
}

// The remaining time is estimated from signatures alone, and from what is known so far.
func TestProgressSaysNoMoreThanIsKnown(t *testing.T) {
	t.Parallel()
	for want, c := range map[[2]string]Counts{
		{"92 of at least 100", "remaining time not known yet"}:            {Repositories: 300, Read: 70, Known: 100, Done: 92},
		{"92 of at least 100", "2.0 signatures/s, at least 4s to go"}:     {Repositories: 300, Read: 299, Known: 100, Done: 92, Rate: 2},
		{"92 of 100", "2.0 signatures/s, 4s to go at most"}:               {Repositories: 300, Read: 300, Known: 100, Done: 92, Rate: 2},
		{"92 of at least 92", "2.0 signatures/s"}:                         {Repositories: 300, Read: 70, Known: 92, Done: 92, Rate: 2},
		{"92 of 92", "2.0 signatures/s"}:                                  {Repositories: 300, Read: 300, Known: 92, Done: 92, Rate: 2},
		{"0 of at least 0", "remaining time not known yet"}:               {Repositories: 1},
		{"100000 of 1000000", "10.0 signatures/s, 25h0m0s to go at most"}: {Repositories: 1, Read: 1, Known: 1_000_000, Done: 100_000, Rate: 10},
	} {
		if got := [2]string{c.Of(), c.ToGo()}; got != want {
			t.Errorf("%+v: got %q, want %q", c, got, want)
		}
	}
	p := &Progress{}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	add := func(result migrate.Result) {
		o := &migrate.Outcome{Result: result}
		p.Report.Add(o)
		p.measure(result, at)
	}
	for range 10_000 { // already signed: they end at once
		add(migrate.ResultAlready)
	}
	for range 11 {
		add(migrate.ResultSigned)
		at = at.Add(2 * time.Second)
	}
	if p.so.Rate != 0.5 {
		t.Errorf("got %v signatures/s, want one in two seconds", p.so.Rate)
	}
}
