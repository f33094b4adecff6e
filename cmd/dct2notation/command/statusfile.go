package command

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/dct2notation/dct2notation/internal/durable"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/state"
)

// status is what the side file says. The ledger itself is locked while a run holds it.
type status struct {
	Version int       `json:"version"`
	Kind    string    `json:"kind"`
	PID     int       `json:"pid,omitempty"`
	State   runState  `json:"state"`
	Started time.Time `json:"started,omitzero"`
	Updated time.Time `json:"updated,omitzero"`
	// Repositories are those that the run is for, and Read those of them whose trust data was
	// looked at: while it is less, there are more digests than Known.
	Repositories int                    `json:"repositories"`
	Read         int                    `json:"repositories_read"`
	Known        int                    `json:"known"` // digests found so far
	Done         int                    `json:"done"`
	Results      map[migrate.Result]int `json:"results"`
	Rate         float64                `json:"rate"` // signatures per second, since the first; 0: none yet
	Error        string                 `json:"error,omitempty"`

	// Ledger counts the digests of all runs by their stage. It is not in the file: status reads
	// it from the ledger, where no run holds that, or from the copy that a watch has left at
	// LedgerAt.
	Ledger   map[state.Stage]int `json:"ledger,omitempty"`
	LedgerAt time.Time           `json:"ledger_at,omitzero"`
}

// runState is what a run is doing.
type runState string

const (
	runRuns  runState = "running"
	runWaits runState = "waiting" // for the next pass of a watch
	runEnded runState = "ended"
	runGone  runState = "killed" // status found no process of it

	// runUnknown: the file is not there. Of the fields that it has, none but Version, Kind and State
	// mean anything then.
	runUnknown runState = "unknown"
)

const statusKind = "dct2notation.status"

// statusPath is the side file of a ledger.
func statusPath(ledger string) string { return ledger + ".status.json" }

// readStatus reads the side file of a ledger.
func readStatus(ledger string) (st status, err error) {
	raw, err := os.ReadFile(statusPath(ledger))
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(raw, &st); err != nil || st.Kind != statusKind {
		return st, fmt.Errorf("reading the status of the ledger %s: the file is none of ours", ledger)
	}
	return st, nil
}

// statusFile writes a run's status beside its ledger, at most once a second. Its owner's
// lock guards it.
type statusFile struct {
	path   string
	log    *slog.Logger
	now    status
	silent bool
	rests  bool // another pass follows
}

func newStatusFile(ledger string, log *slog.Logger) *statusFile {
	f := &statusFile{path: statusPath(ledger), log: log}
	f.now = status{Version: 1, Kind: statusKind, PID: os.Getpid(), State: runRuns, Started: time.Now().UTC(), Results: map[migrate.Result]int{}}
	f.write()
	return f
}

// counts are how far a run is.
type counts struct {
	repositories, read int
	known, done        int
	results            map[migrate.Result]int
	rate               float64 // signatures per second; 0: not known yet
}

func (f *statusFile) update(c counts) {
	if time.Since(f.now.Updated) < time.Second {
		return
	}
	f.set(c)
	f.write()
}

func (f *statusFile) set(c counts) {
	f.now.Repositories, f.now.Read, f.now.Known, f.now.Done, f.now.Rate = c.repositories, c.read, c.known, c.done, c.rate
	if c.results != nil {
		f.now.Results = c.results
	}
}

func (f *statusFile) end(c counts, err error) {
	f.set(c)
	f.now.State = runEnded
	if err != nil {
		f.now.Error = report.Why(err)
	}
	if f.rests {
		f.now.State = runWaits
	}
	f.write()
}

// over says that no further pass follows.
func (f *statusFile) over() {
	if f != nil {
		f.now.State = runEnded
		f.write()
	}
}

// write replaces the file. That a status cannot be written is said once and is no reason
// to stop signing.
func (f *statusFile) write() {
	f.now.Updated = time.Now().UTC()
	raw, err := json.Marshal(f.now)
	if err == nil {
		err = durable.WriteFile(f.path, append(raw, '\n'), 0o600)
	}
	if err != nil && !f.silent {
		f.silent = true
		f.log.Warn("status cannot be written", "reason", err.Error())
	}
}
