package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/dct"
)

// Decisions are what people decided, with name and date: which disagreements may stay, and
// which checks they made that no program can make.
type Decisions struct {
	Waivers []Waiver
	Ticks   []Tick
}

// NotCompared is the class of a waiver for a repository that the server has and nobody
// compares: its trust data goes with the server.
const NotCompared = Class("not-compared")

// Waiver lets one disagreement stay. It holds for one class, so that it does not hide what
// becomes of the tag later.
type Waiver struct {
	Repository string
	Written    string // as the file has it: a server may have names that no repository can have; may be empty
	Tag        string // empty: the repository's trust data as a whole
	Class      Class
	Reason     string
	By         string
	Until      time.Time

	used bool
}

// Tick says that a check was made.
type Tick struct {
	Check string // the gate's ID
	By    string
	Date  time.Time
	Note  string
	// Repositories are those that a file lists, which has this SHA-256; of the check listed.
	File, SHA256 string
	Repositories []string
}

// missing are the repositories of the list that were neither compared nor waived.
func (t Tick) missing(have map[string]bool, d *Decisions, planned time.Time) (names []string) {
	for _, name := range t.Repositories {
		if !have[name] && d.waiver(name, "", NotCompared, planned) == nil {
			names = append(names, name)
		}
	}
	return names
}

// Check returns an error unless every decision says what it is for and whose it is.
func (d *Decisions) Check(now time.Time) error {
	known := map[string]bool{gateListed: true}
	for _, g := range checklist(Products()) {
		known[g.ID] = true
	}
	for i, w := range d.Waivers {
		missing := ""
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
	}
	for i, t := range d.Ticks {
		switch {
		case !known[t.Check]:
			return fmt.Errorf("tick %d: there is no check %.60q", i+1, t.Check)
		case strings.TrimSpace(t.By) == "" || t.Date.IsZero():
			return fmt.Errorf("tick %d: it needs by and date", i+1)
		case t.Date.After(now):
			return fmt.Errorf("tick %d: its date is in the future", i+1)
		case t.Check == gateListed && (len(t.Repositories) == 0 || t.SHA256 == ""):
			return fmt.Errorf("tick %d: listed needs the file with all repositories of the registry, and its sha256", i+1)
		case t.Check != gateListed && (t.File != "" || t.SHA256 != ""):
			return fmt.Errorf("tick %d: only listed takes a file", i+1)
		}
	}
	return nil
}

// waiver finds the one that lets a class stay until the planned date.
func (d *Decisions) waiver(repository, tag string, class Class, planned time.Time) *Waiver {
	for i := range d.Waivers {
		w := &d.Waivers[i]
		named := w.Repository == repository || class == NotCompared && w.Written == repository
		if named && w.Tag == tag && w.Class == class && !w.Until.Before(planned) {
			w.used = true
			return w
		}
	}
	return nil
}

// unused notes the waivers that nothing needed or that end too early: somebody should look.
func (d *Decisions) unused(g *Gate, planned time.Time) {
	for _, w := range d.Waivers {
		if !w.used && w.Until.Before(planned) {
			g.note("not counted: the waiver of %s:%s ends on %s, before the planned date", w.Repository, w.Tag, w.Until.Format(time.DateOnly))
		} else if !w.used {
			g.note("not needed: the waiver of %s:%s for %s", w.Repository, w.Tag, w.Class)
		}
	}
}

// tick notes who made a check.
func (d *Decisions) tick(g *Gate) {
	for _, t := range d.Ticks {
		if t.Check == g.ID {
			g.State = Holds
			g.note("ticked by %s on %s%s", t.By, t.Date.Format(time.DateOnly), prefixed(": ", t.Note))
		}
	}
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// fingerprint tells trust data apart by what was signed: the versions of the roles that
// people sign, and each target.
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

// line writes fields so that no two lists of them give the same bytes.
func line(w io.Writer, fields ...string) {
	for _, f := range fields {
		fmt.Fprintf(w, "%d:%s ", len(f), f) // a hash takes everything
	}
	fmt.Fprintln(w)
}

// Ready reports whether all gates hold.
func Ready(gates []Gate) bool {
	return len(gates) > 0 && !slices.ContainsFunc(gates, func(g Gate) bool { return g.State != Holds })
}
