package command

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/migrate/report"
)

type reportOptions struct {
	output.Results
	config  string
	output  string
	last    string
	schema  string
	verbose bool
	merge   bool
}

func newReport(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o reportOptions
	c := &cobra.Command{
		Use:   "report [flags] [FILE | --merge FILE...]",
		Short: "Show a saved result in another format; offline",
		Long: `Report shows the result of the last run or verify, or one that was saved with
--report jsonl=FILE, in another format. It contacts no server and reads no ledger.

With --merge it joins the results of all shards of a run or verify with --shard into one. That
is complete only if all shards are there, and each is complete.

Exit code 0 means that the report was written, not that the result is good: that is what the
exit codes of run and verify are for.`,
		Example: `  dct2notation report --last verify -o html > coexistence.html
  dct2notation report -o csv results.jsonl
  dct2notation report --merge -o html shard-*.jsonl > migration.html`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) > 1 && !o.merge:
				return cli.Usage(errors.New("report takes one file at most\nhint: --merge joins the results of shards"))
			case len(args) == 0 && o.merge:
				return cli.Usage(errors.New("--merge needs the results of all shards, each written by --report jsonl=FILE"))
			case o.merge && o.last != "":
				return cli.Usage(errors.New("--merge takes files, and not --last"))
			}
			return nil
		},
	}
	c.Flags().StringVar(&o.config, "config", "", "configuration file (YAML)")
	c.Flags().StringVarP(&o.output, "output", "o", "text", "format on stdout: "+strings.Join(report.Formats(), ", "))
	output.BindLast(c.Flags(), &o.last)
	c.Flags().BoolVar(&o.merge, "merge", false, "join the results of the shards of one run or verify")
	c.Flags().StringVar(&o.schema, "schema", "", "print the JSON Schema of a result instead: "+strings.Join(report.SchemaKinds(), ", "))
	c.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "in text, list all on a terminal too, and the tags on which both sides agree")
	o.Results.Bind(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		if _, err := session.LoadConfig(c); err != nil {
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

func printSchema(kind string, s cli.Streams) error {
	raw, ok := report.Schema(kind)
	if !ok {
		return cli.Usage(fmt.Errorf("--schema %s: it is one of %s", kind, strings.Join(report.SchemaKinds(), ", ")))
	}
	_, err := s.Out.Write(raw)
	return err
}

func runReport(o reportOptions, args []string, s cli.Streams) error {
	if err := cli.CheckFormat("--output", o.output); err != nil {
		return err
	}
	if err := o.CheckReports(); err != nil {
		return err
	}
	read := func() (*report.Saved, error) { return o.Saved(o.last, args) }
	if o.merge {
		merged, remove, err := output.Merged(args)
		if err != nil {
			return err
		}
		defer remove()
		read = func() (*report.Saved, error) { return merged, nil }
	}
	saved, err := read()
	if err != nil {
		return err
	}
	screen, ok := (&cli.Common{Output: o.output, Verbose: o.verbose}).Screen(s.Out)
	err = o.Render(saved, o.output, o.verbose, !ok, s.Out)
	if ok {
		err = errors.Join(err, screen.Saved(s.Out, saved, time.Now()))
	}
	return err
}
