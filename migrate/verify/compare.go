package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/migrate"
)

// Flags of compared tags, besides DCT's own.
const (
	// FlagUnbound: no trusted signature binds the tag, so Notation would also accept another signed digest under it.
	FlagUnbound = "unbound"
	// FlagGone: the ledger recorded a signature as pushed, and it is no longer there.
	FlagGone = "recorded-signature-gone"
	// FlagForeign: the image has signatures that the ledger does not know.
	FlagForeign = "unrecorded-signature"
	// FlagWithdrawn: the ledger has it as signed, and DCT no longer vouches for the digest.
	FlagWithdrawn = "withdrawn"
	// FlagPlatform: DCT does not name the image, but an index that lists it.
	FlagPlatform = "platform"
)

// rowBuilder collects the results for one tag: a tag can disagree in several ways at once, and each is a class of its
// own.
type rowBuilder struct {
	Row
	reasons map[Class]string
}

// say adds a class and its reason. A class that was added before keeps both reasons.
func (b *rowBuilder) say(c Class, format string, args ...any) {
	if b.reasons == nil {
		b.reasons = map[Class]string{}
	}
	reason := fmt.Sprintf(format, args...)
	if before, said := b.reasons[c]; said {
		reason = together(before, reason)
	}
	b.reasons[c] = reason
}

// together joins reasons, followed by their hints, each once.
func together(reasons ...string) string {
	var texts, hints []string
	for _, r := range reasons {
		text, hint, _ := strings.Cut(r, "\nhint: ")
		texts = append(texts, text)
		if hint != "" && !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	if len(hints) == 0 {
		return strings.Join(texts, "; ")
	}
	return strings.Join(texts, "; ") + "\nhint: " + strings.Join(hints, "; ")
}

func (b *rowBuilder) has(c Class) bool {
	_, said := b.reasons[c]
	return said
}

// row returns the row with its classes, worst first. Without any, it has the class otherwise and the given reason.
func (b *rowBuilder) row(otherwise Class, reason string) Row {
	row := b.Row
	row.Class, row.Classes, row.Reason = otherwise, []Class{otherwise}, reason
	if len(b.reasons) == 0 {
		return row
	}
	row.Classes = nil
	var reasons []string
	for _, c := range worstFirst {
		if b.has(c) {
			row.Classes, reasons = append(row.Classes, c), append(reasons, b.reasons[c])
		}
	}
	row.Class, row.Reason = row.Classes[0], reasons[0]
	if len(reasons) > 1 {
		for i, c := range row.Classes {
			reasons[i] = string(c) + ": " + reasons[i]
		}
		row.Reason = together(reasons...)
	}
	return row
}

// signed adds what is wrong with the signatures of an image that DCT vouches for.
func (b *rowBuilder) signed(v Verdict) {
	switch {
	case v.Signatures == 0:
		b.say(DCTOnly, "no Notation signature")
	case v.Doubt != "":
		b.say(v.Doubt, "%s", v.Reason)
	case !v.Trusted:
		b.say(Untrusted, "%s", v.Reason)
	}
	b.refused(v)
}

// refused adds that notation verify rejects the image although it has a trusted signature.
func (b *rowBuilder) refused(v Verdict) {
	if v.Trusted && v.Refused != "" {
		b.say(Broken, "one of its signatures is good, but notation verify rejects the image: %s", v.Refused)
	}
}

// trusted adds, for an image that DCT does not vouch for, that Notation trusts it, as the given class, or that this
// is unknown. A doubt of a strict policy is a class of its own: consumers with a lenient policy run the image, and
// others do not.
func (b *rowBuilder) trusted(v Verdict, class Class, format string, args ...any) {
	switch {
	case v.Trusted:
		b.CertificateExpires = v.NotAfter
		b.say(class, format, args...)
		if v.Doubt != "" {
			b.say(v.Doubt, "%s", v.Reason)
		}
		b.refused(v)
	case v.open():
		b.say(Unknown, "whether Notation trusts it: %s", v.Reason)
	}
}

// target compares the two sides for a tag that DCT vouches for. listed reports whether the registry has listed the
// tag.
func (l *verdictCache) target(ctx context.Context, t dct.Target, listed bool) Row {
	b := &rowBuilder{Row: Row{Tag: t.Tag(), DCT: t.Digest(), Role: t.Role(), Flags: t.Flags()}}
	verdict := l.vouchedFor(ctx, b, listed)
	b.Bound = slices.ContainsFunc(verdict.Signed, func(m map[string]string) bool { return migrate.Binds(m, t) })
	row := b.row(Agree, "")
	if row.Class == Agree && !row.Bound {
		row.Flags = append(row.Flags, FlagUnbound)
	}
	return row
}

// vouchedFor compares the two sides for a row that has a tag and DCT's digest, and returns what Notation says about
// the digest. It adds everything that is wrong, since a waiver for one thing must not hide another.
func (l *verdictCache) vouchedFor(ctx context.Context, b *rowBuilder, listed bool) Verdict {
	// The answer for the tag also describes the image, if it is still DCT's.
	var tag lookup.Answer[digest.Digest]
	var asked sync.WaitGroup
	asked.Go(func() { tag = l.tag(ctx, b.Tag) })
	image := l.judgeAfter(ctx, b.DCT, asked.Wait)
	asked.Wait()
	now, tagged := tag.Value()
	if b.Registry = now; now == b.DCT {
		b.Registry = b.DCT // one string in memory rather than two
	}
	if err := tag.Err(); err != nil {
		b.say(Unknown, "looking up the tag: %v", err)
	}
	verdict, there := image.Value()
	switch {
	case there:
		b.CertificateExpires = verdict.NotAfter
		b.signed(verdict)
	case image.Err() != nil:
		b.say(Unknown, "%v", image.Err())
	case tagged && now == b.DCT:
		b.say(Unknown, "the registry's tag names the digest, but the registry answers that it has no such digest")
	default:
		b.say(Gone, "the registry has no such digest")
	}
	switch _, absent := tag.Absent(); {
	case absent && listed:
		b.say(Unknown, "the registry lists the tag, but answers that it has no such tag")
	case absent:
		b.say(Gone, "the registry has no such tag")
	case tagged && now != b.DCT:
		l.moved(ctx, b, verdict)
	}
	return verdict
}

// moved compares the two sides for a tag whose digest is not DCT's.
func (l *verdictCache) moved(ctx context.Context, b *rowBuilder, vouched Verdict) {
	verdict, err := l.named(ctx, b.Registry)
	if err != nil {
		b.say(Unknown, "the tag points to %s: %v", b.Registry, err)
	}
	expires := b.CertificateExpires // the date that counts is that of DCT's digest
	b.trusted(verdict, Conflict, "DCT vouches for one digest, and Notation trusts %s, which the tag has", b.Registry)
	b.CertificateExpires = expires
	if !b.has(Conflict) {
		signed := ""
		if vouched.Trusted {
			signed = "; DCT's digest is signed"
		}
		b.say(Moved, "the tag was moved since DCT signed it%s", signed)
	}
}

// finding compares the two sides for a tag that DCT does not trust. listed reports whether
// the registry has listed the tag.
func (l *verdictCache) finding(ctx context.Context, f dct.Finding, listed bool) Row {
	b := &rowBuilder{Row: Row{Tag: f.Tag, Role: f.Role}}
	why := f.Class + ": " + f.Detail
	if !dct.IsTag(f.Tag) {
		return b.row(NoneSigned, why) // no registry can have it
	}
	if f.Digest != "" { // no run signs it, but docker runs it: so compare both sides
		b.DCT = f.Digest
		l.vouchedFor(ctx, b, listed)
		return b.row(Agree, why)
	}
	tag := l.tag(ctx, f.Tag)
	now, tagged := tag.Value()
	if !tagged {
		switch {
		case tag.Err() != nil:
			b.say(Unknown, "looking up the tag: %v", tag.Err())
		case listed:
			b.say(Unknown, "the registry lists the tag, but answers that it has no such tag")
		}
		return b.row(NoneSigned, why)
	}
	b.Registry = now
	verdict, err := l.named(ctx, now)
	if err != nil {
		b.say(Unknown, "%v", err)
		return b.row(NoneSigned, why)
	}
	if index, ok := l.platform(ctx, verdict, now); ok {
		b.Flags = append(b.Flags, FlagPlatform)
		why = fmt.Sprintf("DCT does not name the tag; it names index %s, which lists the image", index)
		if l.v.AllPlatforms { // both sides vouch for the image
			b.CertificateExpires = verdict.NotAfter
			b.signed(verdict)
			return b.row(Agree, why)
		}
	} else {
		why = "Notation trusts the tag's digest, and DCT does not: " + why
	}
	b.trusted(verdict, NotationOnly, "%s", why)
	return b.row(NoneSigned, f.Class+": "+f.Detail)
}
