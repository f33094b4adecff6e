package browser

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/dct2notation/dct2notation/migrate/report"
)

// The verdict comes first, in words.
func TestPageShowsHowItEnded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		of                  *result
		lead, verdict, mood string
	}{
		"well":    {verified(100, false), "100 % of 100 tags agree", "The signature sets agree", "good"},
		"trouble": {verified(5000, true), "65 % of 5,000 tags agree, 6 things to decide", "The signature sets disagree", "bad"},
		"a run":   {ran(100), "91 % of 100 images are signed, 1 repository not read, 2 things to decide", "Not complete", "bad"},
		"cut":     {cut(), "Not finished: 100 % of the 100 tags looked at agree", "Did not finish", "unsure"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t, c.of.page(t), "")
			if got := eval[string](o, `document.querySelector("h1").innerText`); !strings.HasPrefix(got, c.lead) {
				t.Errorf("got the first line %q, want it to begin with %q", got, c.lead)
			}
			if got := eval[string](o, `document.querySelector(".judgement").innerText`); got != c.verdict {
				t.Errorf("got verdict %q, want %q", got, c.verdict)
			}
			if title := eval[string](o, `document.title`); !strings.HasSuffix(strings.ToLower(title), strings.ToLower(c.verdict)) {
				t.Errorf("got title %q, want it to end with %q", title, c.verdict)
			}
			if got := eval[string](o, `document.querySelector(".verdict").className`); got != "verdict "+c.mood {
				t.Errorf("got looks %q, want %s", got, c.mood)
			}
			if eval[float64](o, `document.querySelector("h1").getBoundingClientRect().bottom`) > 300 {
				t.Error("got the verdict lower down, want it at the top")
			}
		})
	}
}

// cut is a result that reports no problem, but is not finished.
func cut() *result {
	r := verified(100, false)
	r.end.Complete, r.end.Error = false, "interrupted"
	return r
}

func TestSearchFilterAndSort(t *testing.T) {
	t.Parallel()
	o := open(t, verified(5000, true).page(t), "")
	o.counts("5,000 of 5,000 rows")
	if got := o.cells("standing"); len(got) < 10 || len(got) > 100 || !strings.Contains(got[0], "problem") {
		t.Errorf("got %d rows drawn, the first %q, want 10 to 100, a problem first", len(got), got[:1])
	}
	o.search("SERVICE-0007 V1.13.3")
	o.counts("1 of 5,000 rows")
	if got := o.cells("tags"); !slices.Equal(got, []string{"v1.13.3"}) {
		t.Errorf("got %q found, want v1.13.3 alone", got)
	}
	o.search("no such row")
	o.counts("0 of 5,000 rows")
	o.click("#clear")
	o.counts("5,000 of 5,000 rows")

	o.click(`[data-standing="unknown"]`)
	o.counts("17 of 5,000 rows")
	if got := slices.Compact(o.cells("class")); !slices.Equal(got, []string{"unknown"}) {
		t.Errorf("got classes %q, want unknown alone", got)
	}
	o.click(`[data-standing="unknown"]`)
	o.choose("#class", "conflict")
	o.counts("11 of 5,000 rows")
	o.choose("#repository", "registry.example.com/payments/service-0000")
	o.counts("1 of 5,000 rows")
	hash := eval[string](o, `location.hash`)

	o.click("#clear")
	o.click(".col-tags button")
	first := o.cells("tags")
	o.click(".col-tags button")
	last := o.cells("tags")
	if first[0] != "v1.0.0" || !slices.IsSortedFunc(first, natural) || last[0] != "v3.19.6" || eval[string](o, `document.querySelector("th.col-tags").ariaSort`) != "descending" {
		t.Errorf("got sorted %q and %q, want v1.0.0 first and v3.19.6 first", first[:3], last[:3])
	}

	// A link to a view shows that view again.
	again := open(t, strings.TrimPrefix(o.url, "file://"), hash)
	again.counts("1 of 5,000 rows")
	// The charts are such links, too.
	again.click(`.card.is-unknown`)
	again.counts("17 of 5,000 rows")
	again.click(`.bars tbody a`)
	again.counts("50 of 5,000 rows")
}

// natural compares version numbers as people do.
func natural(a, b string) int {
	var x, y [3]int
	fmt.Sscanf(a, "v%d.%d.%d", &x[0], &x[1], &x[2])
	fmt.Sscanf(b, "v%d.%d.%d", &y[0], &y[1], &y[2])
	return slices.Compare(x[:], y[:])
}

func TestKeyboardAlone(t *testing.T) {
	t.Parallel()
	r := verified(5000, true)
	o := open(t, r.page(t), "")
	active := func(want string) {
		t.Helper()
		got := eval[string](o, `document.getElementById("table").getAttribute("aria-activedescendant")`)
		seen := eval[bool](o, fmt.Sprintf(`(() => { const row = document.getElementById(%q).getBoundingClientRect(), box = document.getElementById("scroll").getBoundingClientRect();
			return row.top >= box.top + 33 && row.bottom <= box.bottom + 1; })()`, want))
		if got != want || !seen {
			t.Errorf("got %s active, want %s; in sight: %t", got, want, seen)
		}
	}
	o.press("/")
	if got := eval[string](o, `document.activeElement.id`); got != "search" {
		t.Fatalf("/: got focus on %q, want search", got)
	}
	o.press("v", "1", kb.Enter)
	o.until(`document.activeElement.id === "table" && location.hash === "#q=v1"`)
	o.press(kb.ArrowDown, kb.ArrowDown, kb.ArrowUp)
	active("row-1")
	o.press(kb.End)
	active("row-1999")
	o.press(kb.PageUp)
	if n := eval[int](o, `Number(document.getElementById("table").getAttribute("aria-activedescendant").slice(4))`); n >= 1995 || n < 1900 {
		t.Errorf("a page up: got row %d, want 1900 to 1994", n)
	}
	o.press(kb.Home)
	active("row-0")

	o.press(kb.Enter)
	shown := func() string { return eval[string](o, `document.getElementById("facts").innerText`) }
	if !eval[bool](o, `document.getElementById("details").open`) || !strings.Contains(shown(), "root vouched for by") {
		t.Errorf("got details %q, want \"root vouched for by\"", shown())
	}
	at := slices.IndexFunc(r.rows, func(row report.Row) bool {
		return row.Class != "agree" && row.Class != "unknown" && strings.HasPrefix(row.Tags[0], "v1")
	})
	if !strings.Contains(shown(), r.rows[at].Digest) {
		t.Errorf("got %q, want the digest %s in it", shown(), r.rows[at].Digest)
	}
	before := shown()
	o.press(kb.ArrowDown)
	if shown() == before {
		t.Errorf("the next row: got details %q as before, want others", before)
	}
	o.press(kb.Escape)
	o.until(`!document.getElementById("details").open && document.activeElement.id === "table"`)
	active("row-1")
	if got := o.style("#table tr[aria-selected=true] td", "box-shadow"); got == "none" {
		t.Error("got the active row as all others, want a box-shadow")
	}
	// The column heads are buttons.
	o.do(chromedp.Focus(".col-repository button"))
	o.press(kb.Enter)
	o.until(`document.querySelector("th.col-repository").ariaSort === "ascending"`)
}

// The text is readable with dark colours, with light ones and on paper.
func TestDarkLightAndPaper(t *testing.T) {
	t.Parallel()
	path := verified(5000, true).progressed(8).page(t)
	backs := map[string]string{}
	for _, scheme := range []string{"light", "dark"} {
		o := open(t, path, "", send(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}))
		backs[scheme] = o.style("html", "background-color")
		for _, s := range []string{"h1", ".product", ".label", ".totals a", ".note", ".left-past .num, .left-month .num", ".todos .what a", ".todos .many", ".todos .where", ".trend", ".folder .name", ".folder .many", "#count", "#body td.col-class", ".mark.is-ok", ".mark.is-unknown", ".keys", "summary"} {
			if got := eval[float64](o, fmt.Sprintf(contrast, s)); got < 4.5 {
				t.Errorf("%s, %s: got a contrast of %.2f, want 4.5", scheme, s, got)
			}
		}
	}
	if backs["light"] == backs["dark"] {
		t.Errorf("got %s as both backgrounds, want two", backs["light"])
	}
	o := open(t, path, "", send(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"}))
	for selector, want := range map[string]string{".live": "none", ".listed": "block", ".verdict": "flex"} {
		if got := o.style(selector, "display"); got != want {
			t.Errorf("on paper, %s: got %s, want %s", selector, got, want)
		}
	}
	if text := eval[string](o, `document.querySelector(".listed").innerText`); !strings.Contains(text, "These are 500 of 1,740 rows that are not ok") {
		t.Errorf("got printed %.300s, want how many rows are not ok", text)
	}
	pdf := get(o, chromedp.PrintToPDF())
	if !strings.HasPrefix(string(pdf), "%PDF") {
		t.Errorf("got %d bytes that are no PDF, want a PDF", len(pdf))
	}
}

// contrast is the contrast of WCAG 2 between an element's text and its background.
const contrast = `((selector) => {
	const element = document.querySelector(selector);
	const parts = (text) => text.match(/[\d.]+/g).map(Number);
	const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
	let back = element;
	while (back && (parts(getComputedStyle(back).backgroundColor)[3] ?? 1) === 0) back = back.parentElement;
	const a = light(parts(getComputedStyle(element).color)), b = light(parts(getComputedStyle(back).backgroundColor));
	return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
})(%q)`

// Where no script runs, the important parts are still there.
func TestWithoutScript(t *testing.T) {
	t.Parallel()
	path := verified(5000, true).page(t)
	o := newTab(t, path)
	o.do(send(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}), chromedp.Navigate(o.url))
	text := eval[string](o, `document.body.innerText`)
	for _, want := range []string{"The signature sets disagree", "1,723", "Expires within a year", "What to do: Sign it", "needs JavaScript", "These are 500 of 1,740", "each vouch for another digest"} {
		if !strings.Contains(text, want) {
			t.Errorf("got %q missing, want it there", want)
		}
	}
}

// On a narrow window and a wide one, with few rows and many, what to do comes first, nothing is
// wider than the window, and long names lose their middle.
func TestNarrowAndWide(t *testing.T) {
	t.Parallel()
	for _, n := range []int{56, largeRows} {
		r := verified(n, true).progressed(4)
		long := "registry.example.com/payments/" + strings.Repeat("a-long-name-", 12) + "the-end"
		r.sections = append(r.sections, report.Section{Repository: long})
		r.rows = append(r.rows, report.Row{Repository: long, Tags: []string{strings.Repeat("tag-", 25) + "the-last"}, Class: "conflict", Reason: "only here"})
		path := r.page(t)
		for _, width := range []int64{500, 1280} {
			o := open(t, path, "#q=only+here", send(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1}))
			o.counts(fmt.Sprintf("1 of %s rows", thousands(n+1)))
			if wide := eval[float64](o, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); wide > 0 {
				t.Errorf("%d rows at %d: got a page %v pixels wider than the window, want 0", n, width, wide)
			}
			if eval[bool](o, `document.getElementById("todo").getBoundingClientRect().top > document.getElementById("totals").getBoundingClientRect().top`) {
				t.Errorf("%d rows at %d: got what is to do below the totals, want it above", n, width)
			}
			for column, end := range map[string]string{"repository": "me-the-end", "tags": "g-the-last"} {
				got := eval[[]string](o, fmt.Sprintf(`(() => {
					const cell = document.querySelector("#body tr[data-at]:not([hidden]) .col-%s"), begin = cell.querySelector(".begin"), end = cell.querySelector(".end");
					const inside = end.getBoundingClientRect().right <= cell.getBoundingClientRect().right;
					return [end.textContent, String(inside), String(begin.scrollWidth > begin.clientWidth && begin.clientWidth > 20)];
				})()`, column))
				if got[0] != end || got[1] != "true" || got[2] != "true" {
					t.Errorf("%d rows at %d: %s: got the end %q, in sight %s, the middle left out %s; want %s, true and true", n, width, column, got[0], got[1], got[2], end)
				}
			}
		}
	}
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// Each thing to do links to its rows. Repositories without problems can be hidden.
func TestToDoAndRepositories(t *testing.T) {
	t.Parallel()
	o := open(t, verified(5000, true).page(t), "")
	if got := eval[int](o, `document.querySelectorAll(".todos li").length`); got != 6 {
		t.Errorf("got %d things to do, want 6", got)
	}
	o.click(`.todos .what a[href="#class=conflict"]`)
	o.counts("11 of 5,000 rows")
	o.click(`.todos .where a[href^="#class=conflict&"]`)
	o.counts("1 of 5,000 rows")

	o = open(t, verified(56, true).page(t), "")
	seen := `[...document.querySelectorAll(".folder")].filter((f) => f.getClientRects().length).map((f) => f.querySelector(".name").innerText)`
	both := []string{"registry.example.com/payments", "registry.example.com/lending"}
	if got := eval[[]string](o, seen); !slices.Equal(got, both) {
		t.Errorf("got the folders %q, want %q", got, both)
	}
	o.click("#troubled")
	if got := eval[[]string](o, seen); !slices.Equal(got, both[:1]) {
		t.Errorf("only with problems: got the folders %q, want %q", got, both[:1])
	}
}
