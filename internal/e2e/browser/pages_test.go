package browser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/migrate/report"
)

// pageTime is when the results of these tests ended.
var pageTime = time.Date(2026, 10, 5, 14, 30, 0, 0, time.UTC)

// result is what is rendered as a page.
type result struct {
	head     report.Head
	sections []report.Section
	rows     []report.Row
	end      report.End
	history  []report.Past
}

// page writes the HTML page of a result with the built program and returns its path.
func (r *result) page(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var saved, history bytes.Buffer
	l, err := report.NewLines(&saved, r.head)
	of := map[string][]report.Row{} // by repository: the rows of a verification follow its section
	for _, row := range r.rows {
		of[row.Repository] = append(of[row.Repository], row)
	}
	for _, s := range r.sections {
		if err == nil {
			err = l.Section(s)
		}
		for _, row := range of[s.Repository] {
			if err == nil && s.Class == "" {
				err = l.Row(row)
			}
		}
	}
	if err == nil {
		err = l.End(r.end)
	}
	for _, p := range r.history {
		if err == nil {
			err = json.NewEncoder(&history).Encode(p)
		}
	}
	file, page := filepath.Join(dir, "saved.jsonl"), filepath.Join(dir, "page.html")
	if err == nil {
		err = os.WriteFile(file, saved.Bytes(), 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "history.jsonl"), history.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "report", "--results", dir, "-o", "text", "--report", "html="+page, file).CombinedOutput()
	if err != nil {
		t.Fatalf("report: %v: %.2000s", err, out)
	}
	return page
}

func digestOf(what string, n int) string { return digest.FromString(fmt.Sprint(what, n)).String() }

// verified returns the result of a verification of n tags in repositories of 50. If trouble is set,
// some are in trouble.
func verified(n int, trouble bool) *result {
	r := &result{
		head: report.NewHead(report.OfVerify, "dct2notation v1.4.0", "registry.example.com/*", pageTime.Add(-23*time.Minute)),
		end:  report.End{Ended: pageTime, Well: !trouble, Complete: true},
	}
	teams := []string{"payments", "lending", "cards", "platform", "risk", "mobile"}
	for i := range n {
		repository := fmt.Sprintf("registry.example.com/%s/service-%04d", teams[i/50%len(teams)], i/50)
		if i%50 == 0 {
			r.sections = append(r.sections, report.Section{
				Repository: repository, PinnedBy: "configuration", Expiries: []dct.Expiry{
					{Role: "root", At: pageTime.AddDate(0, 0, 400+i/50)}, {Role: "targets", At: pageTime.AddDate(0, 0, 12+i/50*9)},
				},
			})
		}
		bound := true
		row := report.Row{
			Repository: repository, Tags: []string{fmt.Sprintf("v%d.%d.%d", 1+i%50/20, i%20, i%7)}, Digest: digestOf("image", i),
			Class: "agree", Role: "targets/releases", Bound: &bound, Expires: pageTime.AddDate(1, i%3, 0),
		}
		row.Registry = row.Digest
		if trouble {
			inTrouble(&row, i)
		}
		r.rows = append(r.rows, row)
	}
	return r
}

func inTrouble(row *report.Row, i int) {
	switch {
	case i%50 > 20+i/50%28:
		row.Class, row.Reason = "dct-only", "no Notation signature"
	case i%97 == 5:
		row.Class, row.Registry = "tag-moved", digestOf("other", i)
		row.Reason = "the registry has " + row.Registry + " under this tag, which Notation does not trust either"
	case i%211 == 7:
		row.Class, row.Registry, row.Reason = "missing", "", "the registry does not have the digest: manifest unknown"
	case i%173 == 3:
		row.Class, row.Reason = "unknown", "listing the signatures: 429 Too Many Requests"
	case i%331 == 11:
		row.Class, row.Registry, row.Reason = "conflict", digestOf("other", i), "DCT and Notation each vouch for another digest"
	case i%401 == 2:
		row.Class, row.Reason = "expired", "certificate of signer registry-2024 expired on 2026-06-01"
	}
}

// ran returns the result of a run.
func ran(n int) *result {
	r := &result{
		head: report.NewHead(report.OfRun, "dct2notation v1.4.0", "registry.example.com/payments/*", pageTime.Add(-48*time.Minute)),
		end:  report.End{Ended: pageTime, Complete: true},
	}
	for i := range n {
		repository := fmt.Sprintf("registry.example.com/payments/service-%02d", i%14)
		if i < 14 {
			r.sections = append(r.sections, report.Section{Repository: repository, PinnedBy: "docker trust directory", Findings: map[string]int{"signer-only": i % 3}})
		}
		row := report.Row{Repository: repository, Tags: []string{fmt.Sprintf("v1.%d", i), "latest"}[:1+i%2], Digest: digestOf("image", i), Class: "signed", Key: "releases-2026"}
		switch {
		case i%23 == 4:
			row.Class, row.Cause, row.Reason = "failed", "denied", "signing with key releases-2026: the key service refuses: AccessDenied"
		case i%31 == 6:
			row.Class, row.Cause, row.Reason = "skipped", "missing", "the registry has no such digest"
		case i%5 == 0:
			row.Class = "already"
		}
		r.rows = append(r.rows, row)
	}
	r.sections = append(r.sections, report.Section{Repository: "registry.example.com/payments/old-batch", Class: "expired", Reason: "targets: expired on 2026-08-30"})
	return r
}

// progressed adds earlier results, which improve over time.
func (r *result) progressed(n int) *result {
	total := len(r.rows)
	for i := range n {
		done := total * (i + 1) / (n + 2)
		p := report.Past{Of: r.head.Of, Scope: r.head.Scope, Ended: pageTime.AddDate(0, 0, 3*(i-n)), Whole: i != 3, Totals: map[string]int{"agree": done, "dct-only": total - done - i%4*9, "unknown": i % 4 * 9}}
		if r.head.Of == report.OfRun {
			p.Totals = map[string]int{"signed": done, "failed": total - done}
		}
		r.history = append(r.history, p)
	}
	return r
}

// hostilePage has in each of its texts something harmful if it were taken for markup or script.
// Each would set pwned.
func hostilePage() *result {
	texts := []string{
		`<script>window.pwned=1</script>`, `</script><script>window.pwned=1</script>`, `<!--<script>`, `]]></script><svg onload=window.pwned=1>`,
		`<img src=x onerror=window.pwned=1>`, `"><svg/onload=window.pwned=1>`, `' autofocus onfocus='window.pwned=1`, `javascript:window.pwned=1`,
		"gpj.\u202e<b>exe", "\u2028window.pwned=1\u2029", "a\x00b\x1b]0;x\a", `{{.Policy}}${window.pwned=1}` + "`", `__proto__`, `\u003cscript>window.pwned=1</script>`,
		`#class=x&q=y`, strings.Repeat("W", 10_000), "\xff\xfe", `<style>*{display:none}</style>`, `<base href=//evil.example>`, `constructor`,
	}
	r := &result{
		head: report.NewHead(report.OfVerify, texts[0], texts[1], pageTime.Add(-time.Minute)),
		end:  report.End{Ended: pageTime, Error: strings.Join(texts[:9], "\n")},
	}
	for i, s := range texts {
		repository := fmt.Sprint(s, " ", i)
		r.sections = append(r.sections, report.Section{
			Repository: repository, Place: s, PinnedBy: s, Reason: s, Unknown: i%4 == 0,
			Expiries: []dct.Expiry{{Role: s, At: pageTime.AddDate(0, 0, i-5)}}, Expired: []string{s}, Judged: dct.Judged{Roles: []string{s}, By: s}, Findings: map[string]int{s: 1},
		})
		r.sections = append(r.sections, report.Section{Repository: s, Class: s, Reason: s}) // not read
		bound := i%2 == 0
		r.rows = append(r.rows, report.Row{
			Repository: repository, Tags: []string{s, s}, Digest: s, Registry: s + "x", Class: []string{s, "conflict"}[i%2], Cause: s, Reason: s,
			Role: s, Key: s, Index: []string{s}, Platform: s, Bound: &bound, Notes: []string{s, s},
		})
	}
	return r
}
