package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// Doctor is what doctor found before a run. It is not safe for concurrent use.
type Doctor struct {
	Version int            `json:"version"`
	Kind    string         `json:"kind"`
	Checked time.Time      `json:"checked"`
	Healthy bool           `json:"healthy"` // every check was made, and none failed
	Results map[Health]int `json:"results"`
	Checks  []Check        `json:"checks"`
}

// Check is one check and its result.
type Check struct {
	Check   string `json:"check"`   // the kind of thing that is checked
	Subject string `json:"subject"` // the thing that is checked
	Result  Health `json:"result"`
	Detail  string `json:"detail,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// Health is the result of a check.
type Health string

// The results of a check. Unknown: it could not be found out, or was not requested.
const (
	OK      Health = "ok"
	Warn    Health = "warn" // the run would go on, and a person should know
	Fail    Health = "fail" // the run would fail, in whole or in part
	Unknown Health = "unknown"
)

// DoctorKind distinguishes the JSON from our other JSON.
const DoctorKind = "dct2notation.doctor"

// NewDoctor counts the checks.
func NewDoctor(checks []Check, at time.Time) *Doctor {
	d := &Doctor{
		Version: 1, Kind: DoctorKind, Checked: at.UTC(), Checks: append([]Check{}, checks...),
		Results: map[Health]int{OK: 0, Warn: 0, Fail: 0, Unknown: 0},
	}
	for _, c := range checks {
		d.Results[c.Result]++
	}
	d.Healthy = d.Results[Fail]+d.Results[Unknown] == 0
	return d
}

// DoctorText writes the checks as a table for a person, with hints below their rows.
func DoctorText(w io.Writer, d *Doctor) error {
	const most = 60 // a longer subject shifts only its own row
	kind, subject := 0, 0
	for _, c := range d.Checks {
		kind = max(kind, len(c.Check))
		if n := len(safetext.Safe(c.Subject, 256)); n <= most {
			subject = max(subject, n)
		}
	}
	var b strings.Builder
	for _, c := range d.Checks {
		line := fmt.Sprintf("%-7s  %-*s  %-*s  %s", c.Result, kind, c.Check, subject, safetext.Safe(c.Subject, 256), safetext.Safe(c.Detail, 2048))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		if c.Hint != "" {
			indent(&b, "hint: "+c.Hint)
		}
	}
	fmt.Fprintf(&b, "\nok %d, warn %d, fail %d, unknown %d\n", d.Results[OK], d.Results[Warn], d.Results[Fail], d.Results[Unknown])
	switch {
	case d.Results[Fail] > 0:
		b.WriteString("the run would fail: fix the problems above\n")
	case d.Results[Unknown] > 0:
		b.WriteString("no problem was found, but some checks could not be made\n")
	default:
		b.WriteString("no problem was found\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
