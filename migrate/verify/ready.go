package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
)

// Readiness finds out whether the Notary v1 server may be switched off. What a program can find out is found out
// anew, from the servers and the snapshot; the rest is for people to tick.
type Readiness struct {
	Verification *Verification // of everything that the server has; its Trust reads the server
	// Archive reads the snapshot that remains when the server is gone; nil: there is none.
	Archive migrate.Trust
	Saved   time.Time // when it was last saved; zero: unknown
	// Feed returns everything that the server has; nil: it cannot be asked. The error dct.ErrFeedRefused means that
	// the server, or one of several, does not give out the list.
	Feed      func(context.Context) ([]dct.Changed, error)
	LeftOut   []string         // how repositories and tags were selected, as a person would say it; empty: all are compared
	Behind    string           // why the ledger may lack what runs have done; empty: it has everything
	Each      func(Repository) // receives each repository that was compared; may be nil
	Decisions Decisions
	Running   *RunningList // what runs, as evidence; nil: not known
	Scope     RunningScope // of Running
	Products  []string     // types of registries, whose own checks are listed
	Planned   time.Time    // when the server is to be switched off
	Now       time.Time
}

// GateState is the result for a gate.
type GateState string

// The states of gates. Only if all are Holds may the server be switched off.
const (
	Holds   GateState = "holds"
	Fails   GateState = "fails"
	NotTold GateState = "unknown" // it could not be found out
	Open    GateState = "open"    // nobody has ticked it
)

// Gate is a condition under which the server may be switched off.
type Gate struct {
	ID       string    `json:"id"`
	Title    string    `json:"title"`
	Manual   bool      `json:"manual,omitempty"` // ticked by people
	State    GateState `json:"state"`
	Evidence []string  `json:"evidence,omitempty"` // some of many: see Count
	Count    int       `json:"count,omitempty"`    // pieces of evidence
	Hint     string    `json:"hint,omitempty"`

	ofSnapshot bool // a tick from before the snapshot was saved does not count
}

// maxEvidence limits what is listed for each gate; Count counts everything.
const maxEvidence = 50

func (g *Gate) note(format string, args ...any) {
	if g.Count++; g.Count <= maxEvidence {
		g.Evidence = append(g.Evidence, fmt.Sprintf(format, args...))
	}
}

// noteFirst notes what must be visible, however much else there is.
func (g *Gate) noteFirst(format string, args ...any) {
	g.Count++
	g.Evidence = slices.Insert(g.Evidence, 0, fmt.Sprintf(format, args...))
	g.Evidence = g.Evidence[:min(len(g.Evidence), maxEvidence)]
}

// fail notes why a gate does not hold.
func (g *Gate) fail(format string, args ...any) {
	g.State = Fails
	g.note(format, args...)
}

// unclear notes what could not be found out; a gate that has failed stays failed.
func (g *Gate) unclear(format string, args ...any) {
	if g.State != Fails {
		g.State = NotTold
	}
	g.note(format, args...)
}

// The gates that the program checks, in their order.
const (
	gateListed   = "listed"
	gateCompared = "compared"
	gateAgreed   = "agreed"
	gateArchived = "archived"
	gateQuiet    = "quiet"
	gateDates    = "dates"
)

// assessment collects what the gates need while repositories are compared.
type assessment struct {
	*Readiness
	gates   map[string]*Gate
	server  *watched
	counts  struct{ repositories, tags, agree, waived int }
	first   time.Time       // the earliest date that counts
	dates   map[string]bool // dates that are too early, each noted once
	excused map[string]bool // repositories whose unreadable trust data is waived
	runs    Gate            // evidence of what runs
	deleted map[string]bool // repositories that were deleted from Notary, compared as withdrawn as a whole
}

// Assess compares both sides anew and returns all gates, those that the program checks first. The error is ctx's, or
// of a comparison that could not go on. Gates that depend on an unreachable server are NotTold.
func (r *Readiness) Assess(ctx context.Context, guns []dct.GUN) ([]Gate, error) {
	a := &assessment{Readiness: r, gates: map[string]*Gate{}, dates: map[string]bool{}, excused: map[string]bool{}, deleted: map[string]bool{}}
	for id, title := range map[string]string{
		gateListed:   "the comparison covers every repository that the Notary server has",
		gateCompared: "every tag of every repository was compared, from trust data read now, or a decision waives it",
		gateAgreed:   "DCT and Notation agree on every tag, or a decision waives it",
		gateArchived: "the snapshot was read back, and verifies for every repository",
		gateQuiet:    "nothing was signed with DCT since the snapshot",
		gateDates:    "no trust data and no signature expires before the planned date",
	} {
		a.gates[id] = &Gate{ID: id, Title: title, State: Holds}
	}
	v := *r.Verification
	a.server = &watched{Trust: v.Trust, seen: map[dct.GUN]reception{}}
	v.Trust = a.server
	err := v.Verify(ctx, guns, func(one Repository) error {
		a.compared(one)
		if r.Each != nil {
			r.Each(one)
		}
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, dct.ErrNothingRead):
		a.gates[gateCompared].fail("%v", err)
	case err != nil:
		return nil, err
	}
	if len(r.LeftOut) > 0 {
		a.gates[gateCompared].fail("what is chosen leaves something out: %s", strings.Join(r.LeftOut, " "))
		a.gates[gateCompared].Hint = "ready must check everything: run it without selecting repositories or tags"
	}
	if r.Behind != "" {
		a.gates[gateCompared].unclear("%s", r.Behind)
		a.gates[gateCompared].Hint = "ask again between two passes of the watch, or stop it"
	}
	a.left(guns)
	a.lost(guns)
	if v.Sample > 0 {
		a.gates[gateCompared].fail("only a sample of the tags was compared")
	}
	if a.counts.tags == 0 {
		a.gates[gateCompared].fail("no tag was compared at all")
		// Without a compared tag, these gates say nothing.
		a.gates[gateAgreed].unclear("no tag was compared")
		a.gates[gateDates].unclear("no tag was compared")
	}
	a.listed(ctx, guns)
	if err := a.archived(ctx, guns); err != nil {
		return nil, err
	}
	if err := a.running(ctx); err != nil {
		return nil, err
	}
	a.Decisions.unused(a.gates[gateAgreed], r.Planned)
	a.Decisions.covering(a.gates)
	a.summarise()
	return a.all(), nil
}

// compared records verify's result for one repository.
func (a *assessment) compared(r Repository) {
	compared, agreed := a.gates[gateCompared], a.gates[gateAgreed]
	a.counts.repositories++
	switch {
	case r.Class == Unknown || r.Class == "" && r.Reason != "":
		compared.unclear("%s: %s", r.GUN, r.Reason)
	case r.Class != "":
		if w := a.Decisions.waiver(gateAgreed, r.GUN, "", r.Class, a.Planned); w == nil {
			agreed.fail("%s: its trust data is %s: %s", r.GUN, r.Class, r.Reason)
		} else {
			a.waived(w, r.GUN)
			a.excused[r.GUN] = true
			a.unread(r)
		}
	}
	if r.Deleted && r.Reason == "" && r.LeftOut == 0 {
		a.deleted[r.GUN] = true
	}
	if r.PinnedBy == dct.PinnedTOFU {
		compared.unclear("%s: its root was trusted on first use", r.GUN)
		compared.Hint = "pin the root: a server that shows another one would not be noticed"
	}
	for _, t := range r.Tags {
		a.tag(r.GUN, t)
	}
	if r.LeftOut > 0 {
		compared.fail("%s: %s not compared", r.GUN, safetext.Count(r.LeftOut, "tag"))
	}
	for _, e := range r.Expiries {
		// The server itself renews these two as long as it runs.
		if e.Role != "timestamp" && e.Role != "snapshot" && r.Class == "" {
			a.date(e.At, e.Role+" of "+r.GUN)
		}
	}
}

// unread records a repository whose trust data could not be read, for a reason that a decision accepts. None of its
// tags was compared and none of its dates is known, which needs a decision of its own.
func (a *assessment) unread(r Repository) {
	compared, dates := a.gates[gateCompared], a.gates[gateDates]
	a.counts.repositories-- // it is not one of those that were compared
	w := a.Decisions.waiver(gateCompared, r.GUN, "", NotCompared, a.Planned)
	if w == nil {
		compared.unclear("%s was not compared, as its trust data is %s", r.GUN, r.Class)
		dates.unclear("%s: its dates are not known, as its trust data is %s", r.GUN, r.Class)
		if compared.Hint == "" {
			compared.Hint = "have its trust data read (--allow-expired, a pin), or waive it as not-compared as well"
		}
		return
	}
	compared.notCompared(w, r.GUN)
	w.gates[gateDates] = true
	dates.note("not counted: expiry dates of %s, which was not compared", r.GUN)
}

// tag records one row of a comparison. Each of its classes needs a waiver of its own. A class unknown cannot be
// waived: it stays open whatever else is waived.
func (a *assessment) tag(gun string, t Row) {
	a.counts.tags++
	name := gun + ":" + t.Tag
	if t.Tag == "" { // an image without a tag
		name = gun + "@" + t.Registry.String()
	}
	for _, class := range t.Classes {
		w := a.Decisions.waiver(gateAgreed, gun, t.name(), class, a.Planned)
		switch {
		case class.Agrees():
			a.counts.agree++
		case class == Unknown:
			a.gates[gateCompared].unclear("%s: %s", name, t.Reason)
		case w != nil:
			a.waived(w, name)
		default:
			a.gates[gateAgreed].fail("%s is %s: %s", name, class, t.Reason)
		}
	}
	if t.Class == Agree {
		a.date(t.CertificateExpires, "the signature of "+name)
	}
}

func (a *assessment) waived(w *Waiver, name string) {
	a.counts.waived++
	if w.wild() {
		return // many rows would crowd out unwaived ones: covering counts them
	}
	a.gates[gateAgreed].note("waived: %s, %s by %s until %s: %s", name, w.Class, w.By, w.Until.Format(time.DateOnly), w.Reason)
}

// notCompared notes that, by a decision, the gate does not need a repository.
func (g *Gate) notCompared(w *Waiver, name string) {
	if !w.wild() {
		g.note("waived: %s, not compared, by %s until %s: %s", name, w.By, w.Until.Format(time.DateOnly), w.Reason)
	}
}

// date records a date that has to be later than the planned one.
func (a *assessment) date(at time.Time, what string) {
	if at.IsZero() {
		return
	}
	if a.first.IsZero() || at.Before(a.first) {
		a.first = at
	}
	if !at.After(a.Planned) {
		// Ten thousand signatures of one certificate have one date.
		key := at.UTC().Format(time.RFC3339)
		if !a.dates[key] {
			a.dates[key] = true
			a.gates[gateDates].fail("%s: %s", key, what)
		}
	}
}

// left looks for repositories that the ledger has and that were not compared: their images may keep signatures that
// nobody vouches for.
func (a *assessment) left(guns []dct.GUN) {
	record := a.Verification.Record
	if record == nil {
		return
	}
	have := map[string]bool{}
	vouched, recorded := false, false // vouched: DCT has targets of a repository; recorded: the ledger has one of those
	for _, gun := range guns {
		have[gun.String()] = true
		if a.server.of(gun).targets > 0 {
			vouched, recorded = true, recorded || record.has(gun)
		}
	}
	// An empty ledger, or one of other runs, cannot show a withdrawal or a server that was rolled back.
	if !recorded && (vouched || len(record.places) == 0) {
		a.gates[gateCompared].unclear("the ledger has none of the repositories that were compared")
		a.gates[gateCompared].Hint = "name the ledger of the runs that have signed them"
	}
	for _, name := range record.GUNs() {
		if have[name] {
			continue
		}
		if w := a.Decisions.waiver(gateCompared, name, "", NotCompared, a.Planned); w != nil {
			a.gates[gateCompared].notCompared(w, name)
			continue
		}
		a.gates[gateCompared].unclear("%s is in the ledger, and was not compared", name)
	}
}

// hintLost is for a repository that, by the server, has no root and is not known to be deleted, or for which the
// ledger has nothing to compare.
const hintLost = "if a repository was deleted from Notary on purpose: undo what was signed of it, exclude it in the configuration, and waive it as not-compared"

// lost hints what to do about repositories that the server no longer has.
func (a *assessment) lost(guns []dct.GUN) {
	compared := a.gates[gateCompared]
	for _, gun := range guns {
		if compared.State != Holds && compared.Hint == "" && !a.deleted[gun.String()] && lookup.IsAbsent(a.server.of(gun).err) {
			compared.Hint = hintLost
		}
	}
}

// listed compares the repositories with what the server itself says it has.
func (a *assessment) listed(ctx context.Context, guns []dct.GUN) {
	g := a.gates[gateListed]
	if a.Feed == nil {
		g.unclear("the Notary server was not asked for its changefeed")
		return
	}
	changed, err := a.Feed(ctx)
	have, absent := map[string]bool{}, map[string]bool{}
	for _, gun := range guns {
		have[gun.String()] = true
		absent[gun.String()] = a.Verification.Scope.MayLack(gun, a.server.of(gun).err)
	}
	for _, c := range changed {
		if a.deleted[c.GUN] && !c.Deleted {
			g.unclear("%s was deleted, and the changefeed names it again: ask again", c.GUN)
		}
		if absent[c.GUN] && !c.Deleted {
			g.unclear("%s had no trust data when it was read, and the changefeed names it: ask again", c.GUN)
		}
		if have[c.GUN] || c.Deleted && a.gone(ctx, g, c.GUN) {
			continue
		}
		if w := a.Decisions.waiver(gateListed, c.GUN, "", NotCompared, a.Planned); w != nil {
			g.notCompared(w, c.GUN)
			continue
		}
		if !c.Deleted {
			g.fail("%s is on the server and was not compared", c.GUN)
		}
	}
	switch {
	case errors.Is(err, dct.ErrFeedRefused):
		a.ticked(g, err, changed, guns, have)
	case err != nil:
		g.unclear("%v", err)
	default:
		a.unnamed(g, namedBy(changed), guns, "its changefeed does not name it")
	}
	if err == nil && g.State == Holds {
		g.note("the changefeed names %s", safetext.Count(len(changed), "repository"))
	}
}

func namedBy(changed []dct.Changed) map[string]bool {
	named := map[string]bool{}
	for _, c := range changed {
		named[c.GUN] = true
	}
	return named
}

// unnamed looks for repositories that the server serves but its changefeed does not name, nor a file in its place:
// then these are incomplete, or of other servers.
func (a *assessment) unnamed(g *Gate, named map[string]bool, guns []dct.GUN, why string) {
	for _, gun := range guns {
		if named[gun.String()] || a.server.of(gun).targets == 0 {
			continue
		}
		// A glob was decided for repositories that are left out, not for what the list lacks.
		if w := a.Decisions.waiver(gateListed, gun.String(), "", NotCompared, a.Planned); w != nil && !w.wild() {
			g.note("waived: %s, although %s, by %s until %s: %s", gun, why, w.By, w.Until.Format(time.DateOnly), w.Reason)
		} else {
			g.unclear("the server has trust data of %s, and %s: others may be missing too", gun, why)
		}
	}
}

// gone reports whether a repository that the changefeed has as deleted is really no longer on the server. The record
// alone is no evidence: the server is asked for the root. If it answers anything else, that is noted, unless it is
// waived.
func (a *assessment) gone(ctx context.Context, g *Gate, name string) bool {
	gun, err := dct.ParseGUN(name)
	if err == nil && gun.String() == name {
		_, err = a.server.Trust.Read(ctx, gun, dct.Known{})
	} else if err == nil {
		err = fmt.Errorf("repository %s is called %s", name, gun) // docker would look elsewhere
	}
	switch class := failure.Of(err); {
	case err != nil && class == failure.Unsigned:
		return true
	case a.Decisions.waiver(gateListed, name, "", NotCompared, a.Planned) != nil:
	case err == nil, class == failure.Security, class == failure.Unpinned, class == failure.Expired, class == failure.Incomplete:
		g.fail("%s was deleted, says the changefeed, and the server has trust data of it, which was not compared", name)
	default:
		g.unclear("%s was deleted, says the changefeed, and the server does not confirm it: %v", name, err)
	}
	return false
}

// maxListAge is how old a list of repositories may be that replaces a changefeed.
const maxListAge = 7 * 24 * time.Hour

// ticked lets people list what the server has, for servers that by design do not give out their changefeed.
func (a *assessment) ticked(g *Gate, refused error, changed []dct.Changed, guns []dct.GUN, have map[string]bool) {
	g.unclear("%v", refused)
	for _, p := range a.Products {
		if p != DockerHub && p != ACR && p != Harbor {
			g.Hint = "only its administrators may read it: ready has to ask as one of them"
			return
		}
	}
	g.Hint = "have the owner of the registry list all its repositories in a file, and tick the check listed with the file and its sha256"
	named := namedBy(changed) // by the servers that have answered
	for _, t := range a.Decisions.Ticks {
		if t.Check != gateListed {
			continue
		}
		switch missing := t.missing(have, &a.Decisions, a.Planned); {
		case len(a.Products) == 0 || len(t.Repositories) == 0:
			g.note("not counted: the tick by %s names no file of repositories", t.By)
		case a.Now.Sub(t.Date) > maxListAge:
			g.note("not counted: the tick by %s is of %s, more than seven days ago", t.By, t.Date.Format(time.DateOnly))
		case len(missing) > 0:
			g.fail("%s is in the file %s and was not compared (%d in all)", missing[0], t.File, len(missing))
		case g.State != Fails:
			g.State = Holds
			g.note("ticked by %s on %s: %s of %s (SHA-256 %s), all compared%s", t.By, t.Date.Format(time.DateOnly), safetext.Count(len(t.Repositories), "repository"), t.File, t.SHA256, prefixed(": ", t.Note))
			for _, name := range t.Repositories {
				named[name] = true
			}
		}
	}
	if g.State == Holds { // each registry that refuses needs a file
		a.unnamed(g, named, guns, "no changefeed and no file of a tick names it")
	}
}

// archived reads the snapshot and compares it with what the server has now.
func (a *assessment) archived(ctx context.Context, guns []dct.GUN) error {
	archived, quiet := a.gates[gateArchived], a.gates[gateQuiet]
	if a.Archive == nil {
		for _, g := range []*Gate{archived, quiet} {
			g.fail("there is no snapshot to compare with")
			g.Hint = "take one: dct2notation snapshot, and name it with --snapshot"
		}
		return nil
	}
	for _, gun := range guns {
		kept, err := a.Archive.Read(ctx, gun, dct.Known{})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		now := a.server.of(gun)
		read, lacks := now.fingerprint != "", errors.Is(err, dct.ErrUnsigned)
		switch {
		case (err != nil || !read) && a.excused[gun.String()]:
			archived.note("waived: %s", gun)
		case lacks && (a.Verification.Scope.MayLack(gun, now.err) || a.deleted[gun.String()]):
			// If the server has no trust data, there is none to keep. What is kept but damaged was there once.
		case lacks:
			archived.fail("%s: the snapshot does not have it", gun)
			archived.Hint = "save it: dct2notation snapshot, once more"
		case err != nil:
			archived.fail("%s: %v", gun, err)
		case a.deleted[gun.String()]:
			quiet.note("%s: deleted from Notary since the snapshot, and compared as withdrawn", gun)
		case !read:
			quiet.unclear("%s: the server's trust data was not read", gun)
			if lookup.IsAbsent(now.err) && quiet.Hint == "" {
				quiet.Hint = hintLost
			}
		case fingerprint(kept) != now.fingerprint:
			quiet.fail("%s: the server has other trust data than the snapshot", gun)
			quiet.Hint = "run once more, then take a new snapshot"
		}
	}
	return nil
}

// summarise notes at gates that hold what that is based on.
func (a *assessment) summarise() {
	if g := a.gates[gateCompared]; g.State == Holds {
		g.note("%s, %s", safetext.Count(a.counts.repositories, "repository"), safetext.Count(a.counts.tags, "tag"))
	}
	if a.Verification.Record == nil {
		a.gates[gateCompared].note("no ledger was compared with: what DCT has withdrawn since it was signed, and a server that was rolled back, go unnoticed")
	}
	if g := a.gates[gateAgreed]; g.State == Holds {
		g.note("in agreement: %s; waived: %d", safetext.Count(a.counts.agree, "tag"), a.counts.waived)
	}
	if g := a.gates[gateDates]; g.State == Holds && !a.first.IsZero() {
		g.note("the first date is %s", a.first.UTC().Format(time.RFC3339))
	}
}

func (a *assessment) all() []Gate {
	var gates []Gate
	for _, id := range []string{gateListed, gateCompared, gateAgreed, gateArchived, gateQuiet, gateDates} {
		g := *a.gates[id]
		gates = append(gates, g)
	}
	for _, g := range checklist(a.Products) {
		g.Manual, g.State = true, Open
		a.Decisions.tick(&g, a.Saved, a.Now)
		if g.ID == gateDigests {
			if g.also(a.runs); a.Running != nil {
				g.Hint = "sign or replace what Notation will refuse, look at what the list cannot show, and tick the check"
			}
		}
		gates = append(gates, g)
	}
	return gates
}

// watched records what was read of each repository. It is safe for concurrent use.
type watched struct {
	migrate.Trust
	mu   sync.Mutex
	seen map[dct.GUN]reception
}

// reception is the result of reading a repository. The zero value: it was not read, for an unknown reason.
type reception struct {
	fingerprint string
	targets     int
	err         error
}

// Read is [Trust]'s.
func (w *watched) Read(ctx context.Context, gun dct.GUN, known dct.Known) (*dct.Repository, error) {
	r, err := w.Trust.Read(ctx, gun, known)
	one := reception{err: err}
	if err == nil {
		one.fingerprint, one.targets = fingerprint(r), len(r.Targets())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[gun] = one
	return r, err
}

func (w *watched) of(gun dct.GUN) reception {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[gun]
}
