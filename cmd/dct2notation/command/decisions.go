package command

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// decisionsFile is the file of --decisions.
type decisionsFile struct {
	Version int          `json:"version"`
	Waivers []waiverRule `json:"waivers"`
	Ticks   []tickRule   `json:"ticks"`
}

type waiverRule struct {
	Repository string       `json:"repository"`
	Tag        string       `json:"tag"`
	Class      verify.Class `json:"class"`
	Reason     string       `json:"reason"`
	By         string       `json:"by"`
	Until      day          `json:"until"`
}

type tickRule struct {
	Check string `json:"check"`
	By    string `json:"by"`
	Date  day    `json:"date"`
	Note  string `json:"note"`
	// Of the check listed: a file with all repositories, one on a line, and its SHA-256.
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
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

// end is the last second of the day: what holds until a day holds on it. The zero day has none.
func (d day) end() time.Time {
	if d.IsZero() {
		return d.Time
	}
	return endOfDay(d.Time)
}

// maxList bounds a file of repositories: a million names of ordinary length.
const maxList = 64 << 20

// readList reads a file of repositories, one on a line, and checks that it has the SHA-256.
// Empty lines and those that begin with # are passed over.
func readList(path, sum string) ([]string, error) {
	name := safetext.Safe(path, 512)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	raw, err := io.ReadAll(io.LimitReader(f, maxList+1))
	switch has := sha256.Sum256(raw); {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", name, err)
	case len(raw) > maxList:
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxList)
	case !strings.EqualFold(strings.TrimPrefix(sum, "sha256:"), hex.EncodeToString(has[:])):
		return nil, fmt.Errorf("%s has the SHA-256 %x, and the tick is of %s\nhint: look at what has changed, and tick it again", name, has, safetext.Safe(sum, 80))
	}
	var names []string
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		gun, err := dct.ParseGUN(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		names = append(names, gun.String())
	}
	return names, nil
}

// readDecisions reads the file; none is no decisions.
func readDecisions(path string, now time.Time) (*verify.Decisions, error) {
	d := &verify.Decisions{}
	if path == "" {
		return d, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, cli.Usage(fmt.Errorf("reading the decisions: %w", err))
	}
	var file decisionsFile
	if err := yaml.UnmarshalStrict(raw, &file); err != nil {
		return nil, cli.Usage(fmt.Errorf("decisions %s: %w", path, err))
	}
	if file.Version != 1 {
		return nil, cli.Usage(fmt.Errorf("decisions %s: it needs version: 1", path))
	}
	for _, w := range file.Waivers {
		name := w.Repository
		// As docker has it: alpine is docker.io/library/alpine. A server may have names that
		// are no repository's; these are waived as they are.
		gun, err := dct.ParseGUN(w.Repository)
		switch {
		case err == nil:
			name = gun.String()
		case w.Class != verify.NotCompared:
			return nil, cli.Usage(fmt.Errorf("decisions %s: %w", path, err))
		}
		d.Waivers = append(d.Waivers, verify.Waiver{Repository: name, Written: w.Repository, Tag: w.Tag, Class: w.Class, Reason: w.Reason, By: w.By, Until: w.Until.end()})
	}
	for _, t := range file.Ticks {
		tick := verify.Tick{Check: t.Check, By: t.By, Date: t.Date.Time, Note: t.Note, File: t.File, SHA256: t.SHA256}
		if t.File != "" {
			at := t.File
			if !filepath.IsAbs(at) {
				at = filepath.Join(filepath.Dir(path), at)
			}
			if tick.Repositories, err = readList(at, t.SHA256); err != nil {
				return nil, cli.Usage(fmt.Errorf("decisions %s: tick of %s: %w", path, safetext.Safe(t.Check, 64), err))
			}
		}
		d.Ticks = append(d.Ticks, tick)
	}
	if err := d.Check(now); err != nil {
		return nil, cli.Usage(fmt.Errorf("decisions %s: %w", path, err))
	}
	return d, nil
}
