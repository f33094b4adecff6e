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

// OnTerminals wraps the streams that are terminals as [Terminal]. This is the one place that decides which are.
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

// A Terminal is a stream that a person reads. Whatever is written to it, from any goroutine and as stdout or stderr,
// appears above the progress bar, if there is one.
type Terminal struct {
	file  *os.File
	below *bottom
}

// bottom is the last line of the terminals of a process: the progress, and the reason of a wait. Its bar is drawn
// only with mu held, so that nothing is written across it; the bar must not draw by itself.
type bottom struct {
	mu     sync.Mutex
	bar    *progressbar.ProgressBar // nil: not shown
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
	_ = t.below.bar.Clear() // a drawing error must not stop the work, here and below
	n, err := t.file.Write(p)
	if len(p) > 0 && p[len(p)-1] == '\n' {
		_ = t.below.bar.RenderBlank()
	}
	return n, err
}

// Width returns the number of columns.
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

// columns returns the width that the terminal reports; 0: unknown.
func (t *Terminal) columns() int {
	width, _, err := term.GetSize(int(t.file.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// A Status is the progress: in percent, and in words.
type Status struct {
	Percent int
	Text    string
	Amiss   []string // what failed
	Rest    string   // replaced by the reason of a wait
}

// Fail adds how many failed, unless none did.
func (s *Status) Fail(n int, how string) {
	if n > 0 {
		s.Amiss = append(s.Amiss, fmt.Sprintf("%d %s", n, how))
	}
}

// around is what the progress bar's module writes around the description if there is no room for a bar.
const around = len(" 100% ||  ")

// Progress shows a bar below everything else, until [Terminal.Done]. After the words it shows the reason of a wait,
// or else the rest, as far as there is room.
func (t *Terminal) Progress(s Status, colored bool) {
	t.below.mu.Lock()
	defer t.below.mu.Unlock()
	if t.below.bar == nil {
		// Colors are ours: the module would read "[red]" in the reason of a wait as a color code. If the width is
		// unknown it cannot fit a bar, and none is shown.
		t.below.bar = progressbar.NewOptions(100, progressbar.OptionSetWriter(t.file), progressbar.OptionSetWidth(min(t.columns(), 40)),
			progressbar.OptionUseANSICodes(true), progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish())
	}
	t.below.bar.Describe(s.describe(t.Width()-1-around, t.below.wait(), colored))
	_ = t.below.bar.Set(min(s.Percent, 99)) // 100 would finish the bar, and the work is not finished
}

// describe returns the status in that many columns. The reason of a wait is shown nowhere else, so it gets up to half
// of them.
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

// cut shortens a text to that many columns.
func cut(text string, columns int) string {
	if all := []rune(text); len(all) > columns {
		return string(all[:columns-1]) + "…"
	}
	return text
}

// Done removes the bar.
func (t *Terminal) Done() {
	t.below.mu.Lock()
	defer t.below.mu.Unlock()
	if t.below.bar != nil {
		_ = t.below.bar.Finish()
		t.below.bar = nil
	}
}

// wait returns how long the work waits, and why; empty: it does not.
func (b *bottom) wait() string {
	if left := time.Until(b.until).Round(time.Second); left > 0 {
		return "waiting " + left.String() + ": " + b.reason
	}
	return ""
}

// waits shows the reason of a wait beside the progress bar, and reports whether there is a bar.
func (t *Terminal) waits(reason string, d time.Duration) bool {
	t.below.mu.Lock()
	defer t.below.mu.Unlock()
	if until := time.Now().Add(d); until.After(t.below.until) {
		t.below.reason, t.below.until = safetext.Safe(reason, 200), until
	}
	return t.below.bar != nil
}
