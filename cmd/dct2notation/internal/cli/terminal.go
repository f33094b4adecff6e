package cli

import (
	"io"
	"os"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

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
// comes above a line of progress, if there is one.
type Terminal struct {
	file  *os.File
	below *bottom
}

// bottom is the last line of the terminals of a process: how far the work is, and why it waits.
type bottom struct {
	mu     sync.Mutex
	on     *Terminal // where it is shown; nil: it is not
	line   string
	reason string
	until  time.Time
}

// erase goes to the beginning of the line, and erases it.
const erase = "\r\x1b[2K"

// Write writes above the line of progress.
func (t *Terminal) Write(p []byte) (int, error) {
	t.below.mu.Lock()
	defer t.below.mu.Unlock()
	if t.below.on == nil {
		return t.file.Write(p)
	}
	_, _ = t.below.on.file.WriteString(erase) // drawing is no reason to stop
	n, err := t.file.Write(p)
	if len(p) > 0 && p[len(p)-1] == '\n' {
		t.below.draw()
	}
	return n, err
}

// Width returns how many columns there are.
func (t *Terminal) Width() int {
	width, _, err := term.GetSize(int(t.file.Fd()))
	if err == nil && width > 0 {
		return max(width, 40)
	}
	if width, err = strconv.Atoi(os.Getenv("COLUMNS")); err == nil && width > 0 {
		return max(width, 40)
	}
	return 80
}

// Progress shows a line below all others; an empty one takes it away. It may have colors, and plain is what it is
// without them. Behind it comes the reason of a wait, or else the rest, as far as there is room.
func (t *Terminal) Progress(line, plain, rest string) {
	t.below.mu.Lock()
	defer t.below.mu.Unlock()
	if line == "" {
		if t.below.on != nil {
			_, _ = t.file.WriteString(erase)
		}
		t.below.on, t.below.line = nil, ""
		return
	}
	room := t.Width() - 1 - utf8.RuneCountInString(plain)
	if room < 0 {
		line, room = string([]rune(plain)[:t.Width()-2])+"…", 0
	}
	if left := time.Until(t.below.until).Round(time.Second); left > 0 {
		rest = "waiting " + left.String() + ": " + t.below.reason
	}
	if behind := []rune("; " + rest); rest != "" && room > 10 {
		if len(behind) > room {
			behind = append(behind[:room-1], '…')
		}
		line += string(behind)
	}
	t.below.on, t.below.line = t, line
	t.below.draw()
}

func (b *bottom) draw() { _, _ = b.on.file.WriteString(erase + b.line) } // drawing is no reason to stop

// waits shows why the work waits in the line of progress, and reports whether there is one.
func (t *Terminal) waits(reason string, d time.Duration) bool {
	t.below.mu.Lock()
	defer t.below.mu.Unlock()
	if until := time.Now().Add(d); until.After(t.below.until) {
		t.below.reason, t.below.until = safetext.Safe(reason, 200), until
	}
	return t.below.on != nil
}
