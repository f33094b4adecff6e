package report

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
)

// leadOf returns the first line of a page.
func leadOf(page string) string { return between(page, "<h1>", "</h1>") }

// The first line has the numbers of the result. It says that all is well only if it is.
func TestLead(t *testing.T) {
	t.Parallel()
	// rows returns a function that writes n rows of a class.
	rows := func(n int, class string) func(*Lines) error {
		return func(l *Lines) (err error) {
			for i := range n {
				err = errors.Join(err, l.Row(Row{Repository: "example.com/a", Tags: []string{fmt.Sprint(class, i)}, Class: class}))
			}
			return err
		}
	}
	expires := func(at time.Time) func(*Lines) error {
		return func(l *Lines) error {
			return l.Row(Row{Repository: "example.com/a", Tags: []string{"x"}, Class: "agree", Expires: at})
		}
	}
	unread := func(l *Lines) error {
		return l.Section(Section{Repository: "example.com/b", Class: "untrusted", Reason: "no root"})
	}
	whole, well, end := End{Complete: true}, End{Complete: true, Well: true}, noon.Truncate(24*time.Hour)
	for name, c := range map[string]struct {
		of   string
		end  End
		say  []func(*Lines) error
		want string
	}{
		"all":              {OfVerify, well, []func(*Lines) error{rows(3, "agree")}, "100 % of 3 tags agree"},
		"one":              {OfVerify, well, []func(*Lines) error{rows(1, "agree")}, "100 % of 1 tag agrees"},
		"none":             {OfVerify, End{}, nil, "Not finished: no tag was looked at"},
		"all but one":      {OfVerify, whole, []func(*Lines) error{rows(1999, "agree"), rows(1, "missing")}, "99 % of 2,000 tags agree, 1 thing to decide"},
		"one of many":      {OfVerify, whole, []func(*Lines) error{rows(1, "agree"), rows(100, "missing")}, "Less than 1 % of 101 tags agree, 1 thing to decide"},
		"one in a hundred": {OfVerify, whole, []func(*Lines) error{rows(1, "agree"), rows(99, "missing")}, "1 % of 100 tags agree, 1 thing to decide"},
		"causes":           {OfVerify, whole, []func(*Lines) error{rows(5, "missing"), rows(5, "dct-only"), rows(5, "unknown")}, "0 % of 15 tags agree, 3 things to decide"},
		"not read":         {OfVerify, whole, []func(*Lines) error{rows(4, "agree"), unread}, "100 % of 4 tags agree, 1 repository not read, 1 thing to decide"},
		"cut":              {OfVerify, End{}, []func(*Lines) error{rows(4, "agree")}, "Not finished: 100 % of the 4 tags looked at agree"},
		"chosen":           {OfVerify, End{Error: ErrChosen.Error()}, []func(*Lines) error{rows(4, "agree")}, "100 % of the 4 tags looked at agree"},
		"a run":            {OfRun, whole, []func(*Lines) error{rows(1, "signed"), rows(1, "already"), rows(2, "failed")}, "50 % of 4 images are signed, 1 thing to decide"},
		"ends tomorrow":    {OfVerify, well, []func(*Lines) error{expires(end.AddDate(0, 0, 1))}, "100 % of 1 tag agrees, certificate ends tomorrow"},
		"ends today":       {OfVerify, well, []func(*Lines) error{expires(end.AddDate(0, 0, 1).Add(-time.Second))}, "100 % of 1 tag agrees, certificate ends today"},
		"ended":            {OfVerify, well, []func(*Lines) error{expires(noon.Add(-time.Second))}, "100 % of 1 tag agrees, certificate ended on 2026-10-05"},
		"ends in 90 days":  {OfVerify, well, []func(*Lines) error{expires(noon.AddDate(0, 0, 90))}, "100 % of 1 tag agrees, certificate ends in 90 days"},
		"ends later":       {OfVerify, well, []func(*Lines) error{expires(noon.AddDate(0, 0, 91))}, "100 % of 1 tag agrees"},
		"trust data, sooner": {OfVerify, well, []func(*Lines) error{func(l *Lines) error {
			return l.Section(Section{Repository: "example.com/a", Expiries: []dct.Expiry{{Role: "targets", At: noon.AddDate(0, 0, 4)}}})
		}, expires(noon.AddDate(0, 0, 5))}, "100 % of 1 tag agrees, trust data ends in 4 days"},
	} {
		s := saved(t, c.of, func(l *Lines) (err error) {
			if c.of == OfVerify && name != "trust data, sooner" {
				err = l.Section(Section{Repository: "example.com/a"})
			}
			for _, say := range c.say {
				err = errors.Join(err, say(l))
			}
			return err
		}, c.end)
		if got := leadOf(asPage(t, s, Options{})); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// Rows whose reasons differ only in names and digests are one thing to do; others are not.
func TestCausesOfWhatIsToDo(t *testing.T) {
	t.Parallel()
	d := func(i int) string { return fmt.Sprintf("sha256:%064x", i) }
	c := causes{}
	for i := range 9 {
		repository := fmt.Sprint("example.com/app", i%3)
		c.row(OfVerify, &Row{Repository: repository, Tags: []string{fmt.Sprint("v", i)}, Digest: d(i), Registry: d(i + 50), Class: "tag-moved", Standing: Problem,
			Reason: repository + fmt.Sprint(":v", i) + " is at " + d(i+50) + "\nhint: look"})
	}
	c.row(OfVerify, &Row{Repository: "example.com/x", Tags: []string{"v"}, Class: "tag-moved", Standing: Problem, Reason: "another, example.com/x"})
	c.row(OfVerify, &Row{Repository: "example.com/x", Tags: []string{"w"}, Class: "agree", Standing: Well})
	c.row(OfRun, &Row{Repository: "example.com/x", Class: "skipped", Cause: "missing", Standing: Aside})
	c.section(OfVerify, &Section{Repository: "example.com/x", Class: "untrusted", Reason: "reading trust data of example.com/x: bad"})
	c.section(OfVerify, &Section{Repository: "example.com/y"})
	all := c.todos(OfVerify)
	if len(all) != 3 {
		t.Fatalf("got %+v, want three things to do", all)
	}
	if a := all[0]; a.Count != "9 tags in 3 repositories" || a.Reason != "… is at …" || a.Hint != "look" || a.Remedy != remedies["tag-moved"] || len(a.Repositories) != 3 || a.Repositories[0].Link != "#class=tag-moved&repository=example.com%2Fapp0" {
		t.Errorf("got %+v, want the nine tags", a)
	}
	if !slices.ContainsFunc(all, func(a todo) bool { return a.Reason == "another, example.com/x" }) {
		t.Errorf("got %+v, want the reason of one row in full", all)
	}
	i := slices.IndexFunc(all, func(a todo) bool { return a.Class == "trust data: untrusted" })
	if i < 0 || all[i].Count != "1 repository" || all[i].Reason != "bad" || all[i].Remedy != failureRemedies[failure.Security] {
		t.Errorf("got %+v, want the repository that was not read", all)
	}
}

// However many reasons a server makes up, a limited number are told apart, and none is lost.
func TestCausesAreBounded(t *testing.T) {
	t.Parallel()
	for _, n := range []int{maxPageCauses, maxPageCauses + 1, 3 * maxPageCauses} {
		c := causes{}
		for i := range n {
			c.row(OfVerify, &Row{Repository: "example.com/app", Class: "unknown", Standing: Unclear, Reason: fmt.Sprint("reason ", i)})
		}
		rows := 0
		for _, one := range c {
			rows += one.rows
		}
		if want := min(n, maxPageCauses+1); len(c) != want || rows != n {
			t.Errorf("of %d reasons: got %d causes of %d rows, want %d of all", n, len(c), rows, want)
		}
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"r.example/team/app": "r.example/team", "r.example/team/a/b": "r.example/team", "r.example/app": "r.example", "app": "app", "": ""} {
		if got := folderOf(name); got != want {
			t.Errorf("%s: got the folder %q, want %q", name, got, want)
		}
	}
	s := saved(t, OfVerify, func(l *Lines) (err error) {
		for i := range 40 {
			row := Row{Repository: fmt.Sprintf("r.example/team-%d/app-%02d", i%2, i), Tags: []string{"v1"}, Class: "agree"}
			if i%4 == 1 {
				row.Class = "missing"
			}
			err = errors.Join(err, l.Section(Section{Repository: row.Repository}), l.Row(row))
		}
		return err
	}, End{Complete: true})
	page := asPage(t, s, Options{})
	if got := regexp.MustCompile(`<details class="(folder[^>]*)><summary><span class="name">([^<]*)</span> <span class="many">20 repositories: `).FindAllStringSubmatch(page, -1); len(got) != 2 || got[0][1] != `folder" open` || got[0][2] != "r.example/team-1" || got[1][1] != `folder calm"` {
		t.Errorf("got the folders %q, want team-1 first and open, team-0 without problems", got)
	}
	if !strings.Contains(page, "and 5 more, of which 0 have problems") {
		t.Error("got not how many repositories are left out, want 5")
	}
}

// Dates up to a year from now are listed, by key where the result names one.
func TestExpiresWithinAYearByKey(t *testing.T) {
	t.Parallel()
	year := noon.AddDate(1, 0, 0)
	s := saved(t, OfRun, func(l *Lines) (err error) {
		for i, at := range []time.Time{noon.Add(-time.Hour), year, year.Add(time.Second)} {
			err = errors.Join(err, l.Row(Row{Repository: fmt.Sprint("example.com/", i), Class: "signed", Key: fmt.Sprint("key-", i), Expires: at}))
		}
		return err
	}, End{Complete: true})
	page := asPage(t, s, Options{})
	for text, want := range map[string]bool{"of key key-0<": true, "of key key-1<": true, "of key key-2<": false, "1 more is later than a year": true} {
		if strings.Contains(page, text) != want {
			t.Errorf("%q: got it %t, want %t", text, !want, want)
		}
	}
}

// The trend compares with the previous result and with the first.
func TestTrend(t *testing.T) {
	t.Parallel()
	past := func(hours, missing, agree int, whole bool) Past {
		return Past{Of: OfVerify, Ended: noon.Add(time.Duration(hours) * time.Hour), Whole: whole, Totals: map[string]int{"missing": missing, "agree": agree}}
	}
	for _, c := range []struct {
		history []Past
		want    string
	}{
		{[]Past{past(0, 5, 0, true), past(1, 5, 0, true)}, "now; as many as in the result before (2026-10-05 12:00 UTC)"},
		{[]Past{past(0, 9, 0, true), past(1, 2, 0, false), past(2, 5, 0, true)}, "5 now; 3 more than in the result before, which did not finish (2026-10-05 13:00 UTC); 4 fewer than in the first shown (2026-10-05 12:00 UTC)"},
	} {
		if got := trend(c.history); !strings.HasSuffix(got, c.want) {
			t.Errorf("got %q, want it to end with %q", got, c.want)
		}
	}
}

// Reasons that differ only in the repository, tag or request they name are one cause. Other
// differences make another cause.
func TestAlikeReasons(t *testing.T) {
	t.Parallel()
	const gun, other = "registry.example.com/team/app", "registry.example.com/team/app-two"
	for _, one := range []struct{ reason, want string }{
		{`GET "https://registry.example.com/v2/team/app/manifests/1.0": EOF`, `GET "https://registry.example.com/…": EOF`},
		{"https://notary.example.com/v2/" + gun + "/_trust/tuf/root.json: 503", "https://notary.example.com/…: 503"},
		{"(http://notary.example.com:4443/x).", "(http://notary.example.com:4443/…)."},
		{"https://registry.example.com answered 404", "https://registry.example.com answered 404"},
		{"https://other.example.com/v2/: EOF", "https://other.example.com/…: EOF"},
		{"read tcp 10.0.0.5:41234->10.0.0.9:443: connection reset by peer", "read tcp …10.0.0.9:443: connection reset by peer"},
		{"read tcp [fe80::1]:41234->[fe80::2]:443: EOF", "read tcp …[fe80::2]:443: EOF"},
		{"resolving tag 1.0 in " + gun + ": EOF", "resolving … in …: EOF"},
		{"resolving tag 1.0-rc in " + other + ": EOF", "resolving tag 1.0-rc in " + other + ": EOF"},
		{"repository name not known to registry: map[name:team/app]", "repository name not known to registry: map[name:…]"},
		{"request 01234567-89ab-cdef-0123-456789abcdef failed", "request … failed"},
	} {
		if _, got, _ := alike(one.reason, gun+":1.0", gun, "tag 1.0"); got != one.want {
			t.Errorf("%s: got %s, want %s", one.reason, got, one.want)
		}
	}
	if _, got, _ := alike("the registry lists app twice: [app] \"app\"", "registry.example.com/app"); got != "the registry lists app twice: […] \"…\"" {
		t.Errorf("got %s, want words of ours left as they are", got)
	}
}

// On a terminal, requests that failed in the same way are one cause, whatever they were for.
func TestRequestOfAReason(t *testing.T) {
	t.Parallel()
	const request = `"http://registry.example.com/…": dial tcp: connection refused`
	for reason, want := range map[string]string{
		"listing signatures: Get " + request:                                                                            request,
		"looking up the tag: Head " + request + "; resolving: HEAD " + request:                                          request,
		`GET "http://registry.example.com/…": 503; PUT "https://r/…": response status code 403: denied: no GET for you`: `"https://r/…": response status code 403: denied: no GET for you`,
		"listing signatures: Get " + request + " (tried 2 times)":                                                       request,
		"the registry has no such digest":                                                                               "",
	} {
		if got := requestOf(reason); got != want {
			t.Errorf("%s: got %q, want %q", reason, got, want)
		}
	}
	o := &overview{Screen: Screen{Width: 100}}
	for _, reason := range []string{"listing: Get " + request, "fetching: HEAD " + request, "other"} {
		o.row(Unclear, "unknown", "tag", reason, "a/b:v1", "")
	}
	if c := o.sections[0].causes; len(c) != 2 || c[0].alike != request || c[0].n != 2 || c[1].alike != "other" {
		t.Errorf("got %d causes, the first %+v, want the two requests as one", len(c), *c[0])
	}
}
