package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
)

// manTree writes the pages of a command and of all its subcommands. Cobra's own pages are made from Markdown, which
// takes docker[:DIR] (a folder) for a link, and have no groups of flags.
func manTree(c *cobra.Command, date time.Time, dir string) error {
	if !c.IsAvailableCommand() || c.IsAdditionalHelpTopicCommand() {
		return nil
	}
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	errs := []error{os.WriteFile(filepath.Join(dir, name+".1"), []byte(manPage(c, date)), 0o644)}
	for _, verb := range c.Commands() {
		errs = append(errs, manTree(verb, date, dir))
	}
	return errors.Join(errs...)
}

// manPage returns the page of one command, in the macros of man(7).
func manPage(c *cobra.Command, date time.Time) string {
	var b strings.Builder
	line := func(macro, text string) { b.WriteString(strings.TrimRight(macro+" "+text, " ") + "\n") }
	section := func(name string) { line(".SH", `"`+strings.ToUpper(name)+`"`) }
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	line(".TH", fmt.Sprintf(`"%s" "1" "%s" "dct2notation" "dct2notation"`, strings.ToUpper(roff(name)), date.Format("January 2006")))
	section("Name")
	b.WriteString(roff(name) + ` \- ` + roff(c.Short) + "\n")
	section("Synopsis")
	b.WriteString(`\fB` + roff(c.UseLine()) + `\fR` + "\n")
	section("Description")
	manText(&b, c.Long)
	if c.Long == "" {
		manText(&b, c.Short+".")
	}
	c.InitDefaultHelpFlag()
	for _, group := range cli.FlagGroups(c.LocalFlags()) {
		section(strings.Replace(group.Heading, "Flags", "Options", 1))
		group.Flags.VisitAll(func(one *pflag.Flag) { manFlag(&b, one) })
	}
	if c.Example != "" {
		section("Examples")
		manText(&b, c.Example)
	}
	section("Exit status")
	for _, code := range cli.ExitCodes() {
		b.WriteString(".TP\n\\fB" + code[0] + "\\fR\n" + roff(code[1]) + "\n")
	}
	section("See also")
	var others []string
	if c.HasParent() {
		others = append(others, c.Parent().CommandPath())
	}
	for _, verb := range c.Commands() {
		if verb.IsAvailableCommand() && !verb.IsAdditionalHelpTopicCommand() {
			others = append(others, verb.CommandPath())
		}
	}
	for i, other := range others {
		others[i] = `\fB` + roff(strings.ReplaceAll(other, " ", "-")) + `\fR(1)`
	}
	b.WriteString(strings.Join(others, ", ") + "\n")
	return b.String()
}

// manText writes paragraphs; those with indented lines are kept as they are.
func manText(b *strings.Builder, text string) {
	for paragraph := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		if strings.HasPrefix(paragraph, " ") || strings.Contains(paragraph, "\n ") {
			paragraph = ".nf\n" + roff(paragraph) + "\n.fi"
		} else {
			paragraph = roff(paragraph)
		}
		b.WriteString(".PP\n" + paragraph + "\n")
	}
}

func manFlag(b *strings.Builder, one *pflag.Flag) {
	if one.Hidden || one.Deprecated != "" {
		return
	}
	value, usage := pflag.UnquoteUsage(one)
	names := "--" + one.Name
	if one.Shorthand != "" {
		names = "-" + one.Shorthand + ", " + names
	}
	b.WriteString(".TP\n\\fB" + roff(names) + `\fR`)
	if value != "" {
		b.WriteString(` \fI` + roff(value) + `\fR`)
	}
	if none := []string{"", "0", "0s", "false", "[]"}; !slices.Contains(none, one.DefValue) && !strings.Contains(usage, "(default") {
		usage += " (default " + one.DefValue + ")"
	}
	b.WriteString("\n" + roff(usage) + "\n")
}

// roff escapes text: backslashes, hyphens that must be copyable, and what would be a request at the start of a line.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
