package migrate

import (
	"context"
	"fmt"
	"slices"

	"github.com/dct2notation/dct2notation/dct"
)

// Flags of tags that verify compared, beside those of DCT's own.
const (
	// FlagUnbound: no trusted signature binds the tag, so that Notation would take another
	// signed digest under it as well.
	FlagUnbound = "unbound"
	// FlagGone: a signature that the ledger recorded as pushed is not there any more.
	FlagGone = "recorded-signature-gone"
	// FlagForeign: the image has signatures that the ledger does not know.
	FlagForeign = "unrecorded-signature"
	// FlagWithdrawn: the ledger has it signed, and DCT does not vouch for the digest any more.
	FlagWithdrawn = "withdrawn"
	// FlagPlatform: DCT names no such tag, but an index that lists the image.
	FlagPlatform = "platform"
)

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
	row.Bound = slices.ContainsFunc(verdict.Signed, func(m map[string]string) bool { return binds(m, t) })
	row.CertificateExpires = verdict.NotAfter
	if !exists {
		return is(Gone, "the registry has the digest and no such tag")
	}
	if now != t.Digest() {
		return l.moved(ctx, row, verdict)
	}
	switch {
	case verdict.Signatures == 0:
		return is(DCTOnly, "no Notation signature")
	case verdict.Doubt != "":
		return is(verdict.Doubt, "%s", verdict.Reason)
	case !verdict.Trusted:
		return is(Untrusted, "%s", verdict.Reason)
	}
	row.Class = Agree
	if !row.Bound {
		row.Flags = append(row.Flags, FlagUnbound)
	}
	return row
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
		l.platform(ctx, &row, verdict)
	case verdict.Doubt == Unknown:
		row.Class, row.Reason = Unknown, verdict.Reason
	}
	return row
}
