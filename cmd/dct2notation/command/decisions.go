package command

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/migrate"
)

// decisionsFile is the file of --decisions.
type decisionsFile struct {
	Version int          `json:"version"`
	Waivers []waiverRule `json:"waivers"`
	Ticks   []tickRule   `json:"ticks"`
}

type waiverRule struct {
	Repository string              `json:"repository"`
	Tag        string              `json:"tag"`
	Class      migrate.VerifyClass `json:"class"`
	Reason     string              `json:"reason"`
	By         string              `json:"by"`
	Until      day                 `json:"until"`
}

type tickRule struct {
	Check string `json:"check"`
	By    string `json:"by"`
	Date  day    `json:"date"`
	Note  string `json:"note"`
}

// day is a date without a time.
type day struct{ time.Time }

// UnmarshalJSON takes 2026-12-08.
func (d *day) UnmarshalJSON(raw []byte) error {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	at, err := time.Parse(time.DateOnly, s)
	d.Time = at
	return err
}

// readDecisions reads the file; none is no decisions.
func readDecisions(path string, now time.Time) (*migrate.Decisions, error) {
	d := &migrate.Decisions{}
	if path == "" {
		return d, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, usage(fmt.Errorf("reading the decisions: %w", err))
	}
	var file decisionsFile
	if err := yaml.UnmarshalStrict(raw, &file); err != nil {
		return nil, usage(fmt.Errorf("decisions %s: %w", path, err))
	}
	if file.Version != 1 {
		return nil, usage(fmt.Errorf("decisions %s: it needs version: 1", path))
	}
	for _, w := range file.Waivers {
		gun, err := dct.ParseGUN(w.Repository) // as docker has it: alpine is docker.io/library/alpine
		if err != nil {
			return nil, usage(fmt.Errorf("decisions %s: %w", path, err))
		}
		d.Waivers = append(d.Waivers, migrate.Waiver{Repository: gun.String(), Tag: w.Tag, Class: w.Class, Reason: w.Reason, By: w.By, Until: w.Until.Time})
	}
	for _, t := range file.Ticks {
		d.Ticks = append(d.Ticks, migrate.Tick{Check: t.Check, By: t.By, Date: t.Date.Time, Note: t.Note})
	}
	if err := d.Check(now); err != nil {
		return nil, usage(fmt.Errorf("decisions %s: %w", path, err))
	}
	return d, nil
}
