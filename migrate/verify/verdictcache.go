package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/migrate"
)

// verdictCache looks up once for each digest of a repository what Notation says about it, however many tags it has.
// It is safe for concurrent use.
type verdictCache struct {
	v          *Verification
	gun        string
	repository string
	vouched    map[digest.Digest]bool // by DCT, for any tag
	known      sync.Map               // digest -> func() lookup.Answer[Verdict], called once
	indexes    sync.Map               // digest -> func() ([]member, error), called once
}

func newVerdictCache(v *Verification, gun dct.GUN, targets []dct.Target) *verdictCache {
	l := &verdictCache{v: v, gun: gun.String(), repository: v.Scope.PlaceOf(gun), vouched: map[digest.Digest]bool{}}
	for _, t := range targets {
		l.vouched[t.Digest()] = true
	}
	return l
}

// judge returns what Notation says about an image. It is absent only if the registry says so about the digest itself:
// anything missing while its signatures are fetched says nothing about the image.
func (l *verdictCache) judge(ctx context.Context, d digest.Digest) lookup.Answer[Verdict] {
	return l.judgeAfter(ctx, d, func() {})
}

// judgeAfter is judge for a caller whose pending request may also describe the image, which saves a request: before
// waits for that. The signatures are listed meanwhile.
func (l *verdictCache) judgeAfter(ctx context.Context, d digest.Digest, before func()) lookup.Answer[Verdict] {
	once, _ := l.known.LoadOrStore(d, sync.OnceValue(func() lookup.Answer[Verdict] {
		var unresolved error
		verdict, err := l.v.Judge.Judge(ctx, l.repository, d, func(ctx context.Context) (desc ocispec.Descriptor, err error) {
			before()
			desc, unresolved = l.v.Registry.Resolve(ctx, l.repository, d)
			return desc, unresolved
		})
		switch {
		case unresolved != nil && failure.Of(unresolved) == failure.Missing:
			if l.v.Record != nil { // runs have seen it
				if err := l.v.Registry.Answers(ctx, l.repository); err != nil {
					return lookup.Unknown[Verdict](err)
				}
			}
			return lookup.Absent[Verdict](lookup.Registry)
		case unresolved != nil:
			return lookup.Unknown[Verdict](unresolved)
		case err != nil:
			return lookup.Unknown[Verdict](err)
		}
		return lookup.Found(verdict)
	}))
	return once.(func() lookup.Answer[Verdict])()
}

// named is judge for a digest that a tag of the registry names; then it is an error if the digest is absent.
func (l *verdictCache) named(ctx context.Context, d digest.Digest) (Verdict, error) {
	image := l.judge(ctx, d)
	if _, absent := image.Absent(); absent {
		return Verdict{}, fmt.Errorf("the registry's tag names %s, but the registry answers that it has no such digest", d)
	}
	return image.Result()
}

// tag returns the digest that a tag of the repository has now.
func (l *verdictCache) tag(ctx context.Context, tag string) lookup.Answer[digest.Digest] {
	return l.v.Registry.Tag(ctx, l.repository, tag)
}

// members returns what an index lists that DCT vouches for, directly or through an index of its own.
func (l *verdictCache) members(ctx context.Context, index digest.Digest) ([]migrate.Member, error) {
	once, _ := l.indexes.LoadOrStore(index, sync.OnceValues(func() ([]migrate.Member, error) { return l.listed(ctx, index, 1) }))
	return once.(func() ([]migrate.Member, error))()
}

func (l *verdictCache) listed(ctx context.Context, index digest.Digest, depth int) ([]migrate.Member, error) {
	desc, err := l.v.Registry.Resolve(ctx, l.repository, index)
	if err != nil {
		return nil, err
	}
	raw, err := l.v.Registry.Manifest(ctx, migrate.Image{Repository: l.repository, Descriptor: desc})
	if err != nil {
		return nil, err
	}
	members, err := migrate.ReadIndex(raw)
	if err != nil || depth == migrate.MaxChain {
		return members, err
	}
	for _, m := range slices.Clone(members) {
		if !migrate.IndexTypes[m.MediaType] {
			continue
		}
		below, err := l.listed(ctx, m.Digest, depth+1)
		if err != nil {
			return nil, err
		}
		members = append(members, below...)
	}
	return members, nil
}

// platform returns the index that DCT names and that lists the image, as a signature of the image says. Then both
// sides vouch for the image, though not for a tag that it has.
func (l *verdictCache) platform(ctx context.Context, verdict Verdict, image digest.Digest) (digest.Digest, bool) {
	for _, signed := range verdict.Signed {
		if signed[migrate.MetadataGUN] != l.gun {
			continue
		}
		for _, name := range strings.Split(signed[migrate.MetadataIndex], ",") {
			index := digest.Digest(strings.TrimSpace(name))
			if listed, err := l.lists(ctx, index, image); err == nil && listed {
				return index, true
			}
		}
	}
	return "", false
}

// lists reports whether DCT vouches for an index that lists an image.
func (l *verdictCache) lists(ctx context.Context, index, image digest.Digest) (bool, error) {
	if !l.vouched[index] {
		return false, nil
	}
	members, err := l.members(ctx, index)
	return slices.ContainsFunc(members, func(m migrate.Member) bool { return m.Digest == image }), err
}
