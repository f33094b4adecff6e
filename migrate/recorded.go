package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/state"
)

// recorded compares what a ledger has of the repository with what is there. It adds flags,
// and rows for images that no tag leads to: those that DCT has withdrawn since, and those of
// platforms whose signatures are not as they were. The error is ctx's, or says that the ledger
// could not be read.
func (c *comparing) recorded(ctx context.Context, look *lookups, result *VerifiedRepository) error {
	items, err := c.Recorded(look.repository)
	if err != nil {
		return fmt.Errorf("comparing with the ledger: %w", err)
	}
	items = slices.DeleteFunc(items, func(it state.Item) bool {
		chosen := len(it.Tags) == 0 || slices.ContainsFunc(it.Tags, func(t state.Tag) bool { return c.Scope.wants(t.Name) })
		return it.GUN != look.gun || !chosen
	})
	rows := make([]*VerifiedTag, len(items))
	if err := c.each(ctx, len(items), func(ctx context.Context, i int) { rows[i] = look.item(ctx, items[i]) }); err != nil {
		return err
	}
	for _, row := range rows {
		if row != nil && !marked(result.Tags, *row) {
			result.Tags = append(result.Tags, *row)
		}
	}
	return look.flagRecorded(ctx, items, result)
}

// flagRecorded flags the rows whose signatures are not those that the ledger has.
func (l *lookups) flagRecorded(ctx context.Context, items []state.Item, result *VerifiedRepository) error {
	ours, pushed := map[digest.Digest][]string{}, map[digest.Digest][]string{} // signatures, by image
	for _, it := range items {
		d := digest.Digest(it.Digest)
		if ours[d] = append(ours[d], it.Signature); it.Stage == state.Confirmed || it.Stage == state.Pushed {
			pushed[d] = append(pushed[d], it.Signature)
		}
	}
	for i, row := range result.Tags {
		d := row.DCT
		if d == "" && row.Tag == "" && !slices.Contains(row.Flags, FlagWithdrawn) {
			d = row.Registry // of a platform
		}
		if d == "" {
			continue
		}
		verdict, found := l.judge(ctx, d).Value()
		if !found {
			continue // the row says so
		}
		if slices.ContainsFunc(pushed[d], func(s string) bool { return !slices.Contains(verdict.Listed, s) }) {
			result.Tags[i].Flags = append(result.Tags[i].Flags, FlagGone)
		}
		if slices.ContainsFunc(verdict.Listed, func(s string) bool { return !slices.Contains(ours[d], s) }) {
			result.Tags[i].Flags = append(result.Tags[i].Flags, FlagForeign)
		}
	}
	return ctx.Err()
}

// marked reports whether the image of a withdrawn item has rows already, as its tags are still
// in the registry: these then say that it was withdrawn.
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

// item returns the row of an item whose image no row of a tag is about; nil where there is
// nothing to say. Such rows have no tag: what tags the registry has of the image is not asked.
// An item of any stage counts, since the registry may have a signature of it: the ledger
// records progress, and what it lacks proves nothing.
func (l *lookups) item(ctx context.Context, it state.Item) *VerifiedTag {
	if l.vouched[digest.Digest(it.Digest)] {
		return nil
	}
	// That the index lists the image is the ledger's word, until its bytes say it.
	for _, name := range it.Indexes {
		index := digest.Digest(name)
		switch listed, err := l.lists(ctx, index, digest.Digest(it.Digest)); {
		case err != nil:
			b := &rowBuilder{VerifiedTag: VerifiedTag{Registry: digest.Digest(it.Digest), Flags: []string{FlagPlatform}}}
			b.say(Unknown, "reading index %s, which may list the image: %v", index, err)
			row := b.row(Unknown, "")
			return &row
		case listed:
			return l.platformItem(ctx, it, index)
		}
	}
	return l.withdrawn(ctx, it)
}

// platformItem is the row of an image that an index lists which DCT names, if its signatures
// are not in order any more.
func (l *lookups) platformItem(ctx context.Context, it state.Item, index digest.Digest) *VerifiedTag {
	if it.Signature == "" {
		return nil // it has none yet
	}
	b := &rowBuilder{VerifiedTag: VerifiedTag{Registry: digest.Digest(it.Digest), Flags: []string{FlagPlatform}}}
	image := l.judge(ctx, b.Registry)
	switch verdict, there := image.Value(); {
	case there:
		b.CertificateExpires = verdict.NotAfter
		b.signed(verdict)
	case image.Err() != nil:
		b.say(Unknown, "%v", image.Err())
	default:
		b.say(Gone, "the registry has no such digest, which index %s lists", index)
	}
	if len(b.reasons) == 0 {
		return nil
	}
	row := b.row(Agree, "")
	return &row
}

// withdrawn is the row of an item that DCT does not vouch for any more, if Notation trusts its
// image or nobody knows.
func (l *lookups) withdrawn(ctx context.Context, it state.Item) *VerifiedTag {
	var names []string
	for _, t := range it.Tags {
		names = append(names, t.Name)
	}
	as := ""
	if len(names) > 0 {
		as = " as " + strings.Join(names, ", ")
	} else if len(it.Indexes) > 0 {
		as = " as an image of " + strings.Join(it.Indexes, ", ")
	}
	b := &rowBuilder{VerifiedTag: VerifiedTag{Registry: digest.Digest(it.Digest), Flags: []string{FlagWithdrawn}}}
	image := l.judge(ctx, b.Registry)
	if err := image.Err(); err != nil {
		b.say(Unknown, "signed%s, and DCT does not vouch for it any more: %v", as, err)
	}
	if verdict, there := image.Value(); there {
		b.trusted(verdict, NotationOnly, "signed%s, and DCT does not vouch for it any more; undo removes the signature", as)
	}
	if len(b.reasons) == 0 {
		return nil
	}
	row := b.row(NoneSigned, "")
	return &row
}
