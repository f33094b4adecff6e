package output

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

// Status is the content of the status file. The ledger itself is locked while a run holds it.
type Status struct {
	Version int       `json:"version"`
	Kind    string    `json:"kind"`
	PID     int       `json:"pid,omitempty"`
	State   runState  `json:"state"`
	Started time.Time `json:"started,omitzero"`
	Updated time.Time `json:"updated,omitzero"`
	// Repositories are those that the run is for, and Read those of them whose trust data was looked at: while it is
	// less, there are more digests than Known.
	Repositories int                    `json:"repositories"`
	Read         int                    `json:"repositories_read"`
	Known        int                    `json:"known"` // digests found so far
	Done         int                    `json:"done"`
	Results      map[migrate.Result]int `json:"results"`
	Rate         float64                `json:"rate"` // signatures per second, since the first; 0: none yet
	Error        string                 `json:"error,omitempty"`

	// Ledger counts the digests of all runs by their stage. It is not in the file: status reads it from the ledger if
	// no run holds that, or from the copy that a watch has left at LedgerAt.
	Ledger   map[state.Stage]int `json:"ledger,omitempty"`
	LedgerAt time.Time           `json:"ledger_at,omitzero"`
}

// runState is what a run is doing.
type runState string

// What a run is doing.
const (
	Runs  runState = "running"
	Waits runState = "waiting" // for the next pass of a watch
	Ended runState = "ended"
	Gone  runState = "killed" // status found no such process

	// Unknown says that the file does not exist. Of the file's fields, only Version, Kind and State then have a meaning.
	Unknown runState = "unknown"
)

// StatusKind is the kind of the status document.
const StatusKind = "dct2notation.status"

// StatusPath returns the path of a ledger's status file.
func StatusPath(ledger string) string { return ledger + ".status.json" }

// ReadStatus reads the status file of a ledger.
func ReadStatus(ledger string) (st Status, err error) {
	raw, err := os.ReadFile(StatusPath(ledger))
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(raw, &st); err != nil || st.Kind != StatusKind {
		return st, fmt.Errorf("reading the status of the ledger %s: not a status file of dct2notation", ledger)
	}
	return st, nil
}

// telling is how many signatures a run must have made for its rate to be meaningful.
const telling = 10

// LastRate returns how many images per second the last run on a ledger has signed; 0: unknown.
func LastRate(ledger string) float64 {
	st, err := ReadStatus(ledger)
	if err != nil || st.Results[migrate.ResultSigned] < telling {
		return 0
	}
	return st.Rate
}

// StatusFile writes a run's status beside its ledger, at most once a second. Its owner's lock guards it.
type StatusFile struct {
	path   string
	log    *slog.Logger
	Now    Status
	silent bool
	Rests  bool // another pass follows
}

// NewStatusFile writes the status file beside a ledger, as that of a run that begins now.
func NewStatusFile(ledger string, log *slog.Logger) *StatusFile {
	f := &StatusFile{path: StatusPath(ledger), log: log}
	f.Now = Status{Version: 1, Kind: StatusKind, PID: os.Getpid(), State: Runs, Started: time.Now().UTC(), Results: map[migrate.Result]int{}}
	f.Write()
	return f
}

// Counts is the progress of a run.
type Counts struct {
	Repositories, Read int
	Known, Done        int
	results            map[migrate.Result]int
	Rate               float64 // signatures per second; 0: not known yet
}

// due reports whether the file is to be written again.
func (f *StatusFile) due() bool { return time.Since(f.Now.Updated) >= time.Second }

func (f *StatusFile) update(c Counts) {
	f.set(c)
	f.Write()
}

func (f *StatusFile) set(c Counts) {
	f.Now.Repositories, f.Now.Read, f.Now.Known, f.Now.Done, f.Now.Rate = c.Repositories, c.Read, c.Known, c.Done, c.Rate
	if c.results != nil {
		f.Now.Results = c.results
	}
}

// End writes how the run ended.
func (f *StatusFile) End(c Counts, err error) {
	f.set(c)
	f.Now.State = Ended
	if err != nil {
		f.Now.Error = report.Why(err)
	}
	if f.Rests {
		f.Now.State = Waits
	}
	f.Write()
}

// Over records that no further pass follows.
func (f *StatusFile) Over() {
	if f != nil {
		f.Now.State = Ended
		f.Write()
	}
}

// Write replaces the file. If it cannot be written, that is reported once; it is no reason to stop signing.
func (f *StatusFile) Write() {
	f.Now.Updated = time.Now().UTC()
	raw, err := json.Marshal(f.Now)
	if err == nil {
		err = durable.WriteFile(f.path, append(raw, '\n'), 0o600)
	}
	if err != nil && !f.silent {
		f.silent = true
		f.log.Warn("status cannot be written", "reason", err.Error())
	}
}
