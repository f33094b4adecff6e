package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/state"
)

// A Record is what the ledger of runs has about repositories, wherever their images were at the time. It is safe for
// concurrent use.
type Record struct {
	page   func(after state.Key, limit int) ([]state.Item, error)
	places map[string][]string // by GUN, in order
}

// ReadRecord finds out which repositories a ledger has. page returns its items, as [state.Ledger.Items] does; it is
// called later as well, from several goroutines at once.
func ReadRecord(page func(after state.Key, limit int) ([]state.Item, error)) (*Record, error) {
	r := &Record{page: page, places: map[string][]string{}}
	err := r.from(state.Key{}, func(it state.Item) bool {
		if places := r.places[it.GUN]; len(places) == 0 || places[len(places)-1] != it.Repository {
			r.places[it.GUN] = append(places, it.Repository)
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("reading which repositories the ledger has: %w", err)
	}
	return r, nil
}

// GUNs returns the repositories that the ledger has, in order.
func (r *Record) GUNs() []string { return slices.Sorted(maps.Keys(r.places)) }

// has reports whether the ledger has a repository; without a ledger it is false.
func (r *Record) has(gun dct.GUN) bool { return r != nil && len(r.places[gun.String()]) > 0 }

// Places returns the repositories that the images of a GUN were in.
func (r *Record) Places(gun string) []string { return r.places[gun] }

// of returns all items of a GUN.
func (r *Record) of(gun string) (items []state.Item, err error) {
	for _, place := range r.places[gun] {
		err := r.from(state.Key{Repository: place}, func(it state.Item) bool {
			if it.Repository == place && it.GUN == gun {
				items = append(items, it)
			}
			return it.Repository == place
		})
		if err != nil {
			return nil, fmt.Errorf("comparing with the ledger: %w", err)
		}
	}
	return items, nil
}

// from calls each for the items after a key, until each returns false.
func (r *Record) from(after state.Key, each func(state.Item) bool) error {
	for {
		page, err := r.page(after, 0)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, it := range page {
			if !each(it) {
				return nil
			}
		}
		after = page[len(page)-1].Key
	}
}

// recorded compares what a ledger has about the repository with what is there. It adds flags, and rows for images
// without a tag: those that DCT has withdrawn since, and those of platforms. look is for the place where the images
// are now; what was signed in another place is looked up there. The error is ctx's, or says that the ledger could not
// be read.
func (c *comparing) recorded(ctx context.Context, look *verdictCache, result *Repository) error {
	items, err := c.Record.of(look.gun)
	if err != nil {
		return err
	}
	items = slices.DeleteFunc(items, func(it state.Item) bool {
		return len(it.Tags) > 0 && !slices.ContainsFunc(it.Tags, func(t state.Tag) bool { return c.Scope.Wants(t.Name) })
	})
	at := map[string]*verdictCache{look.repository: look}
	for _, it := range items {
		if at[it.Repository] == nil {
			at[it.Repository] = &verdictCache{v: look.v, gun: look.gun, repository: it.Repository}
		}
	}
	rows := make([]*Row, len(items))
	if err := c.each(ctx, len(items), func(ctx context.Context, i int) { rows[i] = look.item(ctx, at[items[i].Repository], items[i]) }); err != nil {
		return err
	}
	for i, row := range rows {
		if row != nil && !(items[i].Repository == look.repository && marked(result.Tags, *row)) {
			result.Tags = append(result.Tags, *row)
		}
	}
	items = slices.DeleteFunc(items, func(it state.Item) bool { return it.Repository != look.repository })
	return look.flagRecorded(ctx, items, result)
}

// flagRecorded flags the rows whose signatures differ from those in the ledger.
func (l *verdictCache) flagRecorded(ctx context.Context, items []state.Item, result *Repository) error {
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

// marked reports whether the image of a withdrawn item has rows already, because its tags are still in the registry:
// these rows then say that it was withdrawn.
func marked(rows []Row, withdrawn Row) bool {
	found := false
	for i, row := range rows {
		// A row without a tag belongs to another item, with its own key.
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

// item returns the row of an item whose image has no row with a tag; nil if there is nothing to report. Such rows
// have no tag: the registry is not asked for the image's tags. Items of all stages count, since the registry may have
// a signature of them: the ledger records progress, and what it lacks proves nothing. What vouches for the item is
// looked up where the images are now; its signatures, where the item was signed.
func (l *verdictCache) item(ctx context.Context, at *verdictCache, it state.Item) *Row {
	if l.vouched[digest.Digest(it.Digest)] {
		return nil
	}
	// It is only the ledger's word that the index lists the image, until the index's bytes show it.
	for _, name := range it.Indexes {
		index := digest.Digest(name)
		switch listed, err := l.lists(ctx, index, digest.Digest(it.Digest)); {
		case err != nil:
			b := &rowBuilder{Row: Row{Registry: digest.Digest(it.Digest), Flags: []string{FlagPlatform}}}
			b.say(Unknown, "reading index %s, which may list the image: %v", index, err)
			row := b.row(Unknown, "")
			return &row
		case listed && at != l:
			return nil // vouched for; what is in an earlier place need not be there
		case listed:
			return l.platformItem(ctx, it, index)
		}
	}
	return at.withdrawn(ctx, it, at != l)
}

// platformItem returns the row of an image that an index lists which DCT names: whether its signatures are in order,
// and until when.
func (l *verdictCache) platformItem(ctx context.Context, it state.Item, index digest.Digest) *Row {
	if it.Signature == "" {
		return nil // it has none yet
	}
	b := &rowBuilder{Row: Row{Registry: digest.Digest(it.Digest), Flags: []string{FlagPlatform}}}
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
	row := b.row(Agree, "")
	return &row
}

// withdrawn returns the row of an item that DCT no longer vouches for, if Notation trusts its image or that is
// unknown.
func (l *verdictCache) withdrawn(ctx context.Context, it state.Item, elsewhere bool) *Row {
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
	if elsewhere {
		as += " in " + it.Repository
	}
	b := &rowBuilder{Row: Row{Registry: digest.Digest(it.Digest), Flags: []string{FlagWithdrawn}}}
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
