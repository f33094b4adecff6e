package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// The soonest dates are shown, whatever the number and order of dates.
func TestSoonestDatesAreKept(t *testing.T) {
	t.Parallel()
	const n = 3 * maxExpiries
	s := saved(t, OfVerify, func(l *Lines) error {
		for i := range 2 * n { // each date twice, far apart
			i %= n
			repository := fmt.Sprint("example.com/", i)
			at := noon.AddDate(0, 0, n-i)
			if err := l.Section(Section{Repository: repository, Expiries: []dct.Expiry{{Role: "timestamp", At: noon}}}); err != nil {
				return err
			}
			if err := l.Row(Row{Repository: repository, Class: "agree", Expires: at}); err != nil {
				return err
			}
		}
		return nil
	}, End{})
	got, err := s.expiries()
	if err != nil || len(got) != maxExpiries {
		t.Fatalf("got %d dates, %v, want %d", len(got), err, maxExpiries)
	}
	for i, e := range got {
		if e.What != certificate || !e.At.Equal(noon.AddDate(0, 0, i+1)) {
			t.Fatalf("date %d: got %+v, want %v of %s", i, e, noon.AddDate(0, 0, i+1), certificate)
		}
	}
}

func TestDaysLeft(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]int{
		0: 0, time.Hour: 0, 24*time.Hour - 1: 0, 24 * time.Hour: 1, 47 * time.Hour: 1, 48 * time.Hour: 2,
		-1: -1, -time.Hour: -1, -24 * time.Hour: -1, -24*time.Hour - 1: -2,
	} {
		if got := daysLeft(began.Add(after), began); got != want {
			t.Errorf("%s after: got %d days left, want %d", after, got, want)
		}
	}
	for after, want := range map[time.Duration]string{
		0: "0 days left", 24 * time.Hour: "1 day left", 49 * time.Hour: "2 days left", -time.Second: "ended less than a day ago",
		-24 * time.Hour: "ended 1 day ago", -47 * time.Hour: "ended 1 day ago", -72 * time.Hour: "ended 3 days ago",
	} {
		if got := timeLeft(began.Add(after), began); got != want {
			t.Errorf("%s after: got %q, want %q", after, got, want)
		}
	}
}

// The soonest expiries are shown, however many there are. What the notary renews is not shown.
func TestExpiriesAreTheSoonest(t *testing.T) {
	t.Parallel()
	const n = 5*maxExpiries + 1
	s := loaded(t, recorded(t, OfVerify, func(to Sink) {
		for i := range n { // the soonest come last
			gun := fmt.Sprintf("registry.example.com/%05d", i)
			must(t, to.Section(Section{Repository: gun, Expiries: []dct.Expiry{
				{Role: "targets", At: began.AddDate(0, 0, 2*(n-i))}, {Role: "timestamp", At: began}, {Role: "snapshot", At: began},
			}}))
			for range 2 { // two tags with one certificate
				must(t, to.Row(Row{Repository: gun, Class: string(verify.Agree), Expires: began.AddDate(0, 0, 2*(n-i)+1)}))
			}
		}
	}, End{Complete: true, Well: true}))
	got, err := s.expiries()
	must(t, err)
	if len(got) != maxExpiries {
		t.Fatalf("got %d dates, want %d", len(got), maxExpiries)
	}
	for i, e := range got {
		what := "targets"
		if i%2 == 1 {
			what = certificate
		}
		if want := began.AddDate(0, 0, 2+i); !e.At.Equal(want) || e.What != what {
			t.Fatalf("date %d: got %v, want %s of %s", i, e, want, what)
		}
	}
}

// History has the results of the same question, in order, up to this result. What a crash left is
// skipped.
func TestHistory(t *testing.T) {
	t.Parallel()
	like := &Saved{Head: Head{Of: OfVerify, Scope: "a"}, End: End{Ended: ended}}
	line := func(of, scope string, at time.Time, unread int) string {
		raw, err := compact(Past{Of: of, Scope: scope, Ended: at, Unread: unread})
		must(t, err)
		return string(raw) + "\n"
	}
	var text strings.Builder
	for i := range 3*maxHistory + 10 {
		text.WriteString(line(OfVerify, "a", ended.Add(time.Duration(i-3*maxHistory-9)*time.Hour), i))
		text.WriteString(line(OfVerify, "b", ended.Add(-time.Hour), 0) + line(OfRun, "a", ended.Add(-time.Hour), 0))
	}
	text.WriteString(line(OfVerify, "a", ended.Add(time.Second), 0)) // ended later
	text.WriteString("garbage\n" + strings.Repeat("x", 3*maxPast) + "\n{}\n\n")
	text.WriteString(line(OfVerify, "a", ended, 7777))
	torn := line(OfVerify, "a", ended, 8888)
	text.WriteString(torn[:len(torn)/2])
	got := ReadHistory(strings.NewReader(text.String()), like)
	if len(got) != maxHistory || got[len(got)-1].Unread != 7777 || got[len(got)-2].Unread != 3*maxHistory+9 || got[0].Unread != 3*maxHistory+9-(maxHistory-2) {
		t.Errorf("got %d, from %d to %d, %d, want %d, from %d to %d, 7777", len(got), got[0].Unread, got[len(got)-2].Unread, got[len(got)-1].Unread, maxHistory, 3*maxHistory+9-(maxHistory-2), 3*maxHistory+9)
	}
	if got := ReadHistory(strings.NewReader(text.String()), &Saved{Head: like.Head}); len(got) != 0 {
		t.Errorf("before a result without an end: got %d, want none", len(got))
	}
}
