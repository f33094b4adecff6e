package command

import (
	"errors"
	"maps"
	"slices"
	"strings"
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
