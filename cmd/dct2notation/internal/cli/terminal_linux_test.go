package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/ptytest"
)

func init() { // whatever the terminal of whoever runs the tests
	_, _ = os.Unsetenv("NO_COLOR"), os.Unsetenv("TERM")
}

// screen is what a terminal shows in the end, with what was erased or written over left out.
func screen(text string) string {
	var shown []string
	for line := range strings.Lines(text) {
		if i := strings.LastIndex(line, `\e[2K`); i >= 0 {
			line = line[i+len(`\e[2K`):]
		}
		shown = append(shown, line)
	}
	return strings.Join(shown, "")
}

// Messages at a terminal are for people, and nothing in them is obeyed, whoever has written it.
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

// No message is written across the line of progress, to whichever stream it goes, and a wait is shown in that line, not
// as a message. The line is as long as the terminal at most.
func TestLineOfProgress(t *testing.T) {
	t.Parallel()
	for _, columns := range []int{40, 100, 160} {
		text := ptytest.Capture(t, columns, func(terminal *os.File) {
			s := Streams{Out: terminal, Err: terminal}.OnTerminals()
			o := &Common{LogFormat: "text", color: "never"}
			log, below := o.Logger(s.Err), o.ProgressOn(s.Err)
			log.Warn(Waiting, "host", "early.example.com", "reason", "429", "for", time.Millisecond) // there is no line yet
			below.Progress("signed: 1 of 3 images, 1 of 2 repositories, \x1b[31m1 failed\x1b[0m", "signed: 1 of 3 images, 1 of 2 repositories, 1 failed", strings.Repeat("rest ", 40))
			log.Error("failed", "repository", "team/app", "reason", "denied")
			log.Warn(Waiting, "host", "registry.example.com", "reason", "429 Too Many Requests", "for", time.Hour)
			below.Progress("signed: 2 of 3 images", "signed: 2 of 3 images", "not shown during a wait")
			fmt.Fprintln(s.Out, "a row of the result")
			below.Progress("", "", "")
			fmt.Fprintln(s.Out, "the end")
		})
		if got, want := screen(text), "! waiting: 429 (host early.example.com, for 1ms)\n! team/app: denied\na row of the result\nthe end\n"; got != want {
			t.Errorf("%d columns: got\n%s\nwant\n%s\nof %s", columns, got, want, text)
		}
		wait := map[bool]string{true: "signed: 2 of 3 images; waiting 1h0m0s: registry.example.com: 429 Too Many Requests", false: "signed: 2 of 3 images; waiting 1h0m"}[columns >= 100]
		if !strings.Contains(text, wait) || strings.Contains(text, "not shown") {
			t.Errorf("%d columns: got no reason of the wait, want %q\n%s", columns, wait, text)
		}
		for _, line := range strings.FieldsFunc(strings.ReplaceAll(text, `\e[2K`, "\n"), func(r rune) bool { return r == '\n' || r == '\r' }) {
			if n := ptytest.Width(line); n > columns-1 && !strings.HasPrefix(line, "! ") {
				t.Errorf("%d columns: got a line of %d: %s", columns, n, line)
			}
		}
	}
}
