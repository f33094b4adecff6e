package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
)

// Run is what a run did. It is not safe for concurrent use.
type Run struct {
	Version  int       `json:"version"`
	Kind     string    `json:"kind"`
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended,omitzero"`
	Complete bool      `json:"complete"` // everything that DCT vouches for is signed with an accepted certificate and still verifies, or cannot be signed
	Error    string    `json:"error,omitempty"`
	Stopped  bool      `json:"stopped,omitempty"` // by a signal, --max-duration or --max-operations, before everything was tried
	Spent    bool      `json:"spent,omitempty"`   // it was stopped by --max-operations

	Shard        string                 `json:"shard,omitempty"` // the part I/N of the repositories that it covers; empty: all
	Repositories int                    `json:"repositories"`    // whose trust data was read
	Items        int                    `json:"items"`
	Results      map[migrate.Result]int `json:"results"`
	Findings     map[string]int         `json:"findings,omitempty"`
	Notes        map[string]int         `json:"notes,omitempty"` // by their first word
	Keys         []SigningKey           `json:"keys,omitempty"`
	// Certificates counts the signed items by the SHA-256 of the certificate.
	Certificates map[string]int `json:"certificates,omitempty"`
	Wasted       int            `json:"wasted,omitempty"` // signatures that were made and not pushed, as another run had pushed one meanwhile

	NotRead  int `json:"not_read"`            // repositories whose trust data could not be read
	NotAsked int `json:"not_asked,omitempty"` // items that --only does not name, and that are not done
	LeftOut  int `json:"left_out,omitempty"`  // tags that were not chosen, of digests that no chosen tag has

	Unread []Unread `json:"unread,omitempty"`
	// NotSigned are the items that were not signed, except those of class NotAsked. Noted are the signed items with
	// notes.
	NotSigned []Item `json:"not_signed,omitempty"`
	Noted     []Item `json:"noted,omitempty"`

	// For a terminal: the result of each repository, in the order in which they came.
	repositories map[string]*ofRepository
	order        []string
}

// Unread is a repository whose trust data could not be read.
type Unread struct {
	GUN    string        `json:"gun"`
	Class  failure.Class `json:"class"`
	Reason string        `json:"reason"`
}

// Item is one digest.
type Item struct {
	Repository string         `json:"repository"`
	GUN        string         `json:"gun,omitempty"` // if it differs from the repository
	Digest     string         `json:"digest"`
	Key        string         `json:"key,omitempty"` // its name, if there are several
	Tags       []string       `json:"tags"`
	Index      []string       `json:"index,omitempty"` // for an image that DCT does not name: the indexes that list it, which DCT names
	Platform   string         `json:"platform,omitempty"`
	Result     migrate.Result `json:"result"`
	Class      failure.Class  `json:"class,omitempty"`
	Reason     string         `json:"reason,omitempty"`
	Notes      []string       `json:"notes,omitempty"`
}

// RunKind distinguishes the JSON from our other JSON.
const RunKind = "dct2notation.run"

// maxListed limits each list, so that memory does not grow with a run; the counts are always complete.
const maxListed = 10_000

// Add records the outcome of an item.
func (r *Run) Add(o *migrate.Outcome) {
	if r.Results == nil {
		r.Results = map[migrate.Result]int{}
	}
	r.Results[o.Result]++
	r.count(cmp.Or(o.GUN, o.Repository), o)
	if o.Class == failure.NotAsked {
		r.NotAsked++
		return
	}
	if o.Leaf != "" {
		if r.Certificates == nil {
			r.Certificates = map[string]int{}
		}
		r.Certificates[o.Leaf]++
	}
	if o.Wasted {
		r.Wasted++
	}
	it := Item{o.Repository, o.GUN, o.Digest, o.Key, o.Tags, o.Index, o.Platform, o.Result, o.Class, o.Reason, o.Notes}
	if (o.Result == migrate.ResultFailed || o.Result == migrate.ResultSkipped) && len(r.NotSigned) < maxListed {
		r.NotSigned = append(r.NotSigned, it)
		return
	}
	for _, n := range o.Notes {
		if r.Notes == nil {
			r.Notes = map[string]int{}
		}
		kind, _, _ := strings.Cut(n, ":")
		r.Notes[kind]++
	}
	if len(o.Notes) > 0 && len(r.Noted) < maxListed {
		r.Noted = append(r.Noted, it)
	}
}

// AddFindings records what trust data has besides its trusted targets.
func (r *Run) AddFindings(n *migrate.TrustNews) {
	r.count(n.GUN, nil)
	for _, f := range n.Findings {
		if r.Findings == nil {
			r.Findings = map[string]int{}
		}
		r.Findings[f.Class]++
	}
}

// OddName is the class, among the findings, of names that were found and that no image can have.
const OddName = "odd-name"

// AddOddNames records how many names were found that are not valid for a repository.
func (r *Run) AddOddNames(n int) {
	if n == 0 {
		return
	}
	if r.Findings == nil {
		r.Findings = map[string]int{}
	}
	r.Findings[OddName] += n
}

// AddUnread records a repository whose trust data could not be read.
func (r *Run) AddUnread(n *migrate.TrustNews) {
	r.NotRead++
	if len(r.Unread) < maxListed {
		r.Unread = append(r.Unread, Unread{n.GUN, n.Class, n.Err.Error()})
	}
}

// Counts returns a copy of the results so far.
func (r *Run) Counts() map[migrate.Result]int { return maps.Clone(r.Results) }

// Close ends the report.
func (r *Run) Close(s migrate.Summary, err error, at time.Time) {
	r.Version, r.Kind = 1, RunKind
	r.Started, r.Ended = r.Started.UTC(), at.UTC()
	r.Repositories, r.Items, r.LeftOut = s.Repositories, s.Items, s.LeftOut
	r.Complete, r.Stopped, r.Spent = s.Complete() && err == nil, s.Drained, s.Spent
	if err != nil {
		r.Error = Why(err)
		if ended := (*migrate.Ended)(nil); errors.As(err, &ended) {
			r.Error = ended.Headline() // its cause is among the items or repositories
		}
	}
	if r.Results == nil {
		r.Results = map[migrate.Result]int{}
	}
}

// Why returns why something ended early: one word if a signal did it, and whatever else went wrong.
func Why(err error) string {
	if !errors.Is(err, context.Canceled) {
		return err.Error()
	}
	joined, several := err.(interface{ Unwrap() []error })
	if !several {
		return "interrupted"
	}
	var all []string
	for _, one := range joined.Unwrap() {
		if text := Why(one); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, "\n")
}

// RunText writes a run for a person: what was not signed and why, then the counts.
func RunText(w io.Writer, r *Run) error {
	var b strings.Builder
	r.undone(&b, func(...string) bool { return true })
	r.remarks(&b, "-o json lists them")
	b.WriteString(shardLine(r.Shard))
	fmt.Fprintf(&b, "repositories %d, not read %d, digests %d", r.Repositories, r.NotRead, r.Items)
	if !r.Ended.IsZero() {
		fmt.Fprintf(&b, ", %.1f s", r.Ended.Sub(r.Started).Seconds())
	}
	b.WriteString("\n")
	b.WriteString(r.totals() + "\n")
	for _, k := range r.Keys {
		k.write(&b)
	}
	r.byCertificate(&b)
	r.end(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// remarks writes what else a person should know.
func (r *Run) remarks(b *strings.Builder, where string) {
	if more := r.NotRead - len(r.Unread) + r.Results[migrate.ResultSkipped] + r.Results[migrate.ResultFailed] - r.NotAsked - len(r.NotSigned); more > 0 {
		fmt.Fprintf(b, "and %d more that are not listed here (-o csv and jsonl list all)\n", more)
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Notes)) {
		b.WriteString(noted(r.Notes[kind], kind, where) + "\n")
	}
	for _, class := range slices.Sorted(maps.Keys(r.Findings)) {
		if class == OddName {
			fmt.Fprintf(b, "skipped: %s that are not valid for an image (see the messages)\n", safetext.Count(r.Findings[class], "name"))
			continue
		}
		if class == migrate.Withdrawn {
			fmt.Fprintf(b, "withdrawn from DCT since it was signed: %s, which Notation goes on to trust (plan says what to do)\n", safetext.Count(r.Findings[class], "tag"))
			continue
		}
		fmt.Fprintf(b, "not to be signed: %s %s (plan lists all)\n", safetext.Count(r.Findings[class], "tag"), safetext.Safe(class, 60))
	}
	if r.NotAsked > 0 {
		fmt.Fprintf(b, "not done: %s not listed by --only\n", safetext.Count(r.NotAsked, "digest"))
	}
	if r.LeftOut > 0 {
		fmt.Fprintf(b, "left out: %s, by --include-tags and --exclude-tags\n", safetext.Count(r.LeftOut, "tag"))
	}
}

// write writes what a key signs with.
func (k SigningKey) write(b *strings.Builder) {
	if k.Identity != "" {
		fmt.Fprintf(b, "key %s: %s; certificate %s now\n", safetext.Safe(k.Name, 128), safetext.Safe(k.Identity, 1024), safetext.Safe(k.Certificate, 80))
		return
	}
	fmt.Fprintf(b, "key %s: certificate %s, whose chain ends on %s\n", safetext.Safe(k.Name, 128), safetext.Safe(k.Certificate, 80), date(k.Ends))
}

// end writes why a run is not complete, and what to do then.
func (r *Run) end(b *strings.Builder) {
	if r.Error != "" {
		b.WriteString("ended with:\n")
		indent(b, r.Error)
	}
	switch {
	case r.Complete:
	case r.Ended.IsZero():
		b.WriteString("not complete, as it has not finished: dct2notation status shows whether it is still running; if it is not, run the same command again\n")
	case r.Spent && r.Error == "":
		b.WriteString("not complete: the key operations of --max-operations were spent before all was tried; run the same command again to go on\n")
	case r.Stopped && r.Error == "":
		b.WriteString("not complete: stopped before everything was tried; run the same command again to continue\n")
	case r.part():
		b.WriteString("not complete: what was not asked for was left out; a run without --only, --plan and chosen tags does the rest\n")
	default:
		b.WriteString("not complete: fix the problems above, then run the same command again\n")
	}
}

// part reports whether everything requested is done, and that was not everything.
func (r *Run) part() bool {
	unknown := slices.ContainsFunc(r.NotSigned, func(it Item) bool { return it.Class == failure.PlanUnknown })
	return !r.Complete && !r.Stopped && !unknown && r.Error == "" && r.NotRead+r.Results[migrate.ResultFailed]+r.unfinished() == 0
}

// undone writes what was not read or not signed, and why, if news reports true for it.
func (r *Run) undone(b *strings.Builder, news func(name ...string) bool) {
	for _, u := range r.Unread {
		if !news(string(u.Class), u.GUN) {
			continue
		}
		fmt.Fprintf(b, "not read   %-12s %s\n", u.Class, safetext.Safe(u.GUN, 256))
		indent(b, u.Reason)
	}
	for _, it := range r.NotSigned {
		if !news(string(it.Result), string(it.Class), it.Repository, it.Digest, it.Key) {
			continue
		}
		fmt.Fprintf(b, "%-10s %-12s %s@%s  %s\n", it.Result, it.Class, safetext.Safe(it.Repository, 256), safetext.Safe(it.Digest, 80), names(it.Tags)+ofIndex(it.Platform, it.Index)+ofKey(it.Key))
		indent(b, it.Reason)
	}
}

// byCertificate writes the certificates that images are signed with, if there are several, and how many signatures
// were wasted.
func (r *Run) byCertificate(b *strings.Builder) {
	if len(r.Certificates) > 1 {
		for _, leaf := range slices.Sorted(maps.Keys(r.Certificates)) {
			fmt.Fprintf(b, "by certificate %s: %d\n", safetext.Safe(leaf, 80), r.Certificates[leaf])
		}
	}
	if r.Wasted > 0 {
		fmt.Fprintf(b, "not pushed, as another run had signed meanwhile: %d\n", r.Wasted)
	}
}

func (r *Run) totals() string {
	return fmt.Sprintf("signed %d, replayed %d, already signed %d, skipped %d, failed %d",
		r.Results[migrate.ResultSigned], r.Results[migrate.ResultReplayed], r.Results[migrate.ResultAlready],
		r.Results[migrate.ResultSkipped], r.Results[migrate.ResultFailed])
}

// PassText writes the nth of many runs: a line with what was done, and before it what was not read or not signed. For
// each of these, news is called with its name and reports whether to write it.
func PassText(w io.Writer, r *Run, n int, news func(name ...string) bool) error {
	var b strings.Builder
	r.undone(&b, news)
	end := "complete"
	switch {
	case r.Error != "":
		end = safetext.Safe(strings.SplitN(r.Error, "\n", 2)[0], 512)
	case r.part():
		end = "not complete: " + safetext.Count(r.LeftOut, "tag") + " not chosen"
	case !r.Complete:
		end = "not complete"
	}
	fmt.Fprintf(&b, "%s pass %d: %s, not read %d; %s\n", r.Ended.Format(time.RFC3339), n, r.totals(), r.NotRead, end)
	_, err := io.WriteString(w, b.String())
	return err
}

// indent writes text indented below its row.
func indent(b *strings.Builder, text string) { indentBy(b, "    ", text) }

func indentBy(b *strings.Builder, margin, text string) {
	if text == "" {
		return
	}
	for line := range strings.Lines(hinted(text, 2048, safetext.Lines)) {
		b.WriteString(margin + strings.TrimRight(line, "\n") + "\n")
	}
}

// hinted makes a reason safe to show and limits its length. It treats the hint below the reason, which is what to
// type, separately: no reason is so long that its hint is cut off.
func hinted(reason string, limit int, show func(string, int) string) string {
	what, hint, has := strings.Cut(reason, "\nhint: ")
	if what = show(what, limit); has {
		what += "\nhint: " + show(hint, maxHint)
	}
	return what
}

const maxHint = 2000

// ofIndex says that an image has no tag of its own, but is in an index.
func ofIndex(platform string, indexes []string) string {
	if len(indexes) == 0 {
		return ""
	}
	text := "in index " + safetext.Safe(indexes[0], 80)
	if platform != "" {
		text = safetext.Safe(platform, 80) + " " + text
	}
	if len(indexes) > 1 {
		text += fmt.Sprintf(" and %d more", len(indexes)-1)
	}
	return text
}

// ofKey names an item's key, if there are several keys.
func ofKey(name string) string {
	if name == "" {
		return ""
	}
	return "  key " + safetext.Safe(name, 128)
}

// names lists tags, but only the first of many.
func names(tags []string) string {
	const most = 5
	var safe []string
	for i, t := range tags {
		if i == most {
			safe = append(safe, fmt.Sprintf("and %d more", len(tags)-most))
			break
		}
		safe = append(safe, safetext.Safe(t, 128))
	}
	return strings.Join(safe, ", ")
}
