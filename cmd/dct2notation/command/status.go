package command

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/state"
)

func newStatus(s Streams) *cobra.Command {
	var o engineOptions
	var output, configFile string
	c := &cobra.Command{
		Use:   "status [--state LEDGER]",
		Short: "Show the progress of a run, also while it runs",
		Long: `Status shows how far the last run on a ledger is or was, and, where no run holds the ledger, what
it has of all runs. A ledger that is damaged is said to be: exit code 1.`,
		Args: noArgs,
	}
	c.Flags().StringVar(&configFile, "config", "", "configuration file (YAML)")
	c.Flags().StringVar(&o.state, "state", "", "ledger (default: dct2notation/ledger.db in the XDG state directory)")
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if _, err := loadConfig(c); err != nil {
			return err
		}
		if output != "text" && output != "json" {
			return usage(fmt.Errorf("--output %s: it is text or json", output))
		}
		path, err := o.statePath()
		if err != nil {
			return err
		}
		return showStatus(path, output, s)
	}
	return c
}

func showStatus(ledger, output string, s Streams) error {
	st, err := readStatus(ledger)
	switch {
	case errors.Is(err, os.ErrNotExist) && !exists(ledger):
		return noLedger(ledger)
	case errors.Is(err, os.ErrNotExist): // deleted, or never written
		st = status{Version: 1, Kind: statusKind, State: runUnknown, Results: map[migrate.Result]int{}}
	case err != nil:
		return err
	case st.State != runEnded && !alive(st.PID):
		st.State = runGone
	}
	var broken error
	if st.State != runRuns && st.State != runWaits {
		st.Ledger, broken = countLedger(ledger)
	} else if l, made, err := state.OpenCopy(ledger, state.Options{}); err == nil { // of a watch; else none
		st.Ledger, broken = l.Counts()
		st.LedgerAt = made.UTC()
		_ = l.Close() // only read from
	}
	if output == "json" {
		return errors.Join(report.JSON(s.Out, st), broken)
	}
	if st.State == runUnknown {
		return errors.Join(st.ledgerAlone(ledger, s), broken)
	}
	return errors.Join(st.text(s), broken)
}

// ledgerAlone writes what is known without a status file.
func (st status) ledgerAlone(ledger string, s Streams) error {
	_, err := fmt.Fprintf(s.Out, "how far the last run came is not known: its status file %s is not there\n", statusPath(ledger))
	switch {
	case err != nil:
	case st.Ledger != nil:
		_, err = fmt.Fprintln(s.Out, "in the ledger, of all runs: "+stages(st.Ledger))
	default:
		_, err = fmt.Fprintln(s.Out, "what is in the ledger is not known either: it cannot be read now")
	}
	return err
}

// countLedger counts what a ledger has of all runs; nil where a run has just begun to use it.
func countLedger(path string) (map[state.Stage]int, error) {
	if !exists(path) {
		return nil, usage(fmt.Errorf("the ledger %s is gone, and what is shown is all that is left of its last run\nhint: without it the next run looks everything up in the registry, and signs nothing twice", path))
	}
	l, _, err := openLedgerWith(path, state.Options{ReadOnly: true})
	if errors.Is(err, state.ErrLocked) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }() // only read from
	return l.Counts()
}

func (st status) text(s Streams) error {
	c := counts{repositories: st.Repositories, read: st.Read, known: st.Known, done: st.Done, rate: st.Rate}
	_, err := fmt.Fprintf(s.Out, "%s, process %d, started %s, last news %s\n", st.State, st.PID,
		st.Started.Format(time.RFC3339), st.Updated.Format(time.RFC3339))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.Out, "repositories read: %d of %d; digests done by this run: %s", st.Read, st.Repositories, c.of())
	if err == nil && st.State == runRuns {
		_, err = fmt.Fprintf(s.Out, "; %s", c.toGo())
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
	if err == nil && st.State == runWaits {
		_, err = fmt.Fprintln(s.Out, "that was its last pass; it looks again for what is signed meanwhile")
	}
	if err == nil && st.State == runGone {
		_, err = fmt.Fprintln(s.Out, "the run ended without a word; run the same command again to go on")
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
