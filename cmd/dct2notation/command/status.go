package command

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/state"
)

func newStatus(s cli.Streams) *cobra.Command {
	var o session.EngineOptions
	var format, configFile string
	c := &cobra.Command{
		Use:   "status [--state LEDGER]",
		Short: "Show the progress of a run, also while it runs",
		Long: `Status shows the progress of the last run with a ledger and, while no run is using the ledger,
the totals of all runs. A damaged ledger is reported, with exit code 1.`,
		Args: cli.NoArgs,
	}
	c.Flags().StringVar(&configFile, "config", "", "configuration file (YAML)")
	c.Flags().StringVar(&o.State, "state", "", "ledger (default: dct2notation/ledger.db in the XDG state directory)")
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if _, err := session.LoadConfig(c); err != nil {
			return err
		}
		if format != "text" && format != "json" {
			return cli.Usage(fmt.Errorf("--output %s: must be text or json", format))
		}
		path, err := o.StatePath()
		if err != nil {
			return err
		}
		return showStatus(path, format, s)
	}
	return c
}

func showStatus(ledger, format string, s cli.Streams) error {
	st, err := output.ReadStatus(ledger)
	switch {
	case errors.Is(err, os.ErrNotExist) && !session.Exists(ledger):
		return session.NoLedger(ledger)
	case errors.Is(err, os.ErrNotExist): // deleted, or never written
		st = output.Status{Version: 1, Kind: output.StatusKind, State: output.Unknown, Results: map[migrate.Result]int{}}
	case errors.Is(err, os.ErrPermission):
		return cli.Usage(err) // a named file, like the ledger it belongs to
	case err != nil:
		return err
	case st.State != output.Ended && (!cli.Alive(st.PID) || state.Free(ledger)): // in containers, process ids repeat
		st.State = output.Gone
	}
	var broken error
	if st.State != output.Runs && st.State != output.Waits {
		st.Ledger, broken = countLedger(ledger)
	} else if l, made, err := state.OpenCopy(ledger, state.Options{}); err == nil { // left by a watch, if any
		st.Ledger, broken = l.Counts()
		st.LedgerAt = made.UTC()
		_ = l.Close() // only read from
	}
	if format == "json" {
		return errors.Join(report.JSON(s.Out, st), broken)
	}
	if st.State == output.Unknown {
		return errors.Join(showLedgerAlone(st, ledger, s), broken)
	}
	return errors.Join(showText(st, s), broken)
}

// showLedgerAlone prints what is known without a status file.
func showLedgerAlone(st output.Status, ledger string, s cli.Streams) error {
	none := true
	for _, n := range st.Ledger {
		none = none && n == 0
	}
	if st.Ledger != nil && none {
		_, err := fmt.Fprintln(s.Out, "nothing was signed with this ledger yet: "+safetext.Safe(ledger, 300))
		return err
	}
	_, err := fmt.Fprintf(s.Out, "the progress of the last run is unknown: its status file %s does not exist\n", output.StatusPath(ledger))
	switch {
	case err != nil:
	case st.Ledger != nil:
		_, err = fmt.Fprintln(s.Out, "in the ledger, of all runs: "+stages(st.Ledger))
	default:
		_, err = fmt.Fprintln(s.Out, "the ledger cannot be read now, so its contents are unknown too")
	}
	return err
}

// countLedger counts what a ledger has from all runs; nil if a run holds it.
func countLedger(path string) (map[state.Stage]int, error) {
	if !session.Exists(path) {
		return nil, cli.Usage(fmt.Errorf("the ledger %s is gone; this is all that is left of its last run\nhint: without it the next run looks everything up in the registry, and signs nothing twice", path))
	}
	l, _, err := session.OpenLedgerWith(path, state.Options{ReadOnly: true})
	if errors.Is(err, state.ErrLocked) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }() // only read from
	return l.Counts()
}

func showText(st output.Status, s cli.Streams) error {
	c := output.Counts{Repositories: st.Repositories, Read: st.Read, Known: st.Known, Done: st.Done, Rate: st.Rate}
	_, err := fmt.Fprintf(s.Out, "%s, process %d, started %s, last update %s\n", st.State, st.PID,
		st.Started.Format(time.RFC3339), st.Updated.Format(time.RFC3339))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.Out, "repositories read: %d of %d; digests done by this run: %s", st.Read, st.Repositories, c.Of())
	if err == nil && st.State == output.Runs {
		_, err = fmt.Fprintf(s.Out, "; %s", c.ToGo())
	}
	if err == nil {
		_, err = fmt.Fprintf(s.Out, "\nsigned %d, replayed %d, already signed %d, skipped %d, failed %d\n",
			st.Results[migrate.ResultSigned], st.Results[migrate.ResultReplayed], st.Results[migrate.ResultAlready],
			st.Results[migrate.ResultSkipped], st.Results[migrate.ResultFailed])
	}
	if err == nil && st.Ledger != nil {
		at := ""
		if !st.LedgerAt.IsZero() {
			at = " at " + st.LedgerAt.Format(time.RFC3339)
			if st.LedgerAt.Before(st.Started) {
				at += ", before it was started"
			}
		}
		_, err = fmt.Fprintln(s.Out, "in the ledger"+at+", of all runs: "+stages(st.Ledger))
	}
	if err == nil && st.State == output.Waits {
		_, err = fmt.Fprintln(s.Out, "waiting for its next pass, which signs what DCT has signed in the meantime")
	}
	if err == nil && st.State == output.Gone {
		_, err = fmt.Fprintln(s.Out, "the run ended without recording a result; run the same command again to continue")
	}
	if err == nil && st.Error != "" {
		_, err = fmt.Fprintln(s.Out, "ended with: "+safetext.Lines(st.Error, 1024))
	}
	return err
}

// stages lists how many digests are in each stage that has any.
func stages(counts map[state.Stage]int) string {
	var all []string
	for _, s := range state.Stages() {
		if n := counts[s]; n > 0 {
			all = append(all, fmt.Sprintf("%s %d", s, n))
		}
	}
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, ", ")
}
