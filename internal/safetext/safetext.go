// Package safetext makes foreign text fit to be shown: names from servers, messages of plugins, errors that quote
// them. For any input, the result holds nothing that a terminal or a log reader obeys or that changes the order in
// which text is read.
package safetext

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Safe returns s on one line. It escapes every character that does not print as itself, and cuts the text to limit
// characters, with a mark if it was longer.
func Safe(s string, limit int) string { return safe(s, limit, false) }

// Lines is [Safe] for text of several lines: it keeps line feeds.
func Lines(s string, limit int) string { return safe(s, limit, true) }

func safe(s string, limit int, lines bool) string {
	if len(s) <= limit && plain(s) {
		return s
	}
	var b strings.Builder
	count := 0
	for i := 0; i < len(s); count++ {
		if count == limit {
			b.WriteString("…")
			break
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' && lines, r == ' ', harmless(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}

// plain reports whether s prints as itself, as most text does.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// JSON replaces harmful characters in a JSON document with JSON escapes. The value stays the same, since they can
// only occur in strings.
func JSON(raw []byte) []byte {
	ascii := !slices.ContainsFunc(raw, func(b byte) bool { return b > '~' }) // as most documents are
	if ascii || !bytes.ContainsFunc(raw, harmful) {
		return raw
	}
	var b bytes.Buffer
	for _, r := range string(raw) {
		switch {
		case !harmful(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// harmful reports whether JSON leaves r unescaped although it must not be shown. DEL is one: JSON escapes only what
// is below the space.
func harmful(r rune) bool { return r > '~' && !harmless(r) }

// harmless reports whether r is a letter, mark, digit, punctuation or symbol. Control and format characters are not
// harmless, nor are the spaces and separators that look like others.
func harmless(r rune) bool {
	return unicode.IsGraphic(r) && !unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Z, r)
}

// Names joins foreign names, such as names of keys.
func Names(names []string) string {
	var all []string
	for _, n := range names {
		all = append(all, Safe(n, 128))
	}
	return strings.Join(all, ", ")
}

// FirstLine returns the first line of a text, fit to be shown; for an error this drops the hint.
func FirstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return Safe(line, 1024)
}

// Count returns a number with its noun, as in 1 repository and 2 repositories.
func Count(n int, noun string) string {
	stem, y := strings.CutSuffix(noun, "y")
	switch {
	case n == 1:
	case y && !strings.HasSuffix(stem, "a") && !strings.HasSuffix(stem, "e"): // not days, keys
		noun = stem + "ies"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
