package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/glob"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/strictjson"
)

// Decisions are what people decided, with name and date: which disagreements are accepted, and which manual checks
// they made.
type Decisions struct {
	Waivers []Waiver
	Ticks   []Tick
}

// NotCompared is the class of a waiver for a repository that the server has and that is not compared: its trust data
// goes with the server.
const NotCompared = Class("not-compared")

// Waiver accepts one disagreement. It holds for one class, so that it does not hide later changes of the tag.
type Waiver struct {
	Repository string
	Written    string // as the file has it: a server may have names that are not valid for a repository; may be empty
	Tag        string // empty: the repository's trust data as a whole
	Class      Class
	// Covers is how many rows the waiver may cover at most, if its repository or tag is a glob: nobody has decided
	// about rows that come later. Zero: it has no glob.
	Covers int
	Reason string
	By     string
	Until  time.Time

	covered map[row]bool    // the rows it was needed for
	gates   map[string]bool // the gates that needed it
	globs   [2]glob.Glob    // of the repository and the tag, read by Check
}

// row is what a waiver may cover: a tag, or a repository as a whole.
type row struct{ repository, tag string }

// wild reports whether the waiver has globs. It then covers the rows that they match, but no more than Covers.
func (w *Waiver) wild() bool { return glob.In(w.Repository) || glob.In(w.Tag) }

// globClasses are the classes that many rows may have for one reason. Rows of other classes are waived one by one.
var globClasses = []Class{DCTOnly, Gone, NotCompared}

func (w *Waiver) checkGlobs() error {
	switch {
	case !w.wild() && w.Covers != 0:
		return errors.New("covers is for globs, and neither the repository nor the tag is one")
	case !w.wild():
		return nil
	case !slices.Contains(globClasses, w.Class):
		return fmt.Errorf("class %s takes no glob, only %s, %s and %s do: name the repository and the tag", w.Class, DCTOnly, Gone, NotCompared)
	case w.Covers < 1:
		return errors.New("a glob needs covers: N, the most rows that it may cover")
	}
	var err error
	if w.globs[0], err = glob.Parse(w.Repository); err == nil && w.Tag != "" {
		w.globs[1], err = glob.Parse(w.Tag)
	}
	return err
}

// matches reports whether the waiver's globs match the row. No glob matches a repository as a whole.
func (w *Waiver) matches(r row) bool {
	return w.globs[0].String() != "" && w.globs[0].Match(r.repository) &&
		(w.Tag == "") == (r.tag == "") && (w.Tag == "" || w.globs[1].Match(r.tag))
}

// name returns what the waiver is for, as it was decided.
func (w *Waiver) name() string {
	if w.Tag == "" {
		return w.Repository
	}
	return w.Repository + ":" + w.Tag
}

// Tick says that a check was made.
type Tick struct {
	Check string // the gate's ID
	By    string
	Date  time.Time
	Note  string
	// Repositories are those listed in a file with this SHA-256; for the check listed.
	File, SHA256 string
	Repositories []string
}

// missing returns the repositories of the list that were neither compared nor waived.
func (t Tick) missing(have map[string]bool, d *Decisions, planned time.Time) (names []string) {
	for _, name := range t.Repositories {
		if !have[name] && d.waiver(gateListed, name, "", NotCompared, planned) == nil {
			names = append(names, name)
		}
	}
	return names
}

// Check returns an error unless every decision says what it is for and who made it.
func (d *Decisions) Check(now time.Time) error {
	known := map[string]bool{gateListed: true}
	for _, g := range checklist(Products()) {
		known[g.ID] = true
	}
	for i := range d.Waivers {
		w, missing := &d.Waivers[i], ""
		switch {
		case w.Repository == "":
			missing = "repository"
		case w.Class == "":
			missing = "class"
		case strings.TrimSpace(w.Reason) == "":
			missing = "reason"
		case strings.TrimSpace(w.By) == "":
			missing = "by"
		case w.Until.IsZero():
			missing = "until"
		}
		if missing != "" {
			return fmt.Errorf("waiver %d: no %s", i+1, missing)
		}
		if !slices.Contains(append(worstFirst[:len(worstFirst)-1:len(worstFirst)-1], NotCompared), w.Class) {
			return fmt.Errorf("waiver %d: class %.40q cannot be waived", i+1, w.Class)
		}
		if err := w.checkGlobs(); err != nil {
			return fmt.Errorf("waiver %d: %w", i+1, err)
		}
	}
	for i, t := range d.Ticks {
		switch {
		case !known[t.Check]:
			return fmt.Errorf("tick %d: there is no check %.60q", i+1, t.Check)
		case strings.TrimSpace(t.By) == "" || t.Date.IsZero():
			return fmt.Errorf("tick %d: it needs by and date", i+1)
		case t.Date.After(now.Add(14 * time.Hour)): // no day begins earlier anywhere than so long before that of UTC
			return fmt.Errorf("tick %d: its date is in the future", i+1)
		case t.Check == gateListed && (len(t.Repositories) == 0 || t.SHA256 == ""):
			return fmt.Errorf("tick %d: listed needs the file with all repositories of the registry, and its sha256", i+1)
		case t.Check != gateListed && (t.File != "" || t.SHA256 != ""):
			return fmt.Errorf("tick %d: only listed takes a file", i+1)
		}
	}
	return nil
}

// waiver returns the waiver that accepts a class for a gate until the planned date: the one for this very row, else
// the first whose globs match it.
func (d *Decisions) waiver(gate, repository, tag string, class Class, planned time.Time) *Waiver {
	at := row{repository, tag}
	for _, wild := range []bool{false, true} {
		for i := range d.Waivers {
			w := &d.Waivers[i]
			if w.Class != class || w.Until.Before(planned) || w.wild() != wild {
				continue
			}
			named := w.Tag == tag && (w.Repository == repository || class == NotCompared && w.Written == repository)
			if named && !wild || wild && w.matches(at) {
				if w.covered == nil {
					w.covered, w.gates = map[row]bool{}, map[string]bool{}
				}
				w.covered[at], w.gates[gate] = true, true
				return w
			}
		}
	}
	return nil
}

// covering notes for each glob how many rows it covers, at the gate that mainly rests on it. If they are more than
// was decided, it fails each gate that needed the waiver.
func (d *Decisions) covering(gates map[string]*Gate) {
	for i := range slices.Backward(d.Waivers) {
		w, main := &d.Waivers[i], gateAgreed
		if w.Class == NotCompared {
			main = gateCompared
		}
		n := len(w.covered)
		if !w.wild() || n == 0 {
			continue
		}
		if n <= w.Covers {
			gates[main].noteFirst("waived: %s, %s: covers %s of at most %d, by %s until %s: %s", w.name(), w.Class, safetext.Count(n, "row"), w.Covers, w.By, w.Until.Format(time.DateOnly), w.Reason)
			continue
		}
		w.gates[main] = true
		for id := range w.gates {
			gates[id].State = Fails
			gates[id].noteFirst("the waiver of %s for %s covers %s, and was decided for at most %d: look at those that came since, then waive them by name or decide for more", w.name(), w.Class, safetext.Count(n, "row"), w.Covers)
		}
	}
}

// unused notes the waivers that were not needed or that end too early: somebody should look at them.
func (d *Decisions) unused(g *Gate, planned time.Time) {
	for _, w := range d.Waivers {
		if len(w.covered) > 0 {
			continue
		}
		if w.Until.Before(planned) {
			g.note("not counted: the waiver of %s:%s ends on %s, before the planned date", w.Repository, w.Tag, w.Until.Format(time.DateOnly))
		} else {
			g.note("not needed: the waiver of %s:%s for %s", w.Repository, w.Tag, w.Class)
		}
	}
}

// maxTickAge is for how many days a manual check counts: clients and pipelines change.
const maxTickAge = 90

// tick notes who made a check, and whether that still counts. saved is when the snapshot was last saved.
func (d *Decisions) tick(g *Gate, saved, now time.Time) {
	for _, t := range d.Ticks {
		date := t.Date.Format(time.DateOnly)
		switch {
		case t.Check != g.ID:
		case t.Date.Before(dayOf(now).AddDate(0, 0, -maxTickAge)):
			g.note("not counted: the tick by %s is of %s, more than %d days ago: check it again, and tick it with the new date", t.By, date, maxTickAge)
		case g.ofSnapshot && saved.IsZero():
			g.note("not counted: the tick by %s, as it is not known when the snapshot was saved", t.By)
		case g.ofSnapshot && t.Date.Before(dayOf(saved)):
			g.note("not counted: the tick by %s is of %s, and the snapshot was saved on %s: check it again, and tick it with the new date", t.By, date, dayOf(saved).Format(time.DateOnly))
		default:
			g.State = Holds
			g.note("ticked by %s on %s%s", t.By, date, prefixed(": ", t.Note))
		}
	}
}

// dayOf returns the local calendar day of a time, in the form that ticks have.
func dayOf(at time.Time) time.Time {
	year, month, day := at.Local().Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// fingerprint identifies trust data by what was signed: the versions of the roles that people sign, and each target.
func fingerprint(r *dct.Repository) string {
	h := sha256.New()
	roles := map[string]bool{"root": true, "targets": true}
	for _, e := range r.Expiries() {
		if strings.HasPrefix(e.Role, "targets") {
			roles[e.Role] = true
		}
	}
	var names []string
	for role := range roles {
		names = append(names, role)
	}
	slices.Sort(names)
	for _, role := range names {
		line(h, "role", role, fmt.Sprint(r.Version(role)))
	}
	for _, t := range r.Targets() {
		line(h, "target", t.Tag(), t.Digest().String(), t.Role())
	}
	for _, f := range r.Findings() {
		line(h, "finding", f.Tag, f.Role, f.Class)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// line writes fields unambiguously: different lists of fields give different bytes.
func line(w io.Writer, fields ...string) {
	for _, f := range fields {
		fmt.Fprintf(w, "%d:%s ", len(f), f) // writing to a hash never fails
	}
	fmt.Fprintln(w)
}

// Ready reports whether all gates hold.
func Ready(gates []Gate) bool {
	return len(gates) > 0 && !slices.ContainsFunc(gates, func(g Gate) bool { return g.State != Holds })
}

// decisionsFile is the file of --decisions.
type decisionsFile struct {
	Version int          `json:"version"`
	Waivers []waiverRule `json:"waivers"`
	Ticks   []tickRule   `json:"ticks"`
}

type waiverRule struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	Class      Class  `json:"class"`
	Covers     int    `json:"covers"`
	Reason     string `json:"reason"`
	By         string `json:"by"`
	Until      day    `json:"until"`
}

type tickRule struct {
	Check string `json:"check"`
	By    string `json:"by"`
	Date  day    `json:"date"`
	Note  string `json:"note"`
	// For the check listed: a file with all repositories, one per line, and its SHA-256.
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

// day is a date without a time.
type day struct{ time.Time }

// UnmarshalJSON accepts dates such as 2026-12-08.
func (d *day) UnmarshalJSON(raw []byte) error {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	at, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return fmt.Errorf("%s is no date, such as 2026-12-31", safetext.Safe(s, 40))
	}
	d.Time = at
	return nil
}

// end returns the last second of the day: what is valid until a day is valid on that day. The zero day has none.
func (d day) end() time.Time {
	if d.IsZero() {
		return d.Time
	}
	return EndOfDay(d.Time)
}

// maxList limits the size of a file of repositories: a million names of ordinary length.
const maxList = 64 << 20

// readList reads a file of repositories, one per line, and checks its SHA-256. It skips empty lines and those that
// begin with #.
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

// ReadDecisions reads the file with waivers and ticks; without a path there are none. Ticks and ends of waivers are
// checked against now.
func ReadDecisions(path string, now time.Time) (*Decisions, error) {
	d := &Decisions{}
	if path == "" {
		return d, nil
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("decisions: %s does not exist\nhint: leave --decisions out to see what has to be decided; docs/howto/cut-over.md shows such a file", safetext.Safe(path, 300))
	}
	if err != nil {
		return nil, fmt.Errorf("reading the decisions: %w", err)
	}
	var file decisionsFile
	if err := yaml.UnmarshalStrict(raw, &file); err != nil {
		return nil, fmt.Errorf("decisions %s: %w", path, strictjson.Plain(err))
	}
	if file.Version != 1 {
		return nil, fmt.Errorf("decisions %s: version: 1 is missing", path)
	}
	for _, w := range file.Waivers {
		name := w.Repository
		// As docker has it: alpine is docker.io/library/alpine. A server may have names that are not valid for a
		// repository; these are waived as they are written.
		gun, err := dct.ParseGUN(w.Repository)
		switch {
		case glob.In(name): // as in the configuration, it matches the names used here
		case err == nil:
			name = gun.String()
		case w.Class != NotCompared:
			return nil, fmt.Errorf("decisions %s: %w", path, err)
		}
		d.Waivers = append(d.Waivers, Waiver{Repository: name, Written: w.Repository, Tag: w.Tag, Class: w.Class, Covers: w.Covers, Reason: w.Reason, By: w.By, Until: w.Until.end()})
	}
	for _, t := range file.Ticks {
		tick := Tick{Check: t.Check, By: t.By, Date: t.Date.Time, Note: t.Note, File: t.File, SHA256: t.SHA256}
		if t.File != "" {
			at := t.File
			if !filepath.IsAbs(at) {
				at = filepath.Join(filepath.Dir(path), at)
			}
			if tick.Repositories, err = readList(at, t.SHA256); err != nil {
				return nil, fmt.Errorf("decisions %s: tick of %s: %w", path, safetext.Safe(t.Check, 64), err)
			}
		}
		d.Ticks = append(d.Ticks, tick)
	}
	if err := d.Check(now); err != nil {
		return nil, fmt.Errorf("decisions %s: %w", path, err)
	}
	return d, nil
}

// EndOfDay returns the last second of a day, for events of which only the day is known.
func EndOfDay(day time.Time) time.Time { return day.AddDate(0, 0, 1).Add(-time.Second) }
