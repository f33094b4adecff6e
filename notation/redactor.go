package notation

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dct2notation/dct2notation/internal/transport"
)

// A redactor knows the secrets that a plugin was given. Plugins quote them in their errors, which are shown to people
// and kept in the ledger. It replaces each value by its name, which tells a person more than the value would. It is
// safe for concurrent use.
type redactor []confidence

type confidence struct{ secret, shown string }

// secretName matches names of variables that hold more than a setting.
var secretName = regexp.MustCompile(`(?i)secret|token|passw|pin$|credential|_key|header|auth`)

// shortestSecret is the least length of a value to look for. Shorter ones would match inside words.
const shortestSecret = 4

// secretsOf takes every value of the plugin's configuration, since nothing shows which are secret. From its
// environment it takes variables that the user passed on or whose names look like secrets.
func secretsOf(config map[string]string, env, handedOn []string) redactor {
	var c redactor
	add := func(secret, shown string) {
		if _, notBool := strconv.ParseBool(secret); len(secret) < shortestSecret || notBool == nil {
			return
		}
		c = append(c, confidence{secret, shown})
		if raw, err := json.Marshal(secret); err == nil && string(raw[1:len(raw)-1]) != secret {
			c = append(c, confidence{string(raw[1 : len(raw)-1]), shown})
		}
	}
	for name, value := range config {
		add(value, "<plugin-config "+name+">")
	}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if slices.Contains(handedOn, name) || secretName.MatchString(name) {
			add(value, "<$"+name+">")
		}
	}
	// The longest first: one may be part of another.
	slices.SortFunc(c, func(a, b confidence) int {
		return cmp.Or(cmp.Compare(len(b.secret), len(a.secret)), cmp.Compare(a.shown, b.shown))
	})
	return c
}

// hide replaces secrets by their names, and removes what no address should show.
func (c redactor) hide(text string) string {
	for _, one := range c {
		text = strings.ReplaceAll(text, one.secret, one.shown)
	}
	return transport.RedactText(text)
}
