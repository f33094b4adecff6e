package command

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

// pairs is a flag of k=v, given once for each pair as notation's are. The value is taken as
// it stands: pflag's own type splits it at commas, and what is signed would not be what was
// written.
type pairs map[string]string

// Set takes one pair.
func (p *pairs) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok || k == "" {
		return errors.New("it takes k=v") // and may be a secret
	}
	if was, given := (*p)[k]; given && was != v {
		return errGivenTwice
	}
	if *p == nil {
		*p = pairs{}
	}
	(*p)[k] = v
	return nil
}

// Type is what the help shows.
func (p *pairs) Type() string { return "k=v" }

// String lists the pairs, sorted.
func (p *pairs) String() string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(*p)) {
		all = append(all, k+"="+(*p)[k])
	}
	return strings.Join(all, " ")
}

// errGivenTwice is for a flag, or a name of k=v, that has two values of which one would count: who
// wrote both expects the other.
var errGivenTwice = errors.New("it is given twice, with different values, and takes one")

// single is the value of a flag that takes one.
type single struct {
	pflag.Value
	given string
	set   bool
}

// Set takes the value, and none that differs from it after that.
func (s *single) Set(v string) error {
	if s.set && v != s.given {
		return errGivenTwice
	}
	s.given, s.set = v, true
	return s.Value.Set(v)
}

// refuseTwice has flags that take one value refuse a second. Those of lists and maps take more.
func refuseTwice(f *pflag.FlagSet) {
	f.VisitAll(func(one *pflag.Flag) {
		switch one.Value.(type) {
		case pflag.SliceValue, *pairs, *acceptedRoots, *single:
			return
		}
		if one.DefValue == "0s" {
			one.DefValue = "0" // pflag shows no zero in the help, and knows only its own durations
		}
		one.Value = &single{Value: one.Value}
	})
}

// flagError is the error for a value that a flag does not take, without the value where that may be a
// secret.
func flagError(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	if _, secret := invalid.GetFlag().Value.(*pairs); !secret && !errors.Is(err, errGivenTwice) {
		return err
	}
	what := "--" + invalid.GetFlag().Name
	if name, _, ok := strings.Cut(invalid.GetValue(), "="); ok && errors.Is(err, errGivenTwice) {
		what += " " + safetext.Safe(name, 128)
	}
	return fmt.Errorf("%s: %w", what, errors.Unwrap(invalid))
}

// hintOfFlag says what to do about an error of a verb's flags.
func hintOfFlag(c *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && len(unknown.GetSpecifiedName()) > 1 {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		name := unknown.GetSpecifiedName()
		switch like := nearest(name, names); {
		case name == "state" && slices.Contains(names, "ledger"):
			return c.Name() + " reads a ledger with --ledger; --state is of the verbs that write it"
		case name == "ledger" && slices.Contains(names, "state"):
			return c.Name() + " takes its ledger with --state; --ledger is of verbs that only compare with it"
		case like != "":
			return "is --" + like + " meant? " + c.CommandPath() + " --help shows the flags"
		}
	}
	return c.CommandPath() + " --help shows the flags"
}
