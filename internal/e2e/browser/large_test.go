package browser

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// The goals are 3 s and 15 MB. The limits of this test leave room for a busy machine.
const (
	largeRows  = 50_000
	largeBytes = 15 << 20
	openLimit  = 10 * time.Second
	useLimit   = 1500 // milliseconds
)

func TestFiftyThousandRows(t *testing.T) {
	path := verified(largeRows, true).progressed(40).page(t)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > largeBytes {
		t.Errorf("got a page of %d bytes, want at most %d", info.Size(), int64(largeBytes))
	}
	o := newTab(t, path)
	started := time.Now()
	o.do(chromedp.Navigate(o.url))
	o.until(`document.documentElement.classList.contains("scripted")`)
	o.js(painted)
	opened := time.Since(started)
	if opened > openLimit {
		t.Errorf("got it open in %v, want at most %v", opened, openLimit)
	}
	o.counts("50,000 of 50,000 rows")
	fmt.Printf("%d rows: %.1f MB, open in %.2f s\n", largeRows, float64(info.Size())/1e6, opened.Seconds())

	for _, use := range []struct{ what, statement, counted string }{
		{"the first search", `find("service-0999")`, "50 of 50,000 rows"},
		{"a search", `find("too many requests")`, ""},
		{"a search that finds nothing", `find("zzzz")`, "0 of 50,000 rows"},
		{"no search", `find("")`, "50,000 of 50,000 rows"},
		{"the first sort by digest", `document.querySelector(".col-digest button").click()`, ""},
		{"the first sort by repository", `document.querySelector(".col-repository button").click()`, ""},
		{"the same upside down", `document.querySelector(".col-repository button").click()`, ""},
		{"a filter", `document.querySelector('[data-standing="problem"]').click()`, ""},
		{"no filter", `document.querySelector('[data-standing="problem"]').click()`, "50,000 of 50,000 rows"},
		{"a jump to the end", `scroll.scrollTo(0, 1e9)`, ""},
	} {
		took := eval[float64](o, fmt.Sprintf(measured, use.statement))
		if took > useLimit {
			t.Errorf("%s: got %.0f ms, want at most %v", use.what, took, useLimit)
		}
		if got := o.counted(); use.counted != "" && got != use.counted {
			t.Errorf("%s: got %s, want %s", use.what, got, use.counted)
		}
		fmt.Printf("  %s: %.0f ms\n", use.what, took)
	}
	if got := eval[int](o, `Math.max(...[...document.querySelectorAll("#body tr[data-at]:not([hidden])")].map((row) => Number(row.dataset.at)))`); got != largeRows-1 {
		t.Errorf("got row %d drawn as the last, want %d", got, largeRows-1)
	}
	if n := eval[int](o, `document.querySelectorAll("#body tr").length`); n > 100 {
		t.Errorf("got %d rows in the page, want at most 100", n)
	}
	frames := eval[[]float64](o, scrolled)
	worst := 0.0
	for _, f := range frames {
		worst = max(worst, f)
	}
	fmt.Printf("  scrolling: %d frames, the slowest %.0f ms\n", len(frames), worst)
	if worst > useLimit/3 {
		t.Errorf("scrolling: got a frame of %.0f ms, want at most %v", worst, useLimit/3)
	}
}

// painted waits until a change is visible on the screen.
const painted = `new Promise((done) => requestAnimationFrame(() => setTimeout(done)))`

// measured returns how long a statement takes until its effect is drawn. The search's wait for the
// last key is not included.
const measured = `(async () => {
	const scroll = document.getElementById("scroll"), count = document.getElementById("count");
	let start = performance.now();
	const find = async (text) => {
		const field = document.getElementById("search");
		field.value = text;
		const changed = new Promise((done) => new MutationObserver(done).observe(count, { childList: true }));
		field.dispatchEvent(new Event("input"));
		start += 120;
		await changed;
	};
	await %s;
	await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
	return performance.now() - start;
})()`

// scrolled returns the duration of each frame while the table scrolls from its beginning.
const scrolled = `(async () => {
	const scroll = document.getElementById("scroll"), frames = [];
	scroll.scrollTop = 0;
	let last = performance.now();
	for (let i = 0; i < 120; i++) {
		scroll.scrollTop += i * 97;
		await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
		frames.push(performance.now() - last);
		last = performance.now();
	}
	return frames;
})()`
