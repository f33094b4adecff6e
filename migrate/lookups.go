package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/state"
)

// lookups asks once for each digest of a repository what Notation says of it, however
// many tags it has. It is safe for concurrent use.
type lookups struct {
	v          *Verification
	gun        string
	repository string
	vouched    map[digest.Digest]bool // by DCT, for any tag
	known      sync.Map               // digest -> func() (Verdict, error), called once
	indexes    sync.Map               // digest -> func() ([]member, error), called once
}

func newLookups(v *Verification, r *dct.Repository) *lookups {
	l := &lookups{v: v, gun: r.GUN().String(), repository: v.Scope.place(r.GUN()), vouched: map[digest.Digest]bool{}}
	for _, t := range r.Targets() {
		l.vouched[t.Digest()] = true
	}
	return l
}

func (l *lookups) judge(ctx context.Context, d digest.Digest) (Verdict, error) {
	once, _ := l.known.LoadOrStore(d, sync.OnceValues(func() (Verdict, error) {
		desc, err := l.v.Registry.Resolve(ctx, l.repository, d)
		if err != nil {
			return Verdict{}, err
		}
		return l.v.Judge.Judge(ctx, Image{l.repository, desc})
	}))
	return once.(func() (Verdict, error))()
}

// members are what an index lists that DCT vouches for, directly or in an index of its own.
func (l *lookups) members(ctx context.Context, index digest.Digest) ([]member, error) {
	once, _ := l.indexes.LoadOrStore(index, sync.OnceValues(func() ([]member, error) { return l.listed(ctx, index, 1) }))
	return once.(func() ([]member, error))()
}

func (l *lookups) listed(ctx context.Context, index digest.Digest, depth int) ([]member, error) {
	desc, err := l.v.Registry.Resolve(ctx, l.repository, index)
	if err != nil {
		return nil, err
	}
	raw, err := l.v.Registry.Manifest(ctx, Image{l.repository, desc})
	if err != nil {
		return nil, err
	}
	members, err := readIndex(raw)
	if err != nil || depth == maxChain {
		return members, err
	}
	for _, m := range slices.Clone(members) {
		if !indexTypes[m.MediaType] {
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

// platform looks whether a tag that Notation trusts has an image that an index lists which
// DCT names, as the signature says. Then both sides vouch for the image, though not for the
// tag; whether that is enough was said by AllPlatforms.
func (l *lookups) platform(ctx context.Context, row *VerifiedTag, verdict Verdict) {
	for _, signed := range verdict.Signed {
		if signed[MetadataGUN] != l.gun {
			continue
		}
		for _, name := range strings.Split(signed[MetadataIndex], ",") {
			index := digest.Digest(strings.TrimSpace(name))
			if !l.vouched[index] {
				continue
			}
			members, err := l.members(ctx, index)
			if err != nil || !slices.ContainsFunc(members, func(m member) bool { return m.Digest == row.Registry }) {
				continue
			}
			row.Flags = append(row.Flags, FlagPlatform)
			row.Reason = fmt.Sprintf("DCT does not name the tag; it names index %s, which lists the image", index)
			if l.v.AllPlatforms {
				row.Class = Agree
			}
			return
		}
	}
}

// recorded compares what a ledger has of the repository with what is there. It adds flags,
// and rows for what DCT has withdrawn since it was signed.
func (l *lookups) recorded(ctx context.Context, result *VerifiedRepository) error {
	items, err := l.v.Recorded(l.repository)
	if err != nil {
		return fmt.Errorf("comparing with the ledger: %w", err)
	}
	ours := map[digest.Digest]map[string]bool{} // signatures, by image
	for _, it := range items {
		if it.Stage != state.Confirmed && it.Stage != state.Pushed || it.GUN != l.gun {
			continue
		}
		d := digest.Digest(it.Digest)
		if ours[d] == nil {
			ours[d] = map[string]bool{}
		}
		ours[d][it.Signature] = true
		if !l.vouches(it) && slices.ContainsFunc(it.Tags, func(t state.Tag) bool { return l.v.Scope.wants(t.Name) }) {
			row, err := l.withdrawn(ctx, it)
			if err != nil {
				return err
			}
			if row.Class != NoneSigned && !marked(result.Tags, row) {
				result.Tags = append(result.Tags, row)
			}
		}
	}
	for i, row := range result.Tags {
		if row.DCT == "" {
			continue
		}
		verdict, err := l.judge(ctx, row.DCT)
		if err != nil {
			continue // the row says so
		}
		for signature := range ours[row.DCT] {
			if !slices.Contains(verdict.Listed, signature) {
				result.Tags[i].Flags = append(result.Tags[i].Flags, FlagGone)
				break
			}
		}
		if slices.ContainsFunc(verdict.Listed, func(s string) bool { return !ours[row.DCT][s] }) {
			result.Tags[i].Flags = append(result.Tags[i].Flags, FlagForeign)
		}
	}
	return ctx.Err()
}

// marked tells whether the image of a withdrawn item has rows already, as its tags are still in
// the registry: these then say that it was withdrawn.
func marked(rows []VerifiedTag, withdrawn VerifiedTag) bool {
	found := false
	for i, row := range rows {
		// One without a tag is of another item, with its own key.
		if row.Class != NotationOnly || withdrawn.Class != NotationOnly || row.Tag == "" || row.Registry != withdrawn.Registry {
			continue
		}
		found = true
		if !slices.Contains(row.Flags, FlagWithdrawn) {
			rows[i].Flags = append(row.Flags, withdrawn.Flags...)
			rows[i].Reason = withdrawn.Reason
		}
	}
	return found
}

// vouches tells whether DCT still vouches for an item: for its digest, or for an index that
// was said to list it.
func (l *lookups) vouches(it state.Item) bool {
	return l.vouched[digest.Digest(it.Digest)] ||
		slices.ContainsFunc(it.Indexes, func(index string) bool { return l.vouched[digest.Digest(index)] })
}

// withdrawn is the row of an item that DCT does not vouch for any more. The row has no tag:
// what tags the registry has of it is not asked.
func (l *lookups) withdrawn(ctx context.Context, it state.Item) (VerifiedTag, error) {
	var names []string
	for _, t := range it.Tags {
		names = append(names, t.Name)
	}
	row := VerifiedTag{
		Registry: digest.Digest(it.Digest), Class: NoneSigned, Flags: []string{FlagWithdrawn},
		Reason: fmt.Sprintf("signed as %s, and DCT does not vouch for it any more; undo removes the signature", strings.Join(names, ", ")),
	}
	verdict, err := l.judge(ctx, row.Registry)
	switch {
	case ctx.Err() != nil:
		return row, ctx.Err()
	case ClassOf(err) == Missing:
	case err != nil:
		row.Class, row.Reason = Unknown, err.Error()
	case verdict.Trusted:
		row.Class = NotationOnly
	}
	return row, nil
}
