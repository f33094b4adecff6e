package report

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// unreadRepository adds a repository whose trust data was not read.
func (o *overview) unreadRepository(name, class, reason string) {
	st := sectionStanding(Section{Class: class})
	note := "not read: " + class
	if class == string(verify.Unknown) {
		note = "not read"
	}
	o.repository(name, st, class, note, nil)
	o.row(st, class, "repository", reason, name, "", name)
}

// Plan writes a plan.
func (s Screen) Plan(w io.Writer, p *migrate.Plan) error {
	actions := []migrate.Action{migrate.ActionSign, migrate.ActionPush, migrate.ActionRebind, migrate.ActionDone, migrate.ActionSkip, migrate.ActionUnknown}
	o := &overview{Screen: s, columns: []string{"tags", "images"}}
	for _, a := range actions {
		o.columns = append(o.columns, string(a))
	}
	o.columns = append(o.columns, "not signed")
	allowed, judged, unknown := 0, 0, 0
	for _, r := range p.Repositories {
		if r.Error != nil {
			o.unreadRepository(r.GUN, string(r.Error.Class), r.Error.Reason)
			continue
		}
		if len(r.Expired) > 0 {
			allowed++
		}
		if !r.Judged.IsZero() {
			judged++
		}
		counts := make([]int, len(o.columns))
		counts[1], counts[len(counts)-1] = len(r.Items), len(r.Findings)
		by := map[migrate.Action]int{}
		for _, it := range r.Items {
			by[it.Action]++
			counts[0] += len(it.Tags)
			o.planItem(r.GUN, it)
		}
		for i, a := range actions {
			counts[2+i] = by[a]
		}
		unknown += by[migrate.ActionUnknown]
		for _, f := range r.Findings {
			o.row(Aside, f.Class, "tag", f.Detail, r.GUN+":"+f.Tag, "", r.GUN+":"+f.Tag, r.GUN)
		}
		switch {
		case by[migrate.ActionUnknown] > 0:
			o.repository(r.GUN, Unclear, "unknown", "", counts)
		case by[migrate.ActionSkip]+len(r.Findings) > 0:
			o.repository(r.GUN, Aside, "skip", "", counts)
		case by[migrate.ActionDone] == len(r.Items):
			o.repository(r.GUN, Well, "with nothing left to sign", "", counts)
		default:
			o.repository(r.GUN, Well, "to be signed", "", counts)
		}
	}
	var end strings.Builder
	if !s.Quiet {
		for _, kind := range slices.Sorted(maps.Keys(o.notes)) {
			end.WriteString(noted(o.notes[kind], kind, "-v lists them") + "\n")
		}
		datesOf(&end, allowed, judged)
		for _, k := range p.Keys {
			k.Leaf = s.thumbprint(k.Leaf)
			planKey(&end, k)
		}
	}
	planCost(&end, p, unknown)
	return o.write(w, end.String())
}

// thumbprint shortens the SHA-256 of a certificate.
func (s Screen) thumbprint(leaf string) string {
	if s.Width > 0 && len(leaf) == 64 {
		return leaf[:12]
	}
	return leaf
}

// datesOf writes once for how many repositories the trust data has expired.
func datesOf(b *strings.Builder, allowed, judged int) {
	if allowed > 0 {
		fmt.Fprintf(b, "expired, allowed by --allow-expired: trust data of %s\n", safetext.Count(allowed, "repository"))
	}
	if judged > 0 {
		fmt.Fprintf(b, "expired, signed while it was valid: trust data of %s\n", safetext.Count(judged, "repository"))
	}
}

func (o *overview) planItem(gun string, it migrate.PlanItem) {
	name := gun + "@" + it.Digest
	var tags []string
	for _, t := range it.Tags {
		tags = append(tags, t.Tag)
		if t.Now != migrate.TagOK && t.Now != "" {
			text := it.Digest
			if t.MovedTo != "" {
				text += ", now " + t.MovedTo
			}
			o.row(Aside, string(t.Now), "tag", "", gun+":"+t.Tag, text)
		}
		o.note(t.Flags)
	}
	if len(tags) > 0 {
		name = gun + ":" + strings.Join(tags[:min(len(tags), 3)], ",")
	}
	text := it.Digest + ofIndex(it.Platform, it.Index)
	st := map[migrate.Action]Standing{migrate.ActionSkip: Aside, migrate.ActionUnknown: Unclear}[it.Action]
	if st != "" && it.Reason != nil {
		o.row(st, string(it.Reason.Class), "image", it.Reason.Reason, name, text, gun+"@"+it.Digest, it.Digest, gun)
	}
	o.note(it.Notes)
}

// ofRepository is the tally of one repository of a run.
type ofRepository struct {
	tags    int
	results map[migrate.Result]int
	worst   Standing
	cause   string
}

// count records an outcome of a repository; o may be nil.
func (r *Run) count(repository string, o *migrate.Outcome) {
	if r.repositories == nil {
		r.repositories = map[string]*ofRepository{}
	}
	of := r.repositories[repository]
	if of == nil {
		of = &ofRepository{results: map[migrate.Result]int{}, worst: Well}
		r.repositories[repository] = of
		r.order = append(r.order, repository)
	}
	if o == nil {
		return
	}
	of.tags += len(o.Tags)
	of.results[o.Result]++
	if st := standing(OfRun, string(o.Result), string(o.Class)); slices.Index(worstFirst, st) < slices.Index(worstFirst, of.worst) {
		of.worst, of.cause = st, string(o.Class)
	}
}

// Run writes what a run did.
func (s Screen) Run(w io.Writer, r *Run) error {
	results := []migrate.Result{migrate.ResultSigned, migrate.ResultReplayed, migrate.ResultAlready, migrate.ResultSkipped, migrate.ResultFailed}
	o := &overview{Screen: s, columns: []string{"tags", "images"}}
	for _, one := range results {
		o.columns = append(o.columns, string(one))
	}
	for _, u := range r.Unread {
		o.unreadRepository(u.GUN, string(u.Class), u.Reason)
	}
	for _, name := range r.order {
		of := r.repositories[name]
		counts := []int{of.tags, 0}
		for _, one := range results {
			counts = append(counts, of.results[one])
			counts[1] += of.results[one]
		}
		cause := of.cause
		switch {
		case of.worst != Well:
		case of.results[migrate.ResultSigned]+of.results[migrate.ResultReplayed] > 0:
			cause = "signed"
		default:
			cause = "with nothing left to sign"
		}
		o.repository(name, of.worst, cause, "", counts)
	}
	for _, it := range r.NotSigned {
		st := standing(OfRun, string(it.Result), string(it.Class))
		name := it.Repository + "@" + it.Digest
		if len(it.Tags) > 0 {
			name = it.Repository + ":" + strings.Join(it.Tags[:min(len(it.Tags), 3)], ",")
		}
		o.row(st, string(it.Class), string(it.Result)+" image", it.Reason, name, it.Digest+ofIndex(it.Platform, it.Index)+ofKey(it.Key), it.Repository+"@"+it.Digest, it.Digest, it.Repository)
	}
	var end strings.Builder
	end.WriteString(shardLine(r.Shard))
	if !s.Quiet {
		r.remarks(&end, "-v and -o json list them")
		for _, k := range r.Keys {
			k.Certificate = s.thumbprint(k.Certificate)
			k.write(&end)
		}
		r.byCertificate(&end)
	}
	r.end(&end)
	if r.Complete {
		fmt.Fprintf(&end, "%s, %.1f s\n", s.paint(Well, "complete"), r.Ended.Sub(r.Started).Seconds())
	}
	return o.write(w, end.String())
}

// verifyScreen writes a verification when it has ended.
type verifyScreen struct {
	w io.Writer
	overview
	now     time.Time
	leftOut int
	soonest [2]Expiring
	counts  struct{ allowed, judged, deleted, part int }
	flags   map[string]int
}

// Verify writes a verification when it has ended. Dates are shown with the days that are left from now on.
func (s Screen) Verify(w io.Writer, now time.Time) Verify { return s.verify(w, now) }

func (s Screen) verify(w io.Writer, now time.Time) *verifyScreen {
	return &verifyScreen{w: w, overview: overview{Screen: s, columns: []string{"tags", string(verify.Agree), string(verify.NoneSigned)}, beside: "others"}, now: now, flags: map[string]int{}}
}

// Repository records a repository.
func (v *verifyScreen) Repository(r verify.Repository) error {
	v.compared(r)
	for _, t := range r.Tags {
		if t.Class.Agrees() {
			for _, f := range t.Flags {
				v.flags[f]++
			}
			continue
		}
		name, text := r.GUN+":"+t.Tag, short(t)
		if t.Tag == "" {
			name, text = r.GUN+"@"+t.Registry.String(), ""
		}
		for _, c := range t.Classes[min(1, len(t.Classes)):] {
			text += ", also " + string(c)
		}
		v.row(standing(OfVerify, string(t.Class), ""), string(t.Class), "tag", t.Reason, name, text, name, r.GUN+"@"+t.DCT.String(), t.DCT.String(), r.GUN, "tag "+t.Tag)
	}
	return nil
}

// compared records a repository without the rows of its tags.
func (v *verifyScreen) compared(r verify.Repository) {
	v.leftOut += r.LeftOut
	if r.Deleted {
		v.counts.deleted++
	}
	if len(r.Expired) > 0 {
		v.counts.allowed++
	}
	if !r.Judged.IsZero() {
		v.counts.judged++
	}
	v.dates(r)
	if r.Class != "" {
		v.unreadRepository(r.GUN, string(r.Class), r.Reason)
		return
	}
	counts, by := make([]int, 3), map[verify.Class]int{}
	for _, t := range r.Tags {
		by[t.Class]++
	}
	counts[0], counts[1], counts[2] = len(r.Tags), by[verify.Agree], by[verify.NoneSigned]
	worst, cause, note := Well, "that agree", ""
	if r.Reason != "" {
		worst, cause, note = Unclear, string(verify.Unknown), "not all could be looked at"
		if by[verify.Unknown] == 0 {
			v.row(Unclear, string(verify.Unknown), "repository", r.Reason, r.GUN, "", r.GUN)
		} else {
			v.counts.part++ // its tags give this, and mostly the cause
		}
	}
	for _, c := range classes {
		st := standing(OfVerify, string(c), "")
		if by[c] == 0 || st == Well {
			continue
		}
		if note != "" {
			note += ", "
		}
		note += fmt.Sprintf("%s %s", c, thousands(by[c]))
		if slices.Index(worstFirst, st) < slices.Index(worstFirst, worst) {
			worst, cause = st, string(c)
		}
	}
	v.repository(r.GUN, worst, cause, note, counts)
}

// dates keeps the earliest dates of all: of trust data, and of what signatures rely on.
func (v *verifyScreen) dates(r verify.Repository) {
	sooner := func(i int, e Expiring) {
		if !e.At.IsZero() && (v.soonest[i].At.IsZero() || e.At.Before(v.soonest[i].At)) {
			v.soonest[i] = e
		}
	}
	for _, e := range r.Expiries {
		if signedByOwner(e.Role) {
			sooner(0, Expiring{What: e.Role + " of " + r.GUN, At: e.At})
		}
	}
	for _, t := range r.Tags {
		sooner(1, Expiring{What: certificate, At: t.CertificateExpires})
	}
}

func (v *verifyScreen) End(t Totals, err error) error {
	var end strings.Builder
	if !v.Quiet {
		v.remarks(&end)
	}
	st := Well
	switch {
	case err != nil && !errors.Is(err, ErrChosen), t.Disagree():
		st = Problem
	case t.Unknown():
		st = Unclear
	}
	end.WriteString(v.paint(st, conclusion(t, err, v.leftOut)) + "\n")
	if err != nil && !errors.Is(err, ErrChosen) {
		indent(&end, Why(err))
	}
	return v.write(v.w, end.String())
}

func (v *verifyScreen) remarks(b *strings.Builder) {
	for _, f := range slices.Sorted(maps.Keys(v.flags)) {
		fmt.Fprintf(b, "noted of tags that agree: %s %s (-v lists them)\n", safetext.Safe(f, 60), thousands(v.flags[f]))
	}
	if v.counts.part > 0 {
		fmt.Fprintf(b, "beside tags that are unknown, others may lack: %s (-v says why)\n", thousandsOf(v.counts.part, "repository"))
	}
	if v.counts.deleted > 0 {
		fmt.Fprintf(b, "deleted from Notary, compared as withdrawn: %s\n", safetext.Count(v.counts.deleted, "repository"))
	}
	datesOf(b, v.counts.allowed, v.counts.judged)
	var next []string
	for _, e := range v.soonest {
		if !e.At.IsZero() {
			next = append(next, fmt.Sprintf("%s %s (%s)", safetext.Safe(e.What, 384), e.At.UTC().Format(time.DateOnly), timeLeft(e.At, v.now)))
		}
	}
	if len(next) > 0 {
		b.WriteString("expires next: " + strings.Join(next, ", ") + "\n")
	}
}

// Saved writes a saved result as it was shown originally.
func (s Screen) Saved(w io.Writer, saved *Saved, now time.Time) error {
	if saved.Ready != nil {
		shown := s.Ready(w, now)
		if err := saved.verification(ofReady{shown}); err != nil {
			return err
		}
		return shown.End(saved.Ready)
	}
	if saved.Head.Of != OfRun {
		return saved.verification(OfShard(s.Verify(w, now), w, saved.Head.Shard))
	}
	r, err := saved.run()
	if err != nil {
		return err
	}
	return s.Run(w, r)
}

// A ReadyScreen writes what ready found: the repositories, then the gates.
type ReadyScreen struct{ *verifyScreen }

// Ready writes the gates on a terminal, below a table of the repositories.
func (s Screen) Ready(w io.Writer, now time.Time) ReadyScreen { return ReadyScreen{s.verify(w, now)} }

// ofReady shows a saved verification for its gates, which has another end.
type ofReady struct{ ReadyScreen }

func (v ofReady) Repository(r verify.Repository) error {
	v.ReadyScreen.Repository(r)
	return nil
}

func (ofReady) End(Totals, error) error { return nil }

// Repository adds a repository to the table. The gates report the problems of its tags.
func (v ReadyScreen) Repository(r verify.Repository) {
	v.compared(r)
	v.sections = nil
}

// End writes everything.
func (v ReadyScreen) End(r *Ready) error {
	var b strings.Builder
	states := map[verify.GateState]Standing{verify.Holds: Well, verify.Fails: Problem}
	manual := false
	for _, g := range r.Gates {
		st, ok := states[g.State]
		if !ok {
			st = Unclear
		}
		if st == Well && v.Quiet {
			continue
		}
		if g.Manual && !manual && !v.Quiet {
			b.WriteString("\nFor people to check; each is ticked in the file of decisions:\n")
		}
		manual = g.Manual
		var title strings.Builder
		v.wrap(&title, fmt.Sprintf("%-8s %-20s ", g.State, safetext.Safe(g.ID, 40)), strings.Repeat(" ", 30), safetext.Safe(g.Title, 300))
		b.WriteString(v.paint(st, string(g.State)) + strings.TrimPrefix(title.String(), string(g.State)))
		most := maxShown
		switch {
		case v.Width == 0:
			most = len(g.Evidence)
		case st == Well:
			most = 3
		}
		for _, e := range g.Evidence[:min(most, len(g.Evidence))] {
			v.wrap(&b, "    ", "      ", v.short(hinted(strings.ReplaceAll(e, "\n", " / "), 2048, safetext.Safe)))
		}
		if more := g.Count - min(most, len(g.Evidence)); more > 0 {
			fmt.Fprintf(&b, "    and %s more: -v\n", thousands(more))
		}
		if g.Hint != "" && st != Well {
			v.wrap(&b, "    ", "      ", "hint: "+safetext.Safe(g.Hint, maxHint))
		}
	}
	st := Problem
	if r.Ready {
		st = Well
	}
	if !v.Quiet {
		b.WriteString("\n" + r.dates() + "\n")
	}
	return v.write(v.w, b.String()+v.paint(st, r.verdict())+"\n")
}
