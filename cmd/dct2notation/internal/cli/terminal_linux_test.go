package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/ptytest"
)

func init() { // independent of the terminal in which the tests run
	_, _ = os.Unsetenv("NO_COLOR"), errors.Join(os.Unsetenv("TERM"), os.Unsetenv("COLUMNS"))
}

// screen returns what a terminal shows in the end, without erased or overwritten text.
func screen(text string) string {
	var shown []string
	for line := range strings.Lines(text) {
		if i := strings.LastIndex(line, `\e[2K`); i >= 0 {
			line = strings.TrimPrefix(line[i+len(`\e[2K`):], "\r")
		}
		shown = append(shown, line)
	}
	return strings.Join(shown, "")
}

// Messages on a terminal are written for people. The terminal obeys nothing in them, whoever wrote
// it.
func TestMessagesForPeople(t *testing.T) {
	t.Parallel()
	const expired = "reading trust data of team/expired: trust data expired\nhint: ask its \x1b[31mowner\u202e"
	write := func(log *slog.Logger) {
		log.Error("trust data not read", append([]any{"repository", "team/expired", "class", "expired"}, Reasoned(expired)...)...)
		log.Error("failed", "repository", "team/app", "digest", "sha256:0123456789abcdef0123", "reason", "the key refuses\x07")
		log.Warn("plan changed", "repository", "team/\x1b]0;owned", "what", "v1")
		log.With("authority", "http://tsa").Info("renewed", "valid_until", "2027-01-01", "error", errors.New("a\nb"))
		log.Info(KeyOpened, "name", "release")
		log.Debug("not shown")
	}
	const people = `! team/expired: trust data expired
  hint: ask its \x1b[31mowner\u202e
! team/app@0123456789ab: the key refuses\x07
! team/\x1b]0;owned: plan changed (what v1)
renewed (authority http://tsa, valid until 2027-01-01, error a\x0ab)
`
	for name, one := range map[string]struct {
		o    Common
		want string
	}{
		"color":  {Common{LogFormat: "text", color: "always"}, strings.ReplaceAll(strings.ReplaceAll("\n"+people, "\n! team/\\", "\n\\e[33m!\\e[0m team/\\"), "\n! ", "\n\\e[31m!\\e[0m ")[1:]},
		"never":  {Common{LogFormat: "text", color: "never"}, people},
		"quiet":  {Common{LogFormat: "text", color: "never", Quiet: true}, people[:strings.Index(people, "renewed")]},
		"no-tty": {Common{LogFormat: "text", noTTY: true}, "level=ERROR msg=\"trust data not read\" repository=team/expired class=expired reason=\"reading"},
		"json":   {Common{LogFormat: "json"}, `{"time":`},
	} {
		text := ptytest.Capture(t, 100, func(terminal *os.File) {
			write(one.o.Logger(Streams{Err: terminal}.OnTerminals().Err))
		})
		if text != one.want && (name == "color" || name == "never" || name == "quiet") || !strings.HasPrefix(text, one.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, text, one.want)
		}
	}
}

// No message is written across the progress bar, whichever stream it goes to. A wait is shown
// beside the bar, not as a message. The line is never longer than the terminal: the bar makes room
// for the words.
func TestProgressBar(t *testing.T) {
	t.Parallel()
	for _, columns := range []int{0, 40, 80, 100, 160} { // 0: the terminal does not say
		text := ptytest.Capture(t, columns, func(terminal *os.File) {
			s := Streams{Out: terminal, Err: terminal}.OnTerminals()
			o := &Common{LogFormat: "text", color: "never"}
			log, below := o.Logger(s.Err), o.ProgressOn(s.Err)
			log.Warn(Waiting, "host", "early", "reason", "429", "for", time.Millisecond) // there is no bar yet
			below.Progress(Status{Text: "signed: 0 of 4 images", Rest: "soon"}, true)
			below.Progress(Status{Percent: 25, Text: "signed: 1 of 4 images, 1 of 2 repositories", Amiss: []string{"1 failed"}, Rest: strings.Repeat("rest ", 40)}, true)
			log.Error("failed", "repository", "team/app", "reason", "denied")
			log.Warn(Waiting, "host", "registry.example.com", "reason", "429 [red]Too\x1b[2J Many", "for", time.Hour)
			below.Progress(Status{Percent: 50, Text: "signed: 2 of 4 images", Rest: "not shown during a wait"}, true)
			fmt.Fprintln(s.Out, "a row of the result")
			below.Progress(Status{Percent: 100, Text: "signed: 4 of at least 4 images, and this is a long text"}, true)
			fmt.Fprintln(s.Err, "another row")
			below.Done()
			fmt.Fprintln(s.Out, "the end")
		})
		if got, want := screen(text), "! waiting: 429 (host early, for 1ms)\n! team/app: denied\na row of the result\nanother row\nthe end\n"; got != want {
			t.Errorf("%d columns: got\n%s\nwant\n%s\nof %s", columns, got, want, text)
		}
		wait := "signed: 2 of 4 images; waiting 1h0m0s: registry.example.com"
		if columns == 40 {
			wait = "signed: 2 of 4…; waiting 1h0"
		}
		for want, shown := range map[string]bool{
			wait:                                    true,
			`: 429 [red]Too\x1b[2J Many  50% |`:     columns >= 100,
			`\e[31m1 failed\e[0m`:                   columns != 40,
			"25% |█":                                columns >= 100,
			"25% ||":                                columns != 40,
			"99% |":                                 true,
			"100%":                                  false,
			"a row of the result\n\rsigned: 2 of 4": true, // the bar is drawn again below it
			"not shown":                             false,
		} {
			if got := strings.Contains(text, want); got != shown {
				t.Errorf("%d columns: got %q %v, want %v\n%s", columns, want, got, shown, text)
			}
		}
		limit := columns - 1
		if columns == 0 {
			limit = 79
		}
		for _, line := range strings.FieldsFunc(strings.ReplaceAll(text, `\e[2K`, "\n"), func(r rune) bool { return r == '\n' || r == '\r' }) {
			line = strings.TrimRight(strings.ReplaceAll(line, `\e[0K`, ""), " ")
			if n := ptytest.Width(line); n > limit && !strings.HasPrefix(line, "! ") {
				t.Errorf("%d columns: got a line of %d: %s", columns, n, line)
			}
		}
	}
}

// Messages that several goroutines write while the bar is drawn are not broken up.
func TestMessagesBesideTheBarStayWhole(t *testing.T) {
	t.Parallel()
	var want []string
	text := ptytest.Capture(t, 100, func(terminal *os.File) {
		s := Streams{Out: terminal, Err: terminal}.OnTerminals()
		below := s.Err.(*Terminal)
		var all sync.WaitGroup
		for i := range 4 {
			to := []io.Writer{s.Out, s.Err}[i%2]
			for n := range 25 {
				want = append(want, fmt.Sprintf("message %d of %d", n, i))
			}
			lines := want[len(want)-25:]
			all.Go(func() {
				for n, line := range lines {
					below.Progress(Status{Percent: 4 * n, Text: "signed: some"}, true)
					fmt.Fprintln(to, line)
				}
			})
		}
		all.Wait()
		below.Done()
	})
	got := strings.Split(strings.TrimSuffix(screen(text), "\n"), "\n")
	got = slices.DeleteFunc(got, func(line string) bool { return line == "" }) // where the bar was
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
