package session

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// A glob matches whole names: * stands for any characters but /, ** for any at all, ? for
// one that is not /. No library means the same by ** and is sure to stay so (docs/adr/0008-globs.md).
type glob struct {
	text    string
	pattern *regexp.Regexp
}

func isGlob(s string) bool { return strings.ContainsAny(s, "*?") }

func parseGlob(s string) (glob, error) {
	if s == "" {
		return glob{}, errors.New("an empty glob")
	}
	if strings.ContainsAny(s, "[]{}") {
		return glob{}, fmt.Errorf("glob %s: only *, ** and ? are supported", safetext.Safe(s, 256))
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
		return glob{}, fmt.Errorf("glob %s: %w", safetext.Safe(s, 256), err)
	}
	return glob{s, pattern}, nil
}

type globs []glob

func parseGlobs(all []string) (globs, error) {
	var list globs
	for _, s := range all {
		g, err := parseGlob(s)
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, nil
}

func (g globs) match(name string) bool {
	for _, one := range g {
		if one.pattern.MatchString(name) {
			return true
		}
	}
	return false
}
