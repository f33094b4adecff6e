package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The headings under which --help lists flags, in their order.
const (
	GroupTrust    = "Trust data"
	GroupSelect   = "Repositories and tags"
	GroupKey      = "Key and plugin"
	GroupSigning  = "Signatures"
	GroupProgress = "Ledger and resuming"
	GroupServers  = "Registries and credentials"
	GroupLimits   = "Limits"
	GroupOutput   = "Configuration and output"
)

// groups lists the groups in order; flags without a group come first.
var groups = []string{"", GroupTrust, GroupSelect, GroupKey, GroupSigning, GroupProgress, GroupServers, GroupLimits, GroupOutput}

// Groups returns the headings in order; the first one is empty, for flags without a heading.
func Groups() []string { return slices.Clone(groups) }

// groupOf is the annotation that names a flag's group.
const groupOf = "dct2notation_group"

// GroupOf returns the heading of a flag; empty: none.
func GroupOf(f *pflag.Flag) string { return strings.Join(f.Annotations[groupOf], "") }

// Grouped binds flags under a heading.
func Grouped(f *pflag.FlagSet, group string, bind func(*pflag.FlagSet)) {
	part := pflag.NewFlagSet(group, pflag.ContinueOnError)
	part.SortFlags = false
	bind(part)
	f.SortFlags = false // keep their order: related flags stay together
	part.VisitAll(func(one *pflag.Flag) {
		one.Annotations = map[string][]string{groupOf: {group}}
		f.AddFlag(one)
	})
}

// firstOf is the annotation of flags that most people need: the position among those.
const firstOf = "dct2notation_first"

// First makes the help of a verb begin with some of its flags, which must be bound already.
func First(f *pflag.FlagSet, names ...string) {
	for i, name := range names {
		f.Lookup(name).Annotations = map[string][]string{firstOf: {fmt.Sprintf("%02d", i)}}
	}
}

// helpWidth is the line width of the help.
const helpWidth = 120

// A FlagGroup holds the flags under one heading of the help.
type FlagGroup struct {
	Heading string
	Flags   *pflag.FlagSet
}

// FlagGroups returns the flags of a verb as its help lists them.
func FlagGroups(all *pflag.FlagSet) (shown []FlagGroup) {
	parts := map[string]*pflag.FlagSet{}
	var flags []*pflag.Flag
	all.VisitAll(func(one *pflag.Flag) { flags = append(flags, one) })
	slices.SortStableFunc(flags, func(a, b *pflag.Flag) int { // flags without a position come last
		return strings.Compare(strings.Join(a.Annotations[firstOf], "")+"~", strings.Join(b.Annotations[firstOf], "")+"~")
	})
	for _, one := range flags {
		name := GroupOf(one)
		if parts[name] == nil {
			parts[name] = pflag.NewFlagSet(name, pflag.ContinueOnError)
			parts[name].SortFlags = false
		}
		parts[name].AddFlag(one)
	}
	for _, name := range groups {
		if parts[name] != nil && parts[name].HasAvailableFlags() {
			shown = append(shown, FlagGroup{cmp.Or(name, "Flags"), parts[name]})
		}
	}
	return shown
}

// groupedUsages lists flags under their headings.
func groupedUsages(all *pflag.FlagSet) string {
	var parts []string
	for _, group := range FlagGroups(all) {
		parts = append(parts, group.Heading+":\n"+strings.TrimRight(group.Flags.FlagUsagesWrapped(helpWidth), "\n"))
	}
	return strings.Join(parts, "\n\n")
}

// addTemplate runs once: cobra keeps template functions in an unguarded map.
var addTemplate = sync.OnceFunc(func() { cobra.AddTemplateFunc("groupedUsages", groupedUsages) })

// GroupFlags makes the help of a command and its subcommands list flags under headings.
func GroupFlags(root *cobra.Command) {
	addTemplate()
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "\nFlags:\n{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}", "\n{{groupedUsages .LocalFlags}}", 1))
}

// FirstChanged returns the first flag that bind binds and the command line sets; empty: none.
func FirstChanged(f *pflag.FlagSet, bind func(*pflag.FlagSet)) string {
	all, name := pflag.NewFlagSet("", pflag.ContinueOnError), ""
	bind(all)
	all.VisitAll(func(one *pflag.Flag) {
		if set := f.Lookup(one.Name); name == "" && set != nil && set.Changed {
			name = one.Name
		}
	})
	return name
}

// Without binds flags as bind does, except the named ones: a verb refuses what it would ignore.
func Without(f *pflag.FlagSet, bind func(*pflag.FlagSet), names ...string) {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	bind(all)
	f.SortFlags = false
	all.VisitAll(func(one *pflag.Flag) {
		if !slices.Contains(names, one.Name) {
			f.AddFlag(one)
		}
	})
}

// HideFlags hides flags from the help of a verb that accepts another verb's command line and has no use for them.
func HideFlags(f *pflag.FlagSet, names ...string) {
	f.VisitAll(func(one *pflag.Flag) {
		if slices.Contains(names, one.Name) {
			one.Hidden = true
		}
	})
}
