package command

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/migrate/report"
)

type reportOptions struct {
	resultOptions
	config  string
	output  string
	last    string
	schema  string
	verbose bool
}

func newReport(stop <-chan struct{}, s Streams) *cobra.Command {
	var o reportOptions
	c := &cobra.Command{
		Use:   "report [flags] [FILE]",
		Short: "Show a saved result in another format; offline",
		Long: `Report shows the result of the last run or verify, or one that was saved with
--report jsonl=FILE, in another format. It reaches no server and reads no ledger.

Exit code 0 says that the report was written, whatever the result is: the exit code of run
and verify reports whether all is well.`,
		Example: `  dct2notation report --last verify -o html > coexistence.html
  dct2notation report -o csv results.jsonl`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(errors.New("report takes one file at most"))
			}
			return nil
		},
	}
	c.Flags().StringVar(&o.config, "config", "", "configuration file (YAML)")
	c.Flags().StringVarP(&o.output, "output", "o", "text", "format on stdout: "+strings.Join(report.Formats(), ", "))
	bindLast(c.Flags(), &o.last)
	c.Flags().StringVar(&o.schema, "schema", "", "print the JSON Schema of a result instead: "+strings.Join(report.SchemaKinds(), ", "))
	c.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "in text, list also the tags on which both sides agree")
	o.resultOptions.bind(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		if _, err := loadConfig(c); err != nil {
			return err
		}
		if o.schema != "" {
			return printSchema(o.schema, s)
		}
		return runReport(o, args, s)
	}
	c.AddCommand(newReportPush(stop, s))
	return c
}

func printSchema(kind string, s Streams) error {
	raw, ok := report.Schema(kind)
	if !ok {
		return usage(fmt.Errorf("--schema %s: it is one of %s", kind, strings.Join(report.SchemaKinds(), ", ")))
	}
	_, err := s.Out.Write(raw)
	return err
}

func runReport(o reportOptions, args []string, s Streams) error {
	if err := checkFormat("--output", o.output); err != nil {
		return err
	}
	if err := o.checkReports(); err != nil {
		return err
	}
	saved, err := o.saved(o.last, args)
	if err != nil {
		return err
	}
	return o.render(saved, o.output, o.verbose, true, s.Out)
}
