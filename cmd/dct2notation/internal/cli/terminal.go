package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// OnTerminals returns the streams with those that are terminals as a [Terminal]. This is the one place that
// decides what is one.
func (s Streams) OnTerminals() Streams {
	shared := &bottom{}
	s.Out, s.Err = terminal(s.Out, shared), terminal(s.Err, shared)
	return s
}

func terminal(w io.Writer, below *bottom) io.Writer {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" || !obeysEscapes(f) {
		return w
	}
	return &Terminal{f, below}
}

// A Terminal is where a person reads along. What is written to it, from whichever goroutine and as stdout or stderr,
// comes above the progress bar, if there is one.
type Terminal struct {
	file  *os.File
	below *bottom
}

// bottom is the last line of the terminals of a process: how far the work is, and why it waits. Its bar is drawn with
// mu held only, so that nothing is written across it; the bar must not draw by itself.
type bottom struct {
	mu     sync.Mutex
	bar    *progressbar.ProgressBar // nil: none is shown
	reason string
	until  time.Time
}

// Write writes above the progress bar.
func (t *Terminal) Write(p []byte) (int, error) {
	t.below.mu.Lock()
	defer t.below.mu.Unlock()
	if t.below.bar == nil {
		return t.file.Write(p)
	}
	_ = t.below.bar.Clear() // drawing is no reason to stop, here and below
	n, err := t.file.Write(p)
	if len(p) > 0 && p[len(p)-1] == '\n' {
		_ = t.below.bar.RenderBlank()
	}
	return n, err
}

// Width returns how many columns there are.
func (t *Terminal) Width() int {
	width := t.columns()
	if width == 0 {
		width, _ = strconv.Atoi(os.Getenv("COLUMNS"))
	}
	if width <= 0 {
		return 80
	}
	return max(width, 40)
}

// columns is what the terminal says of its width; 0: it does not.
func (t *Terminal) columns() int {
	width, _, err := term.GetSize(int(t.file.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// A Status is how far the work is: so many parts of a hundred, and in words.
type Status struct {
	Percent int
	Text    string
	Amiss   []string // what failed
	Rest    string   // gives way to the reason of a wait
}

// Fail says that so many failed; of none it says nothing.
func (s *Status) Fail(n int, how string) {
	if n > 0 {
		s.Amiss = append(s.Amiss, fmt.Sprintf("%d %s", n, how))
	}
}

// around is what the bar's module writes beside the description where there is no room for a bar.
const around = len(" 100% ||  ")

// Progress shows a bar below all else, until [Terminal.Done]. Behind the words comes the reason of a wait, or else the
// rest, as far as there is room.
func (t *Terminal) Progress(s Status, colored bool) {
	t.below.mu.Lock()
	defer t.below.mu.Unlock()
	if t.below.bar == nil {
		// Colors are ours: with its own codes, the module would take "[red]" in the reason of a wait for one. Where the
		// width is not known it cannot fit a bar into it, and there is none.
		t.below.bar = progressbar.NewOptions(100, progressbar.OptionSetWriter(t.file), progressbar.OptionSetWidth(min(t.columns(), 40)),
			progressbar.OptionUseANSICodes(true), progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish())
	}
	t.below.bar.Describe(s.describe(t.Width()-1-around, t.below.wait(), colored))
	_ = t.below.bar.Set(min(s.Percent, 99)) // at 100 it would be finished, and the work is not
}

// describe says it in so many columns. The reason of a wait is said nowhere else, so half of them are for it.
func (s Status) describe(room int, wait string, colored bool) string {
	behind, kept := "; "+s.Rest, 0
	if wait != "" {
		behind = "; " + wait
		kept = min(utf8.RuneCountInString(behind), room/2)
	}
	full := strings.Join(append([]string{s.Text}, s.Amiss...), ", ")
	text := cut(full, room-kept)
	room -= utf8.RuneCountInString(text)
	if text == full && colored {
		text = s.Text
		for _, one := range s.Amiss {
			text += ", \x1b[31m" + one + "\x1b[0m"
		}
	}
	if behind == "; " || room <= 10 {
		return text
	}
	return text + cut(behind, room)
}

// cut shortens a text to so many columns.
func cut(text string, columns int) string {
	if all := []rune(text); len(all) > columns {
		return string(all[:columns-1]) + "…"
	}
	return text
}

// Done takes the bar away.
func (t *Terminal) Done() {
	t.below.mu.Lock()
	defer t.below.mu.Unlock()
	if t.below.bar != nil {
		_ = t.below.bar.Finish()
		t.below.bar = nil
	}
}

// wait says for how long the work waits, and why; empty: it does not.
func (b *bottom) wait() string {
	if left := time.Until(b.until).Round(time.Second); left > 0 {
		return "waiting " + left.String() + ": " + b.reason
	}
	return ""
}

// waits shows why the work waits beside the progress bar, and reports whether there is one.
func (t *Terminal) waits(reason string, d time.Duration) bool {
	t.below.mu.Lock()
	defer t.below.mu.Unlock()
	if until := time.Now().Add(d); until.After(t.below.until) {
		t.below.reason, t.below.until = safetext.Safe(reason, 200), until
	}
	return t.below.bar != nil
}
