package report

import (
	"strings"
	"testing"
	"time"
)

func TestDoctorIsHealthyOnlyIfAllIsFoundOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		results []Health
		healthy bool
		says    string
	}{
		{[]Health{OK, Warn}, true, "no problem was found\n"},
		{[]Health{OK, Unknown}, false, "some checks could not be made"},
		{[]Health{OK, Fail, Unknown}, false, "the run would fail"},
	} {
		var checks []Check
		for _, r := range c.results {
			checks = append(checks, Check{Check: "registry", Subject: "\x1b[31mhost\u202e", Result: r, Detail: "a\nb", Hint: "do\x1b\nthis"})
		}
		d := NewDoctor(checks, time.Now())
		var b strings.Builder
		if err := DoctorText(&b, d); err != nil {
			t.Fatal(err)
		}
		if d.Healthy != c.healthy || !strings.Contains(b.String(), c.says) {
			t.Errorf("%v: got healthy %t\n%s\nwant healthy %t and %q", c.results, d.Healthy, b.String(), c.healthy, c.says)
		}
		if strings.ContainsAny(b.String(), "\x1b\u202e") || !strings.Contains(b.String(), `a\x0ab`) {
			t.Errorf("%v: got\n%q\nwant nothing hostile in it, and the line feed escaped", c.results, b.String())
		}
	}
}
