package browser

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// tab has one page open, in a browser of its own. At the end of the test it checks that the page
// requested only itself and that the browser reported no problem.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string

	mu       sync.Mutex
	requests []string
	wrong    []string // messages, exceptions, dialogs
}

// step is an action in a tab.
type step = chromedp.Action[chromedp.Void]

// open opens a page and waits for its table.
func open(t *testing.T, path, hash string, before ...step) *tab {
	t.Helper()
	o := newTab(t, path)
	o.do(before...)
	o.load(hash)
	return o
}

// load loads or reloads the page and waits for its table.
func (o *tab) load(hash string) {
	o.t.Helper()
	o.do(chromedp.Navigate("about:blank"), chromedp.Navigate(o.url+hash))
	o.until(`document.documentElement.classList.contains("scripted")`)
}

// newTab starts a browser for one page.
func newTab(t *testing.T, path string) *tab {
	t.Helper()
	// In a container, the browser's sandbox lacks the rights that it needs.
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(browser), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1360, 1000),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, stop := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, closeTab := chromedp.NewContext(ctx)
	o := &tab{t: t, ctx: ctx, url: "file://" + path}
	t.Cleanup(func() {
		closeTab()
		stop()
		o.quiet()
	})
	if err := chromedp.Listen(ctx, o.event); err != nil {
		t.Fatal(err)
	}
	o.do(send(log.Enable, cdp.Empty{}), send(network.Enable, network.EnableParams{}))
	return o
}

// send sends a command of the protocol whose answer is not needed.
func send[P, R any](command cdp.Command[P, R], params P) step {
	return func(ctx context.Context, t *chromedp.Target) (none chromedp.Void, err error) {
		_, err = cdp.Call(ctx, t, command, params)
		return none, err
	}
}

func (o *tab) event(event any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		o.requests = append(o.requests, e.Request.URL)
	case *log.EventEntryAdded: // this includes refusals by the content security policy
		o.wrong = append(o.wrong, fmt.Sprintf("%s: %.300s", e.Entry.Source, e.Entry.Text))
	case *runtime.EventConsoleAPICalled:
		o.wrong = append(o.wrong, fmt.Sprintf("console.%s: %d values", e.Type, len(e.Args)))
	case *runtime.EventExceptionThrown:
		o.wrong = append(o.wrong, fmt.Sprintf("exception: %s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *cdppage.EventJavascriptDialogOpening:
		o.wrong = append(o.wrong, "dialog: "+e.Message)
	}
}

func (o *tab) quiet() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.requests {
		if before, _, _ := strings.Cut(r, "#"); before != o.url && r != "about:blank" {
			o.t.Errorf("the page asked for %.200s", r)
		}
	}
	if len(o.requests) == 0 || len(o.wrong) > 0 {
		o.t.Errorf("%d requests, and the browser complains of %q", len(o.requests), o.wrong)
	}
}

func (o *tab) do(steps ...step) {
	o.t.Helper()
	for _, one := range steps {
		get(o, one)
	}
}

// get runs actions that return a value.
func get[T any](o *tab, action chromedp.Action[T]) T {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.ctx, time.Minute)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		o.t.Fatal(err)
	}
	return value
}

// eval returns an expression's value, or what its promise resolves to. The page's policy does not
// apply to it.
func eval[T any](o *tab, expression string) T {
	o.t.Helper()
	return get(o, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// js runs a statement in the page.
func (o *tab) js(statement string) {
	o.t.Helper()
	eval[chromedp.Void](o, statement)
}

// until waits until an expression is true.
func (o *tab) until(expression string) {
	o.t.Helper()
	for range 2000 {
		if eval[bool](o, expression) {
			return
		}
		o.js(`new Promise((done) => setTimeout(done, 10))`)
	}
	o.t.Fatalf("never true: %s; counted: %s", expression, o.counted())
}

// press presses keys one after the other. If the page handles a key itself, the key is not typed;
// KeyEvent does not allow for that.
func (o *tab) press(keys ...string) {
	o.t.Helper()
	for _, k := range keys {
		if len(k) > 1 || k[0] < ' ' || k[0] > '~' {
			o.do(chromedp.KeyEvent(k))
			continue
		}
		o.do(
			send(input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: k, Text: k}),
			send(input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyUp, Key: k}),
		)
	}
}

// click clicks the first matching element.
func (o *tab) click(selector string) {
	o.t.Helper()
	at := eval[[]float64](o, fmt.Sprintf(`(() => {
		const element = document.querySelector(%q);
		element.scrollIntoView({ block: "center" });
		const box = element.getClientRects()[0];
		return [box.left + box.width / 2, box.top + box.height / 2];
	})()`, selector))
	o.do(chromedp.MouseClickXY(at[0], at[1]))
}

// choose selects an option of a list.
func (o *tab) choose(selector, value string) {
	o.t.Helper()
	o.do(chromedp.SetValue(selector, value))
	o.js(fmt.Sprintf(`document.querySelector(%q).dispatchEvent(new Event("change"))`, selector))
}

// search replaces the present search.
func (o *tab) search(text string) {
	o.t.Helper()
	o.js(`document.getElementById("search").select()`)
	o.press(kb.Backspace)
	o.press(strings.Split(text, "")...)
}

func (o *tab) counted() string {
	return eval[string](o, `document.getElementById("count").textContent`)
}

// counts waits until the page reports that many rows.
func (o *tab) counts(want string) {
	o.t.Helper()
	o.until(fmt.Sprintf(`document.getElementById("count").textContent === %q`, want))
}

// cells returns the texts of a column in the rows that are drawn, in order.
func (o *tab) cells(column string) []string {
	o.t.Helper()
	return eval[[]string](o, fmt.Sprintf(`[...document.querySelectorAll("#body tr[data-at]:not([hidden])")].sort((a, b) => a.dataset.at - b.dataset.at).map((row) => row.querySelector(".col-%s").textContent)`, column))
}

// style returns a computed style.
func (o *tab) style(selector, property string) string {
	o.t.Helper()
	return eval[string](o, fmt.Sprintf(`getComputedStyle(document.querySelector(%q)).getPropertyValue(%q)`, selector, property))
}
