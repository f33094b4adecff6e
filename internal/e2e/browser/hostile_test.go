package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp/kb"
)

// Promise 7, in a browser: whatever a server puts into names, tags, annotations and
// messages is shown as text, in the charts, in the table, in the details and on paper.
func TestHostileNamesHarmNoPage(t *testing.T) {
	t.Parallel()
	r := hostilePage()
	o := open(t, r.page(t), "")
	fromUs := eval[[]string](o, structure)
	harmless := open(t, verified(5, false).page(t), "")
	for _, name := range fromUs {
		if !strings.Contains(strings.Join(eval[[]string](harmless, structure), " "), name) && !strings.Contains(allowed, " "+name+" ") {
			t.Errorf("got a <%s> in the page, want none", name)
		}
	}
	if n := eval[int](o, `document.scripts.length`); n != 2 {
		t.Errorf("got %d scripts, want 2", n)
	}
	// Open each row, sort by each column, follow each link.
	o.js(`document.getElementById("table").focus()`)
	o.press(kb.Enter)
	for range len(r.rows) + 10 {
		o.press(kb.ArrowDown)
	}
	o.press(kb.Escape)
	o.js(`for (const button of document.querySelectorAll("#heads button")) button.click()`)
	o.js(`for (const link of document.querySelectorAll("main a")) link.click()`)
	o.until(`location.hash !== ""`)
	if bad := eval[[]string](o, `[...document.querySelectorAll("*")].flatMap((e) => [...e.attributes]).filter((a) => a.name.startsWith("on") || a.name === "style" && !/^height: \d+px;$/.test(a.value) || /^(src|action)$/.test(a.name) || a.name === "href" && !a.value.startsWith("#")).map((a) => a.name + "=" + a.value)`); len(bad) > 0 {
		t.Errorf("got attributes %q, want none", bad)
	}
	if eval[bool](o, `"pwned" in window || !!document.querySelector("[onload], [onerror], b, base, img")`) {
		t.Error("got a name taken for markup, want it as text")
	}
	if got := eval[string](o, `document.location.href.split("#")[0]`); got != o.url {
		t.Errorf("got the page at %s, want %s", got, o.url)
	}
	// Texts are shown as they are. Characters that reorder text or are invisible are written out.
	text := eval[string](o, `document.body.innerText`)
	for _, want := range []string{`<script>window.pwned=1</script>`, `<img src=x onerror=window.pwned=1>`, `javascript:window.pwned=1`, `gpj.\u202e<b>exe`, `\u2028window.pwned=1\u2029`, `a\x00b\x1b]0;x\x07`} {
		if !strings.Contains(text, want) {
			t.Errorf("got %q not shown, want it shown", want)
		}
	}
	if eval[bool](o, `/[\u202a-\u202e\u2066-\u2069\u200b\u2028\u2029\u0000-\u0008\u001b]/.test(document.documentElement.textContent)`) {
		t.Error("got a character that changes how text is read in the page, want none")
	}
	// A search for an attack finds the row with its text.
	o.click("#clear")
	o.search("<script>window")
	o.until(`/^[1-9]\d* of 45 rows$/.test(document.getElementById("count").textContent)`)
	for _, window := range []int64{1360, 500} {
		o.do(send(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: window, Height: 900, DeviceScaleFactor: 1}))
		if width := eval[float64](o, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); width > 0 {
			t.Errorf("a long name at %d: got a page %v pixels wider than the window, want 0", window, width)
		}
	}
}

// structure returns the names of the elements of a page.
const structure = `[...new Set([...document.querySelectorAll("*")].map((e) => e.localName))]`

// allowed are elements that a page without problems lacks.
const allowed = " ol details summary strong dd dt figure figcaption line text circle "

func TestHostileAddressHarmsNoPage(t *testing.T) {
	t.Parallel()
	o := open(t, verified(500, true).page(t), "")
	for _, hash := range []string{
		"#q=<img src=x onerror=window.pwned=1>", "#class=%3Cscript%3Ewindow.pwned=1%3C/script%3E", "#sort=__proto__", "#sort=constructor&standing=toString,ok",
		"#%", "#repository=javascript:window.pwned=1", "#details", "#q=%00%ff",
	} {
		o.load(hash)
		if eval[bool](o, `"pwned" in window`) || !strings.HasSuffix(o.counted(), " of 500 rows") {
			t.Errorf("%s: got %s, want some of 500 rows, and no script run", hash, o.counted())
		}
	}
}
