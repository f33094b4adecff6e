package command

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/comparer"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/notation/policy"
)

// completeValues makes the shell complete values of flags and arguments: from fixed lists, the configuration that the
// command line names, and notation's keys. It contacts no server.
func completeValues(root *cobra.Command) {
	fixed := map[string][]string{
		"log-format":       {"text", "json"},
		"color":            {"auto", "always", "never"},
		"source":           {"server", "docker", "docker:", "snapshot:", "dump:"},
		"discover":         session.DiscoverKinds(),
		"allow-expired":    dct.Everything(),
		"signature-format": {"jws", "cose"},
		"identity":         {"certificate", "subject", "profile"},
		"platforms":        {"index", "all"},
		"product":          verify.Products(),
		"stage":            {"audit", "enforce"},
		"fail-on":          comparer.FailClasses(),
		"last":             {"run", "verify"},
		"schema":           report.SchemaKinds(),
	}
	for _, c := range root.Commands() {
		for name, values := range fixed {
			complete(c, name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		}
		complete(c, "output", cobra.FixedCompletions(outputFormats(c.Name()), cobra.ShellCompDirectiveNoFileComp))
		complete(c, "report", reportFiles)
		complete(c, "key", notationKeys)
		switch c.Name() {
		case "policy":
			c.ValidArgsFunction = consumers
		case "pins", "plan", "run", "verify", "inspect", "doctor", "snapshot", "ready", "undo":
			c.ValidArgsFunction = repositories
		}
	}
}

// complete registers the values of a flag, if the verb has the flag.
func complete(c *cobra.Command, flag string, values cobra.CompletionFunc) {
	if c.Flags().Lookup(flag) != nil {
		_ = c.RegisterFlagCompletionFunc(flag, values) // fails for a flag that does not exist, or is registered twice
	}
}

func outputFormats(verb string) []string {
	switch verb {
	case "run", "verify", "report":
		return report.Formats()
	case "ready":
		return []string{"text", "json", "markdown"}
	}
	return []string{"text", "json"}
}

// reportFiles completes FORMAT=, and then lets the shell complete the file.
func reportFiles(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	if strings.Contains(typed, "=") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var all []string
	for _, format := range report.Formats() {
		all = append(all, format+"=")
	}
	return all, cobra.ShellCompDirectiveNoSpace
}

func notationKeys(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return notation.KeyNames(), cobra.ShellCompDirectiveNoFileComp
}

func consumers(_ *cobra.Command, args []string, _ string) (all []string, _ cobra.ShellCompDirective) {
	for _, c := range policy.Consumers() {
		if !slices.Contains(args, c.Name) {
			all = append(all, c.Name+"\t"+c.About)
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

// repositories returns those of the configuration; none if it cannot be read.
func repositories(c *cobra.Command, args []string, _ string) (all []string, _ cobra.ShellCompDirective) {
	cfg, _ := session.LoadConfig(c)
	for _, r := range cfg.Repositories {
		if !slices.Contains(args, r) {
			all = append(all, r)
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}
