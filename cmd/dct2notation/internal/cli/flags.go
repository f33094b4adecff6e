package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// Pairs is a repeatable flag of k=v, as in notation. The value is used unchanged: pflag's own
// type splits it at commas, so the signed metadata would differ from what was typed.
type Pairs map[string]string

// Set parses one pair.
func (p *Pairs) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok || k == "" {
		return errors.New("it takes k=v") // without the value, which may be a secret
	}
	if was, given := (*p)[k]; given && was != v {
		return errGivenTwice
	}
	if *p == nil {
		*p = Pairs{}
	}
	(*p)[k] = v
	return nil
}

// Type is what the help shows.
func (p *Pairs) Type() string { return "k=v" }

// String lists the pairs, sorted.
func (p *Pairs) String() string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(*p)) {
		all = append(all, k+"="+(*p)[k])
	}
	return strings.Join(all, " ")
}

// errGivenTwice is for a flag, or a name of k=v, with two different values of which only one would count: the user
// expects both to.
var errGivenTwice = errors.New("given twice with different values")

// naming are the flags for files that name what is processed. They take no empty value, such as a script gives whose
// variable is not set: it would be as if the flag were not there, and something else would be signed or compared.
// Others take one, which overrides the configuration.
var naming = []string{"images", "only", "plan", "repositories-from", "running"}

var errEmpty = errors.New("its value is empty\nhint: leave the flag out, or look at the variable that should have its value")

// single is the value of a flag that takes one value.
type single struct {
	pflag.Value
	given  string
	set    bool
	filled bool // it takes no empty value
}

// Set sets the value; afterwards it refuses a different one.
func (s *single) Set(v string) error {
	if v == "" && s.filled {
		return errEmpty
	}
	if s.set && v != s.given {
		return errGivenTwice
	}
	s.given, s.set = v, true
	return s.Value.Set(v)
}

// many marks the value of a flag that may be given several times.
type many interface{ Many() }

// Many marks a flag that takes several values.
func (p *Pairs) Many() {}

// RefuseTwice makes flags that take one value refuse a second. Flags of lists and maps take several.
func RefuseTwice(f *pflag.FlagSet) {
	f.VisitAll(func(one *pflag.Flag) {
		switch one.Value.(type) {
		case pflag.SliceValue, many, *single:
			return
		}
		if one.DefValue == "0s" {
			one.DefValue = "0" // pflag hides a zero default in the help, and recognises only its own durations
		}
		one.Value = &single{Value: one.Value, filled: slices.Contains(naming, one.Name)}
	})
}

// wanted describes the values that flags of a type take.
var wanted = map[string]string{
	"int": "a whole number", "float64": "a number", "bool": "true or false", "duration": "a duration with a unit, such as 90s, 10m or 24h",
}

// FlagError returns the error for an invalid value of a flag, without the value if it may be a secret.
func FlagError(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	if takes := wanted[invalid.GetFlag().Value.Type()]; takes != "" && !errors.Is(err, errGivenTwice) {
		return fmt.Errorf("--%s %s: it takes %s", invalid.GetFlag().Name, safetext.Safe(invalid.GetValue(), 64), takes)
	}
	if errors.Is(err, errEmpty) {
		return fmt.Errorf("--%s: %w", invalid.GetFlag().Name, errEmpty)
	}
	if _, secret := invalid.GetFlag().Value.(*Pairs); !secret && !errors.Is(err, errGivenTwice) {
		return err
	}
	what := "--" + invalid.GetFlag().Name
	if name, _, ok := strings.Cut(invalid.GetValue(), "="); ok && errors.Is(err, errGivenTwice) {
		what += " " + safetext.Safe(name, 128)
	}
	return fmt.Errorf("%s: %w", what, errors.Unwrap(invalid))
}

// HintOfFlag returns what to do about an error of a verb's flags.
func HintOfFlag(c *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && len(unknown.GetSpecifiedName()) > 1 {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		name := unknown.GetSpecifiedName()
		switch like := Nearest(name, names); {
		case name == "state" && slices.Contains(names, "ledger"):
			return c.Name() + " reads a ledger with --ledger; --state is for commands that write one"
		case name == "ledger" && slices.Contains(names, "state"):
			return c.Name() + " takes its ledger with --state; --ledger is for commands that only read one"
		case name == "workers" && slices.Contains(names, "concurrency"):
			return c.Name() + " uses no key and takes --concurrency; --workers limits the key operations of a run"
		case len(verbsWith(c.Root(), name)) > 0:
			return fmt.Sprintf("--%s is a flag of %s; see %s --help", name, strings.Join(verbsWith(c.Root(), name), ", "), c.CommandPath())
		case like != "":
			return "did you mean --" + like + "? " + c.CommandPath() + " --help lists the flags"
		}
	}
	return c.CommandPath() + " --help lists the flags"
}

// verbsWith returns the verbs that have a flag.
func verbsWith(root *cobra.Command, flag string) []string {
	var verbs []string
	for _, verb := range root.Commands() {
		if f := verb.Flags().Lookup(flag); f != nil && !f.Hidden {
			verbs = append(verbs, verb.Name())
		}
	}
	return verbs
}

// Nearest returns the most similar name: it differs by no more than a third of its letters, or one begins with the
// other. Case and separators do not count. It is empty if no name is close.
func Nearest(word string, names []string) string {
	plain := strings.NewReplacer("-", "", "_", "", ".", "", " ", "").Replace
	word = plain(strings.ToLower(word))
	best, least := "", len(word)/3
	for _, name := range slices.Sorted(slices.Values(names)) {
		like := plain(name)
		d := distance(word, like)
		if d > 0 && len(word) > 2 && (strings.HasPrefix(like, word) || strings.HasPrefix(word, like)) {
			d = 1
		}
		if d < least || d == least && best == "" {
			best, least = name, d
		}
	}
	return best
}

// distance returns how many letters have to be changed, added or removed to turn one word into another.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
