package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/ordered"
)

// A Judge tells what Notation says of an image, by a trust policy. It is called from
// several goroutines at once.
type Judge interface {
	// Judge lists, fetches and verifies the signatures of an image. An error means that
	// it is unknown, which is never unsigned.
	Judge(ctx context.Context, image Image) (Verdict, error)
}

// Verdict is what Notation says of one image.
type Verdict struct {
	Signatures int                 // listed
	Trusted    bool                // at least one verifies under the trust policy
	Expired    bool                // none verifies strictly, and one fails by its date alone
	Reason     string              // why not trusted
	Signed     []map[string]string // the metadata of each trusted signature
	NotAfter   time.Time           // of the certificate of the trusted signature
}

// VerifyClass compares what DCT and Notation say of a tag.
type VerifyClass string

// The classes of a tag.
const (
	Agree        VerifyClass = "agree"         // both vouch for the digest that the tag has
	DCTOnly      VerifyClass = "dct-only"      // DCT vouches for it, and it has no Notation signature
	NotationOnly VerifyClass = "notation-only" // DCT does not trust the tag, Notation does
	Conflict     VerifyClass = "conflict"      // each vouches for another digest
	Moved        VerifyClass = "tag-moved"     // the tag has another digest than DCT's, which Notation does not trust
	Gone         VerifyClass = "missing"       // the registry lacks the digest or the tag
	Untrusted    VerifyClass = "untrusted"     // Notation signatures are there, and the policy trusts none
	VerifyExpiry VerifyClass = "expired"       // trusted but for a date that has passed
	Unknown      VerifyClass = "unknown"       // it could not be found out
	NoneSigned   VerifyClass = "unsigned"      // neither side would run it
)

// Agrees tells whether the class lets both sides come to the same end: to run the digest,
// or not to.
func (c VerifyClass) Agrees() bool { return c == Agree || c == NoneSigned }

// VerifiedTag is the result for one tag. Digests are empty where there are none.
type VerifiedTag struct {
	Tag      string        `json:"tag"`
	Class    VerifyClass   `json:"class"`
	Reason   string        `json:"reason,omitempty"`
	DCT      digest.Digest `json:"dct,omitempty"`      // the trusted digest
	Role     string        `json:"role,omitempty"`     // that names it
	Registry digest.Digest `json:"registry,omitempty"` // what the tag has now
	// Bound tells whether a trusted signature's metadata binds this tag, by its role.
	Bound bool `json:"bound"`
	// CertificateExpires is the date of the certificate of a trusted signature.
	CertificateExpires time.Time `json:"certificate_expires,omitzero"`
	Flags              []string  `json:"flags,omitempty"`
}

// VerifiedRepository is the result for one repository. Class and Reason are set where its
// trust data could not be read, and then it has no tags.
type VerifiedRepository struct {
	GUN      string              `json:"gun"`
	Place    string              `json:"place,omitempty"` // the repository that the images are in, where it is another
	Class    VerifyClass         `json:"class,omitempty"`
	Reason   string              `json:"reason,omitempty"`
	PinnedBy string              `json:"pinned_by,omitempty"`
	Expiries []dct.Expiry        `json:"expiries,omitempty"`
	Expired  []string            `json:"expired,omitempty"` // past its date, and allowed to be
	Judged   dct.Judged          `json:"judged,omitzero"`   // past its date, and signed in a snapshot before
	Totals   map[VerifyClass]int `json:"totals,omitempty"`
	Tags     []VerifiedTag       `json:"tags,omitempty"`
}

// Verification compares both signature sets, each read anew. It takes nothing from a
// ledger.
type Verification struct {
	Trust    Trust
	Registry Registry
	Judge    Judge
	Scope    Scope
	AllTags  bool // list also the tags that neither side signed
	Workers  int  // digests looked at at the same time; at least 1
	Readers  int  // repositories whose trust data is read at the same time; 0: one
	Now      func() time.Time
}

// Verify calls each for every repository, in the order given, as soon as it is compared.
// The error is ctx's or each's, or ErrNothingRead after all repositories.
func (v *Verification) Verify(ctx context.Context, guns []dct.GUN, each func(VerifiedRepository) error) error {
	h := newHosts()
	var last error
	for gun, a := range ordered.Each(ctx, guns, v.Readers, func(ctx context.Context, gun dct.GUN) answer[*dct.Repository] {
		return ask(ctx, h, gun, func() (*dct.Repository, error) { return v.Trust.Read(ctx, gun, dct.Known{}) })
	}) {
		r, err := a.value, a.err
		if ctx.Err() != nil {
			return ctx.Err()
		}
		result := VerifiedRepository{GUN: gun.String()}
		if err != nil {
			last = err
			if v.Scope.Discovered && ClassOf(err) == Unsigned {
				continue
			}
			result.Class, result.Reason = unreadClass(err), err.Error()
		} else if result, err = v.repository(ctx, r); err != nil {
			return err
		}
		if err := each(result); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return h.verdict(last)
}

// unreadClass tells what it means that trust data cannot be read.
func unreadClass(err error) VerifyClass {
	switch {
	case errors.Is(err, dct.ErrExpired):
		return VerifyExpiry
	case errors.Is(err, dct.ErrRefused), errors.Is(err, dct.ErrUnpinnedRoot):
		return Untrusted
	}
	return Unknown
}

func (v *Verification) repository(ctx context.Context, r *dct.Repository) (VerifiedRepository, error) {
	result := VerifiedRepository{GUN: r.GUN().String(), PinnedBy: r.PinnedBy(), Expiries: r.Expiries(), Expired: r.Expired(), Judged: r.Judged(), Totals: map[VerifyClass]int{}}
	if place := v.Scope.place(r.GUN()); place != result.GUN {
		result.Place = place
	}
	targets := slices.DeleteFunc(r.Targets(), func(t dct.Target) bool { return !v.Scope.wants(t.Tag()) })
	findings := slices.DeleteFunc(r.Findings(), func(f dct.Finding) bool { return !v.Scope.wants(f.Tag) })
	strays, err := v.strays(ctx, r)
	if ctx.Err() != nil {
		return result, ctx.Err()
	}
	if err != nil {
		// The tags that DCT names are compared all the same.
		result.Reason = "other tags than DCT's were not looked at: " + err.Error()
		result.Totals[Unknown]++
	}
	result.Tags = make([]VerifiedTag, len(targets)+len(findings), len(targets)+len(findings)+len(strays))
	look := &lookups{v: v, repository: v.Scope.place(r.GUN())}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(v.Workers)
	for i, t := range targets {
		g.Go(func() error {
			result.Tags[i] = look.target(gctx, t)
			return gctx.Err()
		})
	}
	for i, f := range findings {
		g.Go(func() error {
			result.Tags[len(targets)+i] = look.finding(gctx, f)
			return gctx.Err()
		})
	}
	rows := make([]VerifiedTag, len(strays))
	for i, tag := range strays {
		g.Go(func() error {
			rows[i] = look.finding(gctx, dct.Finding{Tag: tag, Class: "not-in-dct", Detail: "DCT does not name the tag"})
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return result, errors.Join(ctx.Err(), err)
	}
	for _, row := range rows {
		// A tag that neither side signed is none of the migration's.
		if row.Class != NoneSigned || v.AllTags {
			result.Tags = append(result.Tags, row)
		}
	}
	slices.SortFunc(result.Tags, func(a, b VerifiedTag) int {
		if a.Tag < b.Tag {
			return -1
		}
		return 1
	})
	for _, t := range result.Tags {
		result.Totals[t.Class]++
	}
	return result, nil
}

// strays are the tags that the registry has and the trust data does not name: one that was
// revoked in DCT may still be trusted by Notation.
func (v *Verification) strays(ctx context.Context, r *dct.Repository) ([]string, error) {
	named := map[string]bool{}
	for _, t := range r.Targets() {
		named[t.Tag()] = true
	}
	for _, f := range r.Findings() {
		named[f.Tag] = true
	}
	var strays []string
	err := v.Registry.Tags(ctx, v.Scope.place(r.GUN()), func(tag string) error {
		if !named[tag] && v.Scope.wants(tag) {
			strays = append(strays, tag)
		}
		return nil
	})
	return strays, err
}

// target compares the two sides for a tag that DCT vouches for.
func (l *lookups) target(ctx context.Context, t dct.Target) VerifiedTag {
	row := VerifiedTag{Tag: t.Tag(), DCT: t.Digest(), Role: t.Role(), Flags: t.Flags()}
	is := func(c VerifyClass, format string, args ...any) VerifiedTag {
		row.Class, row.Reason = c, fmt.Sprintf(format, args...)
		return row
	}
	now, exists, err := l.v.Registry.Tag(ctx, l.repository, t.Tag())
	if err != nil {
		return is(Unknown, "looking up the tag: %v", err)
	}
	row.Registry = now
	verdict, err := l.judge(ctx, t.Digest())
	switch {
	case ClassOf(err) == Missing:
		return is(Gone, "the registry has no such digest")
	case err != nil:
		return is(Unknown, "%v", err)
	}
	row.CertificateExpires = verdict.NotAfter
	row.Bound = slices.ContainsFunc(verdict.Signed, func(m map[string]string) bool { return binds(m, t) })
	if !exists {
		return is(Gone, "the registry has the digest and no such tag")
	}
	if now != t.Digest() {
		return l.moved(ctx, row, verdict)
	}
	switch {
	case verdict.Expired:
		return is(VerifyExpiry, "%s", verdict.Reason)
	case verdict.Trusted:
		row.Class = Agree
		return row
	case verdict.Signatures == 0:
		return is(DCTOnly, "no Notation signature")
	}
	return is(Untrusted, "%s", verdict.Reason)
}

// moved compares the two sides for a tag that has another digest than DCT's.
func (l *lookups) moved(ctx context.Context, row VerifiedTag, vouched Verdict) VerifiedTag {
	there, err := l.judge(ctx, row.Registry)
	switch {
	case err != nil:
		row.Class, row.Reason = Unknown, fmt.Sprintf("the tag points to %s: %v", row.Registry, err)
	case there.Trusted:
		row.Class, row.Reason = Conflict, fmt.Sprintf("DCT vouches for one digest, and Notation trusts %s, which the tag has", row.Registry)
	default:
		row.Class, row.Reason = Moved, "the tag was moved since DCT signed it"
		if vouched.Trusted {
			row.Reason += "; DCT's digest is signed"
		}
	}
	return row
}

// finding compares the two sides for a tag that DCT does not trust.
func (l *lookups) finding(ctx context.Context, f dct.Finding) VerifiedTag {
	row := VerifiedTag{Tag: f.Tag, Role: f.Role, Class: NoneSigned, Reason: f.Class + ": " + f.Detail}
	if f.Class == dct.InvalidTarget {
		return row // it is no tag that a registry could have
	}
	now, exists, err := l.v.Registry.Tag(ctx, l.repository, f.Tag)
	if err != nil {
		row.Class, row.Reason = Unknown, fmt.Sprintf("looking up the tag: %v", err)
		return row
	}
	if !exists {
		return row
	}
	row.Registry = now
	verdict, err := l.judge(ctx, now)
	switch {
	case err != nil:
		row.Class, row.Reason = Unknown, err.Error()
	case verdict.Trusted:
		row.Class, row.CertificateExpires = NotationOnly, verdict.NotAfter
		row.Reason = "Notation trusts the tag's digest, and DCT does not: " + row.Reason
	}
	return row
}
