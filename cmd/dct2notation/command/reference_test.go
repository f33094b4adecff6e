package command

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/schematest"
)

var referenceDocs = filepath.Join("..", "..", "..", "docs", "reference")

// The pages describe verbs, flags and keys in the words of the commands themselves.
func TestReference(t *testing.T) {
	t.Parallel()
	root := NewRoot(nil, cli.Streams{})
	verbs := documentedVerbs(root)
	if len(verbs) < 16 {
		t.Fatalf("got %d verbs, want all of them", len(verbs))
	}
	schematest.Made(t, filepath.Join(referenceDocs, "verbs.md"), "verbs", verbsPage(verbs), *update)
	keys := configurationKeys(t, root, verbs)
	schematest.Made(t, filepath.Join(referenceDocs, "configuration.md"), "keys", keys, *update)
	for _, key := range session.Keys(root) {
		if !strings.Contains(keys, "| `"+key+"` |") {
			t.Errorf("%s: got no row in the table of keys, want one", key)
		}
	}
	codes, err := os.ReadFile(filepath.Join(referenceDocs, "exit-codes.md"))
	must(t, err)
	for _, code := range cli.ExitCodes() {
		if !strings.Contains(string(codes), "\n| "+code[0]+" |") {
			t.Errorf("exit code %s: got no row in exit-codes.md, want one", code[0])
		}
	}
}

// documentedVerbs returns our verbs, each followed by its subcommands. Cobra's own have their help.
func documentedVerbs(c *cobra.Command) (verbs []*cobra.Command) {
	for _, verb := range c.Commands() {
		if verb.IsAvailableCommand() && verb.Name() != "completion" && verb.Name() != "help" {
			verbs = append(append(verbs, verb), documentedVerbs(verb)...)
		}
	}
	return verbs
}

// nameOf returns the name of a verb, such as report push.
func nameOf(verb *cobra.Command) string {
	return strings.TrimPrefix(verb.CommandPath(), verb.Root().Name()+" ")
}

// describedFlag is a flag as a page shows it.
type describedFlag struct{ names, what string }

// describe returns the flags of a verb in the order of its help, and records in groups the heading
// of each. A verb's first flags have no heading there; here they get that of another verb's help.
func describe(verb *cobra.Command, groups map[describedFlag]string) (all []describedFlag) {
	for _, group := range cli.FlagGroups(verb.LocalFlags()) {
		group.Flags.VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			value, usage := pflag.UnquoteUsage(f)
			names := "--" + f.Name
			if f.Shorthand != "" {
				names = "-" + f.Shorthand + ", " + names
			}
			if def := defaultOf(f); def != "" && !strings.Contains(usage, "(default") {
				usage += " (default `" + def + "`)"
			}
			one := describedFlag{"`" + strings.TrimSpace(names+" "+value) + "`", cell(usage)}
			groups[one] = cmp.Or(groups[one], cli.GroupOf(f))
			all = append(all, one)
		})
	}
	return all
}

// defaultOf returns the default value of a flag, if it has one.
func defaultOf(f *pflag.Flag) string {
	if slices.Contains([]string{"", "0", "0s", "false", "[]"}, f.DefValue) {
		return ""
	}
	return f.DefValue
}

// cell escapes a text for a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ", "*", `\*`).Replace(text)
}

// sharing is how many verbs must describe a flag in the same words before it is described once for
// all of them.
const sharing = 3

// verbsPage describes each verb with its own flags, followed by the flags that several verbs have.
func verbsPage(verbs []*cobra.Command) string {
	times, groups, flags := map[describedFlag]int{}, map[describedFlag]string{}, map[*cobra.Command][]describedFlag{}
	for _, verb := range verbs {
		flags[verb] = describe(verb, groups)
		for _, f := range flags[verb] {
			times[f]++
		}
	}
	shared := map[string][]describedFlag{} // by group, in order of first use
	for _, verb := range verbs {
		for _, f := range flags[verb] {
			if group := groups[f]; times[f] >= sharing && !slices.Contains(shared[group], f) {
				shared[group] = append(shared[group], f)
			}
		}
	}
	var b strings.Builder
	fmt.Fprint(&b, "| verb | what it does |\n|---|---|\n")
	for _, verb := range verbs {
		fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", nameOf(verb), strings.ReplaceAll(nameOf(verb), " ", "-"), cell(verb.Short))
	}
	for _, verb := range verbs {
		fmt.Fprintf(&b, "\n## %s\n\n", nameOf(verb))
		writeText(&b, cmp.Or(verb.Long, verb.Short+"."))
		fmt.Fprintf(&b, "```text\n%s\n```\n", verb.UseLine())
		if verb.Example != "" {
			fmt.Fprintf(&b, "\nFor example:\n\n```text\n%s\n```\n", unindented(verb.Example))
		}
		var own []describedFlag
		of := map[string][]describedFlag{}
		for _, f := range flags[verb] {
			if times[f] < sharing {
				own = append(own, f)
			} else {
				of[groups[f]] = append(of[groups[f]], f)
			}
		}
		writeFlags(&b, own)
		if len(of) > 0 {
			fmt.Fprint(&b, "\nFlags that other verbs have too:\n\n")
		}
		for _, group := range cli.Groups() {
			if len(of[group]) > 0 {
				fmt.Fprintf(&b, "- [%s](#%s): %s\n", sharedHeading(group), strings.ToLower(strings.ReplaceAll(sharedHeading(group), " ", "-")), which(of[group], shared[group], own))
			}
		}
	}
	fmt.Fprint(&b, "\n## Flags of several verbs\n")
	for _, group := range cli.Groups() {
		if len(shared[group]) > 0 {
			fmt.Fprintf(&b, "\n### %s\n", sharedHeading(group))
			writeFlags(&b, shared[group])
		}
	}
	return b.String()
}

func sharedHeading(group string) string { return cmp.Or(group, "Others") }

// which says in the fewest words which flags of a group a verb has. Its own are named already.
func which(has, all, own []describedFlag) string {
	named := map[string]bool{}
	for _, f := range slices.Concat(has, own) {
		named[longName(f)] = true
	}
	var in, out []string
	for _, f := range all {
		if slices.Contains(has, f) {
			in = append(in, "`"+longName(f)+"`")
		} else if !named[longName(f)] {
			out = append(out, "`"+longName(f)+"`")
		}
	}
	switch {
	case len(out) == 0:
		return "all"
	case len(out) < len(in):
		return "all but " + strings.Join(out, ", ")
	}
	return strings.Join(in, ", ")
}

// longName returns only the long name of a flag.
func longName(f describedFlag) string {
	_, name, _ := strings.Cut(strings.Trim(f.names, "`"), "--")
	name, _, _ = strings.Cut(name, " ")
	return "--" + name
}

func writeFlags(b *strings.Builder, flags []describedFlag) {
	if len(flags) == 0 {
		return
	}
	fmt.Fprint(b, "\n| flag | what it does |\n|---|---|\n")
	for _, f := range flags {
		fmt.Fprintf(b, "| %s | %s |\n", f.names, f.what)
	}
}

// writeText writes paragraphs. Those with indented lines are left unchanged.
func writeText(b *strings.Builder, text string) {
	for paragraph := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		if strings.HasPrefix(paragraph, " ") || strings.Contains(paragraph, "\n ") {
			paragraph = "```text\n" + unindented(paragraph) + "\n```"
		}
		fmt.Fprintf(b, "%s\n\n", paragraph)
	}
}

// unindented removes the two spaces at the start of every line.
func unindented(text string) string {
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "  ") {
			return text
		}
	}
	return strings.ReplaceAll(strings.TrimPrefix(text, "  "), "\n  ", "\n")
}

// keysWithoutFlag are the keys that have no flag, with their values.
var keysWithoutFlag = map[string][2]string{
	"version":          {"`1`", "of the configuration; must be there"},
	"notary":           {"map", "the URL of the Notary server, by registry host"},
	"repositories":     {"list", "where the command line names none; its arguments may be globs over them"},
	"exclude":          {"list", "globs over repositories that are left out"},
	"map":              {"list", "where images are that have moved since they were signed, `FROM -> TO`: [finding repositories](discovery.md)"},
	"plain-http-hosts": {"list", "registries without TLS, as in names of images; no others are reached without"},
	"keys":             {"list of maps", "which key signs what, in place of `key` and `plugin`; see above"},
	"trust-pinning":    {"map or text", "notary's `trust_pinning` as YAML, or a file with it as JSON"},
}

// takes gives the type of a flag's key in YAML terms.
var takes = map[string]string{
	"bool": "true or false", "int": "number", "float64": "number", "duration": "duration", "k=v": "map",
	"stringSlice": "list", "strings": "list", "stringArray": "list", "string": "text", "I/N": "text",
}

// configurationKeys returns the table of all keys, in the groups of the help.
func configurationKeys(t *testing.T, root *cobra.Command, verbs []*cobra.Command) string {
	t.Helper()
	var b strings.Builder
	row := func(name, take, what string) { fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, take, what) }
	fmt.Fprint(&b, "| key | takes | what it is for |\n|---|---|---|\n")
	all, done := session.Keys(root), map[string]bool{}
	for _, key := range all {
		if own, ok := keysWithoutFlag[key]; ok {
			row(key, own[0], own[1])
			done[key] = true
		}
	}
	// Run's description of a flag comes first, since a configuration is made for run.
	slices.SortStableFunc(verbs, func(a, b *cobra.Command) int { return cmp.Compare(notRun(a), notRun(b)) })
	rows, groups := map[string]*strings.Builder{}, map[describedFlag]string{}
	for _, verb := range verbs {
		describe(verb, groups)
	}
	for _, verb := range verbs {
		for _, f := range describe(verb, groups) {
			name := strings.TrimPrefix(longName(f), "--")
			if done[name] || !slices.Contains(all, name) {
				continue
			}
			done[name] = true
			take := takes[verb.Flags().Lookup(name).Value.Type()]
			if take == "" {
				t.Errorf("%s: got a flag of type %s, want one whose values the page describes", name, verb.Flags().Lookup(name).Value.Type())
			}
			if rows[groups[f]] == nil {
				rows[groups[f]] = &strings.Builder{}
			}
			what := f.what
			if notRun(verb) > 0 {
				what = "`" + nameOf(verb) + "`: " + what
			}
			fmt.Fprintf(rows[groups[f]], "| `%s` | %s | %s |\n", name, take, what)
		}
	}
	for _, group := range cli.Groups() {
		if rows[group] != nil {
			b.WriteString(rows[group].String())
		}
	}
	var once []string
	for _, verb := range verbs {
		for _, f := range describe(verb, groups) {
			if name := strings.TrimPrefix(longName(f), "--"); !slices.Contains(all, name) {
				once = append(once, name)
			}
		}
	}
	slices.Sort(once)
	fmt.Fprintf(&b, "\nFlags about one call have no key: `--%s`.\n", strings.Join(slices.Compact(once), "`, `--"))
	fmt.Fprintf(&b, "\nAn entry of `keys` takes: `%s`.\n", strings.Join(session.KeysOfKey(), "`, `"))
	return b.String()
}

func notRun(verb *cobra.Command) int {
	if verb.Name() == "run" {
		return 0
	}
	return 1
}
