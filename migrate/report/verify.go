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
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// Totals counts the tags of all repositories by their worst class. A repository whose trust data could not be read
// counts as one.
type Totals map[verify.Class]int

// classes are in the order in which reports show them.
var classes = []verify.Class{
	verify.Agree, verify.DCTOnly, verify.NotationOnly, verify.Conflict, verify.Moved, verify.Gone,
	verify.Untrusted, verify.Broken, verify.Expired, verify.Unknown, verify.NoneSigned,
}

// Classes returns the classes of tags, in the order in which reports show them.
func Classes() []verify.Class { return slices.Clone(classes) }

// Add counts one repository.
func (t Totals) Add(r verify.Repository) {
	if r.Class != "" {
		t[r.Class]++
	}
	for c, n := range r.Totals {
		t[c] += n
	}
}

// AddTags counts only the tags of one repository.
func (t Totals) AddTags(r verify.Repository) {
	for _, row := range r.Tags {
		t[row.Class]++
	}
}

// list returns the counts by class, less those of others, and their sum.
func (t Totals) list(others Totals) (all []string, sum int) {
	for _, c := range classes {
		if n := t[c] - others[c]; n > 0 {
			all = append(all, fmt.Sprintf("%s %d", c, n))
			sum += n
		}
	}
	return all, sum
}

// Disagree reports whether the two sides differ on anything.
func (t Totals) Disagree() bool {
	for c, n := range t {
		if n > 0 && !c.Agrees() && c != verify.Unknown {
			return true
		}
	}
	return false
}

// Empty reports whether nothing was counted at all.
func (t Totals) Empty() bool {
	for _, n := range t {
		if n > 0 {
			return false
		}
	}
	return true
}

// Unknown reports whether anything could not be found out.
func (t Totals) Unknown() bool { return t[verify.Unknown] > 0 }

// Verification is a verification as JSON. It is written piece by piece: see NewVerifyJSON.
type Verification struct {
	Version      int                 `json:"version"`
	Kind         string              `json:"kind"`
	Tool         string              `json:"tool"`
	Shard        string              `json:"shard,omitempty"` // the part I/N of the repositories that it covers; empty: all
	Repositories []verify.Repository `json:"repositories"`
	Totals       Totals              `json:"totals"`
	Complete     bool                `json:"complete"` // everything was looked at
	Agree        bool                `json:"agree"`    // on every tag
}

// VerifyKind distinguishes the JSON from our other JSON.
const VerifyKind = "dct2notation.verify"

// Verify writes the result of a verification, repository by repository.
type Verify interface {
	Repository(verify.Repository) error
	// End closes the result. If err ended the comparison early, or is ErrChosen, End does not say that the sides
	// agree, whatever was counted until then.
	End(t Totals, err error) error
}

// OfShard makes a writer for a person say at the end that the result is of a shard; empty: of all repositories.
func OfShard(v Verify, w io.Writer, shard string) Verify { return ofShard{v, w, shardLine(shard)} }

type ofShard struct {
	Verify
	w    io.Writer
	line string // empty: there are no shards
}

func (o ofShard) End(t Totals, err error) error {
	_, werr := io.WriteString(o.w, o.line)
	return errors.Join(werr, o.Verify.End(t, err))
}

func shardLine(shard string) string {
	if shard == "" {
		return ""
	}
	return "shard " + safetext.Safe(shard, 32) + " of the repositories\n"
}

type verifyText struct {
	w       io.Writer
	all     bool
	now     time.Time
	tags    Totals // without the repositories that count as one
	leftOut int
}

// NewVerifyText writes for a person: a row for each tag on which the sides disagree, or for all tags, then the
// totals. Dates are shown with the days left from now.
func NewVerifyText(w io.Writer, all bool, now time.Time) Verify {
	return &verifyText{w: w, all: all, now: now, tags: Totals{}}
}

func (v *verifyText) Repository(r verify.Repository) error {
	var b strings.Builder
	v.tags.AddTags(r)
	fmt.Fprintf(&b, "%s", safetext.Safe(r.GUN, 256))
	if r.Class != "" {
		fmt.Fprintf(&b, "  %s\n", r.Class)
		indent(&b, r.Reason)
	} else {
		for _, c := range classes {
			if r.Totals[c] > 0 {
				fmt.Fprintf(&b, "  %s %d", c, r.Totals[c])
			}
		}
		b.WriteString("\n")
		indent(&b, r.Reason)
	}
	if r.Deleted {
		b.WriteString("    deleted from Notary; what it signed is compared as withdrawn\n")
	}
	if r.Place != "" {
		fmt.Fprintf(&b, "    images in %s\n", safetext.Safe(r.Place, 256))
	}
	if len(r.Expired) > 0 {
		fmt.Fprintf(&b, "    expired, allowed by --allow-expired: %s\n", safetext.Safe(strings.Join(r.Expired, ", "), 300))
	}
	if !r.Judged.IsZero() {
		fmt.Fprintf(&b, "    expired, signed while it was valid: %s\n", safetext.Safe(r.Judged.String(), 300))
	}
	if next := expiresNext(r, v.now); next != "" {
		fmt.Fprintf(&b, "    expires next: %s\n", next)
	}
	if v.leftOut += r.LeftOut; r.LeftOut > 0 {
		fmt.Fprintf(&b, "    %s not compared: a sample or certain tags were asked for\n", safetext.Count(r.LeftOut, "tag"))
	}
	v.flags(&b, r.Tags)
	for _, t := range r.Tags {
		if t.Class == verify.Agree && !v.all {
			continue
		}
		fmt.Fprintf(&b, "    %-16s %-20s %s", t.Class, safetext.Safe(t.Tag, 128), safetext.Safe(short(t), 200))
		for _, f := range t.Flags {
			b.WriteString(" [" + safetext.Safe(f, 60) + "]")
		}
		b.WriteString("\n")
		if t.Reason != "" {
			indentBy(&b, "                     ", t.Reason)
		}
	}
	_, err := io.WriteString(v.w, b.String())
	return err
}

// flags counts what is worth knowing about tags whose rows are not shown.
func (v *verifyText) flags(b *strings.Builder, tags []verify.Row) {
	if v.all {
		return
	}
	counts := map[string]int{}
	for _, t := range tags {
		for _, f := range t.Flags {
			if t.Class == verify.Agree {
				counts[f]++
			}
		}
	}
	for _, f := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(b, "    %d that agree: %s (-v lists them)\n", counts[f], safetext.Safe(f, 60))
	}
}

// short returns the compared digests.
func short(t verify.Row) string {
	switch {
	case t.DCT == "" && t.Registry == "":
		return ""
	case t.DCT == t.Registry:
		return t.DCT.String()
	}
	return fmt.Sprintf("DCT %s, registry %s", or(t.DCT.String(), "none"), or(t.Registry.String(), "none"))
}

func or(s, none string) string {
	if s == "" {
		return none
	}
	return s
}

func (v *verifyText) End(t Totals, err error) error {
	var b strings.Builder
	b.WriteString("\n")
	total := 0
	for _, c := range classes {
		if n := v.tags[c]; n > 0 {
			fmt.Fprintf(&b, "%-16s %d\n", c, n)
			total += n
		}
	}
	fmt.Fprintf(&b, "%-16s %d\n", "total", total)
	if unread, n := t.list(v.tags); n > 0 {
		fmt.Fprintf(&b, "not read, or not all of it: %s (%s)\n", safetext.Count(n, "repository"), strings.Join(unread, ", "))
	}
	b.WriteString(conclusion(t, err, v.leftOut) + "\n")
	if err != nil && !errors.Is(err, ErrChosen) {
		indent(&b, Why(err))
	}
	_, werr := io.WriteString(v.w, b.String())
	return werr
}

// conclusion returns the result of a verification that ended with err (see [Verify]).
func conclusion(t Totals, err error, leftOut int) string {
	switch {
	case err != nil && !errors.Is(err, ErrChosen):
		return "the comparison did not finish"
	case t.Disagree():
		return "the signature sets disagree"
	case t.Unknown():
		return "not everything could be checked"
	case err != nil && leftOut == 0:
		return "the signature sets agree on the tags that were chosen"
	case leftOut > 0:
		return fmt.Sprintf("the signature sets agree on what was compared; %s not compared", safetext.Count(leftOut, "tag"))
	}
	return "the signature sets agree"
}

type verifyJSON struct {
	stream
	leftOut int
}

type verifyHead struct {
	Version int    `json:"version"`
	Kind    string `json:"kind"`
	Tool    string `json:"tool"`
	Shard   string `json:"shard,omitempty"`
}

type verifyEnd struct {
	Totals   Totals `json:"totals"`
	Complete bool   `json:"complete"`
	Agree    bool   `json:"agree"`
}

// NewVerifyJSON writes the versioned JSON.
func NewVerifyJSON(w io.Writer, tool, shard string) Verify {
	return newVerifyJSON(w, tool, shard, false)
}

func newVerifyJSON(w io.Writer, tool, shard string, line bool) Verify {
	return &verifyJSON{stream: stream{w: w, head: verifyHead{1, VerifyKind, tool, shard}, list: "repositories", line: line}}
}

func (v *verifyJSON) Repository(r verify.Repository) error {
	v.leftOut += r.LeftOut
	return v.item(r)
}

func (v *verifyJSON) End(t Totals, ended error) error {
	whole := ended == nil && v.leftOut == 0
	return v.end(verifyEnd{t, whole, whole && !t.Disagree() && !t.Unknown()})
}
