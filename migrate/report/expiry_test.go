package report

import (
	"fmt"
	"testing"

	"github.com/dct2notation/dct2notation/dct"
)

// However many dates a result has, and in whatever order, the soonest are shown.
func TestSoonestDatesAreKept(t *testing.T) {
	t.Parallel()
	const n = 3 * maxExpiries
	s := saved(t, OfVerify, func(l *Lines) error {
		for i := range 2 * n { // each date twice, far from each other
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
		t.Fatalf("%d dates: %v", len(got), err)
	}
	for i, e := range got {
		if e.What != certificate || !e.At.Equal(noon.AddDate(0, 0, i+1)) {
			t.Fatalf("date %d is %+v", i, e)
		}
	}
}
