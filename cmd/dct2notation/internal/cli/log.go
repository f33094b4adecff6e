package cli

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/report"
)

// Heartbeat is how often a line is written if there is no progress bar.
const Heartbeat = 10 * time.Second

// Reasoned returns the log attributes of a failure: its reason and, separately, the hint.
func Reasoned(text string) []any {
	reason, hint, hinted := strings.Cut(text, "\nhint: ")
	attrs := []any{"reason", safetext.FirstLine(reason)}
	if hinted {
		attrs = append(attrs, "hint", safetext.Safe(strings.ReplaceAll(hint, "\nhint: ", "; "), 2000))
	}
	return attrs
}

// KeyOpened is the message for a key that was proven. On a terminal, the result shows the key instead.
const KeyOpened = "key"

// Waiting is the message of a wait, with its cause ("reason") and duration ("for"). A progress bar shows it instead.
const Waiting = "waiting"

// forPeople writes messages for a person at a terminal: a mark, the subject, what is wrong, and below that what to
// do.
type forPeople struct {
	to    *Terminal
	color bool
	level slog.Level
	attrs []slog.Attr
}

// Enabled implements slog.Handler.
func (h *forPeople) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

// WithAttrs implements slog.Handler.
func (h *forPeople) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.attrs = slices.Concat(h.attrs, attrs)
	return &with
}

// WithGroup implements slog.Handler. None of our messages has groups.
func (h *forPeople) WithGroup(string) slog.Handler { return h }

// Handle implements slog.Handler.
func (h *forPeople) Handle(_ context.Context, r slog.Record) error {
	if r.Message == KeyOpened && r.Level <= slog.LevelInfo && h.level > slog.LevelDebug {
		return nil
	}
	all := slices.Clone(h.attrs)
	r.Attrs(func(a slog.Attr) bool { all = append(all, a); return true })
	get := func(key string, limit int) string {
		for _, a := range all {
			if a.Key == key {
				return safetext.Safe(a.Value.String(), limit)
			}
		}
		return ""
	}
	take := func(key string, limit int) string {
		text := get(key, limit)
		all = slices.DeleteFunc(all, func(a slog.Attr) bool { return a.Key == key })
		return text
	}
	if i := slices.IndexFunc(all, func(a slog.Attr) bool { return a.Key == "for" }); i >= 0 && r.Message == Waiting {
		why := strings.TrimPrefix(get("host", 256)+": "+get("reason", 256), ": ")
		if d, ok := all[i].Value.Any().(time.Duration); ok && h.to.waits(why, d) {
			return nil
		}
	}
	subject, reason, hint := take("repository", 256), take("reason", 1024), take("hint", 2000)
	if tag := take("tag", 128); tag != "" {
		subject += ":" + tag
	}
	if digest := take("digest", 80); digest != "" {
		subject += "@" + strings.TrimPrefix(digest, "sha256:")[:min(12, len(strings.TrimPrefix(digest, "sha256:")))]
	}
	if reason != "" {
		take("class", 0) // the reason includes it
	}
	text := safetext.Safe(r.Message, 1024)
	if reason != "" && subject != "" {
		text = strings.TrimPrefix(reason, "reading trust data of "+subject+": ")
	} else if reason != "" {
		text += ": " + reason
	}
	if subject != "" {
		text = subject + ": " + text
	}
	var rest []string
	for _, a := range all {
		rest = append(rest, strings.ReplaceAll(a.Key, "_", " ")+" "+safetext.Safe(a.Value.String(), 500))
	}
	if len(rest) > 0 {
		text += " (" + strings.Join(rest, ", ") + ")"
	}
	if mark := map[bool]string{true: "31", false: "33"}[r.Level >= slog.LevelError]; r.Level >= slog.LevelWarn && h.color {
		text = "\x1b[" + mark + "m!\x1b[0m " + text
	} else if r.Level >= slog.LevelWarn {
		text = "! " + text
	}
	screen := report.Screen{Width: h.to.Width()}
	text = screen.Wrap("", "  ", text)
	if hint != "" {
		text += screen.Wrap("  ", "    ", "hint: "+hint)
	}
	_, err := io.WriteString(h.to, text)
	return err
}
