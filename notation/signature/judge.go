package signature

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/notation"
)

// Verdict is a trust policy's verdict on the signatures of one image.
type Verdict struct {
	Signatures int      // listed
	Listed     []string // the digests of their manifests
	Trusted    bool     // at least one passes the trust policy
	// Doubt is what a strict policy holds against the best of them, whatever this policy's level. It is zero if there
	// is nothing, or if there are no signatures.
	Doubt  notation.Doubt
	Reason string              // of the doubt
	Signed []map[string]string // the metadata of each trusted signature
	// Refused is why notation verify refuses the image although one of its signatures is trusted, or empty if it does
	// not.
	Refused string
	// Unread reports whether a listed signature could not be read. Then it is unknown whether Notation trusts the
	// image.
	Unread   bool
	NotAfter time.Time // until when the trusted signature verifies; zero: no end
}

// Judge asks the verifier about each signature of an image, so that a broken one does not hide a good one. It then
// checks whether notation verify would come to the same result, since that may stop at the broken one. It is safe for
// concurrent use.
type Judge struct {
	Verifier *notation.Verifier
	// Seen is called with the signatures of an image each time they were looked at. It decides nothing. May be nil.
	Seen func(image ocispec.Descriptor, list []Looked)
}

// Looked is a signature that was looked at.
type Looked struct {
	notation.Entry
	Unknown error // why nothing is known about it; nil: its verdict is valid
}

// Judge returns the verdict on an image in the repository with the name that trust policies use. An error means that
// the verdict is unknown. Judge lists the signatures while describe, which is called once, finds out what the image
// is; it returns describe's error.
func (j Judge) Judge(ctx context.Context, r *registry.Repository, name string, d digest.Digest, describe func(context.Context) (ocispec.Descriptor, error)) (Verdict, error) {
	ctx, cancel := context.WithCancel(ctx) // do not wait for the list of an image that does not exist
	defer cancel()
	first := make(chan list, 1)
	go func() { first <- listOf(ctx, r, d) }()
	image, err := describe(ctx)
	if err != nil {
		return Verdict{}, err
	}
	l := <-first
	v, err := j.judgeListed(ctx, r, name, image, l)
	if err == nil && l.inTag { // the verdict must not rest on an older answer
		if err = r.CheckList(ctx, image, l.inTag); errors.Is(err, registry.ErrListMoved) {
			v, err = j.judgeListed(ctx, r, name, image, listOf(ctx, r, d))
		}
	}
	if err != nil {
		return Verdict{}, err
	}
	return v, nil
}

// list is what the registry lists for an image.
type list struct {
	entries []ocispec.Descriptor
	inTag   bool
	err     error
}

func listOf(ctx context.Context, r *registry.Repository, d digest.Digest) (l list) {
	l.entries, l.inTag, l.err = r.AsListed(ctx, ocispec.Descriptor{Digest: d})
	return l
}

// judgeListed judges what the registry lists.
func (j Judge) judgeListed(ctx context.Context, r *registry.Repository, name string, image ocispec.Descriptor, l list) (Verdict, error) {
	var none Verdict
	if l.err != nil {
		return none, l.err
	}
	listed := l.entries
	found := judgedList{
		reference: name + "@" + image.Digest.String(), image: image,
		listed: listed, distinct: registry.Distinct(listed),
		other: func(m ocispec.Descriptor) (notation.Entry, error) { return otherEntry(ctx, r, m) },
	}
	for _, m := range found.distinct[:min(len(found.distinct), notation.MaxSignatures)] {
		one, err := j.judgeOne(ctx, r, found, m)
		switch {
		case ctx.Err() != nil:
			return none, ctx.Err()
		case err != nil && found.lost != nil:
			j.seen(found)
			return none, found.lost // the first unreadable one is enough
		case err != nil:
			found.lost, found.lostAt = err, len(found.entries)
		}
		found.entries = append(found.entries, one)
	}
	j.seen(found)
	return found.verdict(ctx)
}

// otherEntry returns the entry of something that says it is not a signature, in a list that the registry calls
// filtered. notation verify takes it for a signature: it goes on if the manifest has one layer, and otherwise refuses
// the image. An error means that this is unknown.
func otherEntry(ctx context.Context, r *registry.Repository, m ocispec.Descriptor) (notation.Entry, error) {
	e := notation.Entry{Listed: m, Verdict: notation.Verdict{Doubt: notation.Unproven, Reason: "it is no signature"}}
	if e.Err = registry.CheckEntry(m); e.Err != nil {
		return e, nil
	}
	raw, err := r.FetchManifest(ctx, m)
	switch {
	case err != nil && !broken(err):
		return e, err
	case err != nil:
		e.Err = err
		return e, nil
	}
	if registry.Envelopes(m.MediaType, raw) != 1 {
		e.Err = errors.New("it is no signature, and has not one layer")
	}
	return e, nil
}

// judgeOne fetches and judges one signature. One that can never be read is not trusted, and the entry says why. An
// error means that this is unknown.
func (j Judge) judgeOne(ctx context.Context, r *registry.Repository, found judgedList, m ocispec.Descriptor) (notation.Entry, error) {
	e := notation.Entry{Listed: m}
	e.MediaType, e.Blob, e.Err = r.FetchSignature(ctx, m)
	if e.Err != nil {
		e.Verdict = notation.Verdict{Doubt: notation.Unproven, Reason: e.Err.Error()}
		if broken(e.Err) {
			return e, nil
		}
		return e, e.Err
	}
	var err error
	e.Verdict, err = j.Verifier.Verify(ctx, found.reference, found.image, e.MediaType, e.Blob)
	return e, err
}

// judgedList is what is known about the signatures of one image.
type judgedList struct {
	reference string
	image     ocispec.Descriptor
	listed    []ocispec.Descriptor                             // everything the registry lists, in its order
	distinct  []ocispec.Descriptor                             // the signatures among them, each once
	entries   []notation.Entry                                 // the first of those, which were judged
	lost      error                                            // why one of them, which may be good, is unknown; nil: all are known
	lostAt    int                                              // its index
	other     func(ocispec.Descriptor) (notation.Entry, error) // fetches listed entries that are not signatures
}

// seen calls Seen with what was looked at, if it is set.
func (j Judge) seen(f judgedList) {
	if j.Seen == nil {
		return
	}
	list := make([]Looked, len(f.entries))
	for i, e := range f.entries {
		list[i].Entry = e
		if f.lost != nil && i == f.lostAt {
			list[i].Unknown = f.lost
		}
	}
	j.Seen(f.image, list)
}

// verdict sums up. An error means that the verdict is unknown.
func (f *judgedList) verdict(ctx context.Context) (Verdict, error) {
	v := Verdict{Signatures: len(f.distinct)}
	for _, m := range f.distinct {
		v.Listed = append(v.Listed, m.Digest.String())
	}
	best := f.sum(&v)
	strict := best != nil && best.Strict()
	if f.lost != nil && !strict {
		return Verdict{}, f.lost
	}
	if best == nil {
		return v, nil // there are none
	}
	v.NotAfter = best.NotAfter
	if !strict {
		v.Doubt, v.Reason = best.Doubt, best.Reason
		if len(f.distinct) > notation.MaxSignatures {
			v.Unread = true // a later one may be trusted by a verifier that looks further
			v.Reason = "no trusted signature among the first 100; one is not because: " + v.Reason
		}
	}
	if !v.Trusted {
		return v, nil
	}
	replayed, err := f.inOrder()
	if err != nil {
		return Verdict{}, err
	}
	if err := notation.Replay(ctx, f.reference, f.image, replayed); ctx.Err() != nil {
		return Verdict{}, ctx.Err()
	} else if err != nil {
		v.Refused = err.Error()
	}
	return v, nil
}

// inOrder returns what notation verify would look at, up to the first entry that ends it: a trusted one or one that
// cannot be fetched. An error means that the entry that ends it now may not do so later.
func (f *judgedList) inOrder() (list []notation.Entry, err error) {
	for _, m := range f.listed {
		if len(list) == notation.MaxSignatures {
			break
		}
		i := slices.IndexFunc(f.distinct, func(d ocispec.Descriptor) bool {
			return d.Digest == m.Digest && d.Size == m.Size && d.MediaType == m.MediaType
		})
		var e notation.Entry
		switch {
		case i < 0 || !registry.IsSignature(m):
			if e, err = f.other(m); err != nil {
				return nil, err
			}
		case f.lost != nil && i == f.lostAt:
			return nil, f.lost
		default:
			e = f.entries[i]
		}
		list = append(list, e)
		if e.Err != nil || e.Verdict.Trusted {
			break
		}
	}
	return list, nil
}

// sum records what the trusted signatures bind, and returns the best verdict, or nil if there is none. If one needs
// no leniency, only such signatures count for what is bound.
func (f *judgedList) sum(v *Verdict) *notation.Verdict {
	var best *notation.Verdict
	for i := range f.entries {
		if f.lost != nil && i == f.lostAt {
			continue
		}
		e := &f.entries[i]
		one := &e.Verdict
		// A malformed entry in the list itself is not a signature for anybody.
		v.Unread = v.Unread || e.Err != nil && registry.CheckEntry(e.Listed) == nil
		if one.Strict() && (best == nil || !best.Strict()) {
			v.Signed = nil
		}
		if one.Trusted && (one.Strict() || best == nil || !best.Strict()) {
			v.Trusted, v.Signed = true, append(v.Signed, one.Metadata)
		}
		if best == nil || one.Better(*best) {
			best = one
		}
	}
	return best
}

// broken reports whether the registry itself returns for a listed signature something that nobody would accept: no
// signature, other bytes, or nothing. That is enough for a verdict, but not for signing: only ErrBroken proves that
// the listed signature is not ours. A proxy's 404 says nothing.
func broken(err error) bool {
	return errors.Is(err, registry.ErrBroken) || errors.Is(err, registry.ErrDangling) || failure.Of(err) == failure.Security
}
