package safetext

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"
)

func TestNothingHostileIsRendered(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"registry.example.com/team/app:v1": "registry.example.com/team/app:v1",
		"grüße 日本":                         "grüße 日本",
		"\x1b]0;owned\a":                   `\x1b]0;owned\x07`,
		"a\r\nb":                           `a\x0d\x0ab`,
		"user\u202etxt.exe":                `user\u202etxt.exe`,
		"\u2066a\u2069":                    `\u2066a\u2069`,
		"zero\u200bwidth":                  `zero\u200bwidth`,
		"no\u00a0break":                    `no\u00a0break`,
		"bad\xffutf8":                      `bad\xffutf8`,
		"\u009b31m":                        `\u009b31m`,
	} {
		if got := Safe(in, 100); got != want {
			t.Errorf("Safe(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Safe("abcdef", 3); got != "abc…" {
		t.Errorf("got %q, want abc…", got)
	}
	raw := []byte("{\"a\":\"\u202e\u009b\u007f\U000e0041ü\\n\"}")
	var before, after map[string]string
	if err := errors.Join(json.Unmarshal(raw, &before), json.Unmarshal(JSON(raw), &after)); err != nil || before["a"] != after["a"] {
		t.Errorf("JSON of %q: got %q, %v, want the same", before, after, err)
	}
	if got := string(JSON(raw)); got != `{"a":"\u202e\u009b\u007f\udb40\udc41ü\n"}` {
		t.Errorf("JSON: got %s, want escapes", got)
	}
	if got := Lines("a\nb\tc", 10); got != "a\nb\\x09c" {
		t.Errorf("Lines: got %q, want %q", got, "a\nb\\x09c")
	}
}

func FuzzSafe(f *testing.F) {
	f.Add("\x1b[31m\u202e\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		got := Safe(s, 1000)
		bad := strings.IndexFunc(got, func(r rune) bool {
			return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)
		})
		if bad >= 0 {
			t.Errorf("Safe(%q): got %q, want no character that is obeyed", s, got)
		}
	})
}

func TestCount(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"0 gates": Count(0, "gate"), "1 gate": Count(1, "gate"), "2 gates": Count(2, "gate"),
		"1 repository": Count(1, "repository"), "12 repositories": Count(12, "repository"),
		"1 day": Count(1, "day"), "2 days": Count(2, "day"), "3 keys": Count(3, "key"),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
