// Package verify compares, tag by tag, what DCT vouches for with what Notation trusts, and decides by gates whether
// the Notary server may be switched off. It signs and deletes nothing.
//
// What could not be found out is a row of class [Unknown], never one on which both sides agree. A gate without proof
// does not hold.
package verify

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/state"
)

// A Judge returns what Notation says about an image, by a trust policy. It is called from several goroutines at once.
type Judge interface {
	// Judge lists, fetches and verifies the signatures of an image. describe returns the image's descriptor; the
	// signatures are listed while it waits for the registry. An error of describe is returned as is. Any other error
	// means that the result is unknown, which is never the same as unsigned.
	Judge(ctx context.Context, repository string, image digest.Digest, describe func(context.Context) (ocispec.Descriptor, error)) (Verdict, error)
}

// Verdict is what Notation says about one image.
type Verdict struct {
	Signatures int      // listed
	Listed     []string // the digests of their manifests
	Trusted    bool     // at least one passes the trust policy
	// Doubt is what a strict policy objects to in the best signature, whatever the level of this policy: Expired,
	// Untrusted or Unknown. Empty: nothing, or there are no signatures.
	Doubt  Class
	Reason string              // for the doubt
	Signed []map[string]string // the metadata of each trusted signature
	// Refused is why notation verify rejects the image although one of its signatures is trusted; empty: it does not.
	Refused string
	// Unread reports whether a listed signature could not be read. Then it is unknown whether Notation trusts the
	// image.
	Unread   bool
	NotAfter time.Time // until when the trusted signature verifies; zero: indefinitely
}

// open reports whether an image that is not trusted now may be trusted after all.
func (v Verdict) open() bool { return !v.Trusted && (v.Doubt == Unknown || v.Unread) }

// Class is the result of comparing what DCT and Notation say about a tag.
type Class string

// The classes of a tag.
const (
	Agree        Class = "agree"            // both vouch for the digest that the tag has
	DCTOnly      Class = "dct-only"         // DCT vouches for it, and it has no Notation signature
	NotationOnly Class = "notation-only"    // DCT does not trust the tag, Notation does
	Conflict     Class = "conflict"         // each vouches for another digest
	Moved        Class = "tag-moved"        // the tag has another digest than DCT's, which Notation does not trust
	Gone         Class = "missing"          // the registry lacks the digest or the tag
	Untrusted    Class = "untrusted"        // it has Notation signatures, and the policy trusts none
	Broken       Class = "broken-signature" // one is good, and notation verify rejects the image because of one listed before it
	Expired      Class = "expired"          // trusted but for a date that has passed
	Unknown      Class = "unknown"          // it could not be found out
	NoneSigned   Class = "unsigned"         // neither side would run it
)

// worstFirst orders the classes of a row: the first of them stands for the row.
var worstFirst = []Class{Conflict, NotationOnly, Untrusted, Broken, Moved, Expired, DCTOnly, Gone, Unknown}

// Classes returns all classes, worst first.
func Classes() []Class { return append(slices.Clone(worstFirst), Agree, NoneSigned) }

// Agrees reports whether both sides come to the same result by this class: to run the digest, or not to.
func (c Class) Agrees() bool { return c == Agree || c == NoneSigned }

// Row is the result for one tag. Digests are empty where there are none.
type Row struct {
	Tag string `json:"tag"`
	// Class is the worst of Classes, which are all that apply to the tag, worst first. A row on which both sides
	// agree has one class.
	Class    Class         `json:"class"`
	Classes  []Class       `json:"classes"`
	Reason   string        `json:"reason,omitempty"`   // for each class, if there are several
	DCT      digest.Digest `json:"dct,omitempty"`      // the trusted digest
	Role     string        `json:"role,omitempty"`     // the role that names it
	Registry digest.Digest `json:"registry,omitempty"` // what the tag has now
	// Bound reports whether a trusted signature's metadata binds this tag, by its role.
	Bound bool `json:"bound"`
	// CertificateExpires is until when a trusted signature verifies: see [Verdict.NotAfter]. The name dates from when
	// only the certificate counted.
	CertificateExpires time.Time `json:"certificate_expires,omitzero"`
	Flags              []string  `json:"flags,omitempty"`
}

// name is how a waiver names the tag, or an image without a tag.
func (t Row) name() string {
	if t.Tag == "" {
		return t.Registry.String()
	}
	return t.Tag
}

// Repository is the result for one repository. If its trust data could not be read, Class and Reason are set and it
// has no tags. A Reason alone says why not everything could be found out.
type Repository struct {
	GUN      string        `json:"gun"`
	Place    string        `json:"place,omitempty"` // the repository that the images are in, if it is another
	Class    Class         `json:"class,omitempty"`
	Failure  failure.Class `json:"-"` // why it could not be read
	Reason   string        `json:"reason,omitempty"`
	Deleted  bool          `json:"deleted,omitempty"` // from the Notary server, by its changefeed and its own answer: everything in it is compared as withdrawn
	PinnedBy string        `json:"pinned_by,omitempty"`
	Expiries []dct.Expiry  `json:"expiries,omitempty"`
	Expired  []string      `json:"expired,omitempty"` // expired, allowed by --allow-expired
	Judged   dct.Judged    `json:"judged,omitzero"`   // past its date, and signed in a snapshot before
	Totals   map[Class]int `json:"totals,omitempty"`
	Tags     []Row         `json:"tags,omitempty"`
	LeftOut  int           `json:"left_out,omitempty"` // tags that were not compared because of a sample or a selection
}

// unclear adds why not everything about the repository could be found out, besides its tags.
func (r *Repository) unclear(err error) {
	if r.Reason != "" { // counted already
		r.Reason += "\n" + err.Error()
		return
	}
	r.Reason = err.Error()
	r.Totals[Unknown]++
}

// Verification compares both signature sets, each read anew. If given a ledger's Record, it also compares with that.
type Verification struct {
	Trust    migrate.Trust
	Registry migrate.ReadRegistry
	Judge    Judge
	Scope    migrate.Scope
	AllTags  bool // also list the tags that neither side signed
	// Sample limits the comparison to so many tags of each repository, drawn by Seed; 0: all.
	Sample int
	Seed   string
	// AllPlatforms counts as agreement a tag that DCT does not name if an index that DCT names lists its image, as a
	// run with all platforms signs it.
	AllPlatforms bool
	// Record is what a ledger has about the repositories, to compare with what is there; may be nil. It never
	// improves a class.
	Record *Record
	// Before returns what runs have seen of a GUN's trust data. The trust data is then held to it as in a run: no
	// older versions, no other root. nil: each read stands alone. It is called from several goroutines at once.
	Before  func(gun string) (state.Repository, bool, error)
	Workers int // tags compared in parallel, of all repositories; at least 1
	Readers int // repositories whose trust data is read at the same time; 0: one
	Now     func() time.Time
}

// Verify calls each for every repository, in the order given, as soon as it and those before it are compared. The
// error is ctx's or each's, or ErrNothingRead after all repositories.
func (v *Verification) Verify(ctx context.Context, guns []dct.GUN, each func(Repository) error) error {
	c := v.begin()
	var last error
	for gun, one := range c.all(ctx, guns) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if one.err != nil {
			return one.err
		}
		if one.unread != nil {
			last = one.unread
			if v.Scope.MayLack(gun, last) && !c.Record.has(gun) {
				continue
			}
		}
		if err := each(one.result); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return migrate.NothingRead(c.hosts, last)
}

// unreadClass returns the class of a repository whose trust data could not be read.
func unreadClass(err error) Class {
	switch {
	case errors.Is(err, dct.ErrExpired):
		return Expired
	case errors.Is(err, dct.ErrRefused):
		return Untrusted
	}
	return Unknown // this includes a root that no pin vouches for: nobody has said whether to trust it
}

func (c *comparing) compare(ctx context.Context, r *dct.Repository) (Repository, error) {
	read := Repository{PinnedBy: r.PinnedBy(), Expiries: r.Expiries(), Expired: r.Expired(), Judged: r.Judged()}
	return c.compareTags(ctx, r.GUN(), tags{targets: r.Targets(), findings: r.Findings()}, read)
}

// withdrawn compares a repository of which DCT has nothing any more: DCT then names none of its tags. The error is
// like recorded's.
func (c *comparing) withdrawn(ctx context.Context, gun dct.GUN) (Repository, error) {
	return c.compareTags(ctx, gun, tags{}, Repository{})
}

// compareTags compares the tags that DCT names, and those that only the registry has. result has what else the trust
// data says. The error is like recorded's.
func (c *comparing) compareTags(ctx context.Context, gun dct.GUN, t tags, result Repository) (Repository, error) {
	v := c.Verification
	result.GUN, result.Totals = gun.String(), map[Class]int{}
	if place := v.Scope.PlaceOf(gun); place != result.GUN {
		result.Place = place
	}
	look := newVerdictCache(v, gun, t.targets)
	err := v.others(ctx, gun, &t)
	if ctx.Err() != nil {
		return result, ctx.Err()
	}
	if err != nil {
		// The tags that DCT names are still compared.
		result.Reason = "tags other than DCT's were not compared: " + err.Error()
		result.Totals[Unknown]++
	}
	all := t.len()
	t.keep(v.Scope.Wants)
	t.draw(v, gun)
	result.LeftOut = all - t.len()
	rows, err := c.rows(ctx, look, t)
	if err != nil {
		return result, err
	}
	result.Tags = rows[:0] // filtered in place
	add := func(row Row, stray bool) {
		// A tag that neither side signed is not part of the migration.
		if !stray || row.Class != NoneSigned || v.AllTags {
			result.Tags = append(result.Tags, row)
		}
	}
	for i, row := range rows {
		stray := i >= len(t.targets)+len(t.findings)
		if result.Reason == "" && !stray && row.Registry != "" && !t.listed[row.Tag] {
			// A list is incomplete if it lacks a tag that exists: others may be missing too.
			result.Reason = "tags other than DCT's were not compared: the registry has the tag " + row.Tag + " and does not list it"
			result.Totals[Unknown]++
		}
		add(row, stray)
	}
	if v.Record != nil {
		if err := c.recorded(ctx, look, &result); err != nil {
			return result, err
		}
	}
	if result.LeftOut == 0 {
		// Last: by now the lists of most images have been read, so they cost no request.
		more, err := c.lists(ctx, look, t.lists)
		if err != nil {
			return result, err
		}
		for _, row := range more {
			add(row, true)
		}
	}
	slices.SortStableFunc(result.Tags, func(a, b Row) int { return strings.Compare(a.Tag, b.Tag) })
	for _, t := range result.Tags {
		result.Totals[t.Class]++
	}
	return result, nil
}

// rows compares each tag: the targets, then the findings and the strays.
func (c *comparing) rows(ctx context.Context, look *verdictCache, t tags) ([]Row, error) {
	rows := make([]Row, t.len())
	others := slices.Concat(t.findings, t.strays)
	err := c.each(ctx, t.len(), func(ctx context.Context, i int) {
		if i < len(t.targets) {
			rows[i] = look.target(ctx, t.targets[i], t.listed[t.targets[i].Tag()])
			return
		}
		f := others[i-len(t.targets)]
		rows[i] = look.finding(ctx, f, t.listed[f.Tag])
	})
	return rows, err
}

// each calls one for every number below n, with as many calls in parallel as there are workers. It returns an error
// if some may not have been called.
func (c *comparing) each(ctx context.Context, n int, one func(ctx context.Context, i int)) error {
	g, gctx := errgroup.WithContext(ctx)
	for i := range n {
		select {
		case c.workers <- struct{}{}:
		case <-gctx.Done():
			return errors.Join(ctx.Err(), g.Wait())
		}
		g.Go(func() error {
			defer func() { <-c.workers }()
			one(gctx, i)
			return gctx.Err()
		})
	}
	err := g.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// others adds the tags that the registry has and DCT does not name: Notation may still trust one that was revoked in
// DCT. An error says that not all of these are known.
func (v *Verification) others(ctx context.Context, gun dct.GUN, t *tags) error {
	named := map[string]bool{}
	for _, target := range t.targets {
		named[target.Tag()] = true
	}
	for _, f := range t.findings {
		named[f.Tag] = true
	}
	t.listed = map[string]bool{}
	return v.Registry.Tags(ctx, v.Scope.PlaceOf(gun), func(tag string) error {
		t.listed[tag] = true
		f := dct.Finding{Tag: tag, Class: "not-in-dct", Detail: "DCT does not name the tag"}
		switch {
		case named[tag]:
		case listTag.MatchString(tag):
			t.lists = append(t.lists, f)
		default:
			t.strays = append(t.strays, f)
		}
		return nil
	})
}

// listTag matches the tags under which clients keep the list of an image's signatures if the registry has no
// referrers API. An image can be pushed under such a tag as well.
var listTag = regexp.MustCompile(`^sha(256|512)-[0-9a-f]{64}$`)

// lists compares those tags named like lists of signatures that hold something else.
func (c *comparing) lists(ctx context.Context, look *verdictCache, named []dct.Finding) ([]Row, error) {
	others := make([]*Row, len(named))
	err := c.each(ctx, len(named), func(ctx context.Context, i int) {
		tag := named[i].Tag
		list, err := c.Registry.IsList(ctx, look.repository, tag)
		var row Row
		switch {
		case list || err != nil && look.unlistable(ctx, tag): // in the latter case, the rows of its image say so
			return
		case err != nil:
			b := &rowBuilder{Row: Row{Tag: tag}}
			b.say(Unknown, "looking up the tag: %v", err)
			row = b.row(Unknown, "")
		default:
			row = look.finding(ctx, named[i], true)
		}
		others[i] = &row
	})
	var rows []Row
	for _, row := range others {
		if row != nil {
			rows = append(rows, *row)
		}
	}
	return rows, err
}

// unlistable reports whether a tag is the list of an image that was looked at, and the list could not be read for the
// image either: then its rows are unknown already.
func (l *verdictCache) unlistable(ctx context.Context, tag string) bool {
	image := digest.Digest(strings.Replace(tag, "-", ":", 1))
	if _, looked := l.known.Load(image); !looked {
		return false
	}
	return l.judge(ctx, image).Err() != nil
}
