package session

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// environment holds the variables that a configuration took from the environment. They may be secret, and errors
// about the configuration quote what is wrong.
type environment map[string]string

// expand replaces ${NAME} in every string by the environment variable, which must be set.
func (e environment) expand(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return e.expandString(v)
	case []any:
		for i := range v {
			one, err := e.expand(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = one
		}
	case map[string]any:
		for k := range v {
			one, err := e.expand(v[k])
			if err != nil {
				return nil, err
			}
			v[k] = one
		}
	}
	return v, nil
}

func (e environment) expandString(s string) (string, error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "${")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return "", errors.New("a ${ has no closing brace")
		}
		value, set := os.LookupEnv(name)
		if !set {
			return "", fmt.Errorf("environment variable %s is not set", name)
		}
		e[name] = value
		b.WriteString(value)
		s = after
	}
}

// hide replaces the values of variables in a text by their names, as the configuration has them.
func (e environment) hide(text string) string {
	for name, value := range e {
		if len(value) < 4 {
			continue // it would match in the middle of words
		}
		quoted := strconv.Quote(value)
		for _, form := range []string{value, quoted[1 : len(quoted)-1]} {
			text = strings.ReplaceAll(text, form, "${"+name+"}")
		}
	}
	return text
}
