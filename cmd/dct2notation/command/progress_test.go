package command

import (
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/migrate"
)

// What is said of the time to go rests on signatures alone, and on what is known so far.
func TestProgressSaysNoMoreThanIsKnown(t *testing.T) {
	t.Parallel()
	for want, c := range map[[2]string]counts{
		{"92 of at least 100", "time to go is not known yet"}:             {repositories: 300, read: 70, known: 100, done: 92},
		{"92 of at least 100", "2.0 signatures/s, at least 4s to go"}:     {repositories: 300, read: 299, known: 100, done: 92, rate: 2},
		{"92 of 100", "2.0 signatures/s, 4s to go at most"}:               {repositories: 300, read: 300, known: 100, done: 92, rate: 2},
		{"0 of at least 0", "time to go is not known yet"}:                {repositories: 1},
		{"100000 of 1000000", "10.0 signatures/s, 25h0m0s to go at most"}: {repositories: 1, read: 1, known: 1_000_000, done: 100_000, rate: 10},
	} {
		if got := [2]string{c.of(), c.toGo()}; got != want {
			t.Errorf("%+v: got %q, want %q", c, got, want)
		}
	}
	p := &progress{}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	add := func(result migrate.Result) {
		o := &migrate.Outcome{Result: result}
		p.report.Add(o)
		p.measure(result, at)
	}
	for range 10_000 { // already signed: they come at once
		add(migrate.ResultAlready)
	}
	for range 11 {
		add(migrate.ResultSigned)
		at = at.Add(2 * time.Second)
	}
	if p.so.rate != 0.5 {
		t.Errorf("got %v signatures/s, want one in two seconds", p.so.rate)
	}
}
