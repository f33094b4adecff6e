// Package glob matches names against globs from configurations, flags and decisions, all by the same rules.
package glob

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// A Glob matches whole names: * stands for any characters but /, ** for any characters, ? for one that is not /. No
// library defines ** in this way and promises to keep it (docs/adr/0008-globs.md).
type Glob struct {
	text    string
	pattern *regexp.Regexp
}

// In reports whether a name is a glob rather than a plain name.
func In(s string) bool { return strings.ContainsAny(s, "*?") }

// Parse reads one glob.
func Parse(s string) (Glob, error) {
	if s == "" {
		return Glob{}, errors.New("an empty glob")
	}
	if strings.ContainsAny(s, "[]{}") {
		return Glob{}, fmt.Errorf("glob %s: only *, ** and ? are supported", safetext.Safe(s, 256))
	}
	var b strings.Builder
	b.WriteString(`^`)
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "**"):
			b.WriteString(`.*`)
			i++
		case s[i] == '*':
			b.WriteString(`[^/]*`)
		case s[i] == '?':
			b.WriteString(`[^/]`)
		default:
			b.WriteString(regexp.QuoteMeta(s[i : i+1]))
		}
	}
	pattern, err := regexp.Compile(b.String() + `$`)
	if err != nil {
		return Glob{}, fmt.Errorf("glob %s: %w", safetext.Safe(s, 256), err)
	}
	return Glob{s, pattern}, nil
}

// String returns the glob as it was written.
func (g Glob) String() string { return g.text }

// Match reports whether the glob matches the whole name.
func (g Glob) Match(name string) bool { return g.pattern.MatchString(name) }

// A List matches what any of its globs matches.
type List []Glob

// ParseAll parses globs. The error is about the first invalid one.
func ParseAll(all []string) (List, error) {
	var list List
	for _, s := range all {
		g, err := Parse(s)
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, nil
}

// Match reports whether a glob of the list matches the name.
func (l List) Match(name string) bool {
	for _, one := range l {
		if one.Match(name) {
			return true
		}
	}
	return false
}
