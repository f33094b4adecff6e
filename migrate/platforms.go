package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/state"
)

// child is an image that an index lists.
type child struct {
	Member
	chain indexPath
	err   error // for an index: why its entries are not known
}

// listing is what the index of a digest lists; empty if the digest is not an index.
type listing struct {
	children     []child
	attestations int  // left out
	size         int  // bytes read so far
	absent       bool // the registry says that it does not have the digest
	err          error
}

// maxListing limits the bytes that are read and kept of one index and the indexes that it lists.
const maxListing = 16 << 20

// expand adds work for the images of each index that DCT names. It reads up to limit indexes at once. An index whose
// entries cannot be listed now is not signed either: its work has the reason. The error is ctx's, or errDrained when
// stop is closed.
func (r *reading) expand(ctx context.Context, stop <-chan struct{}, registry Registry, limit int) error {
	direct := map[itemID]bool{}
	listings := map[string]*listing{}
	for _, w := range r.work {
		direct[itemID{w.Key.Digest, w.Key.KeyName}] = true
		listings[w.Key.Digest] = &listing{}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(limit)
	for d, l := range listings {
		g.Go(func() error {
			select {
			case <-stop:
				return errDrained
			default:
			}
			l.read(gctx, registry, r.place, digest.Digest(d))
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	at := map[itemID]int{} // in r.work, of children
	for i, w := range slices.Clone(r.work) {
		l := listings[w.Key.Digest]
		r.work[i].trouble, r.work[i].attestations, r.work[i].absent = l.err, l.attestations, l.absent
		for _, c := range l.children {
			id := itemID{c.Digest.String(), w.Key.KeyName}
			j, known := at[id]
			switch {
			case direct[id]: // DCT names it itself: that is the stronger statement
			case known:
				r.work[j].join(w, c)
			default:
				at[id] = len(r.work)
				listed := c.Descriptor
				r.work = append(r.work, Work{
					Key:     state.Key{Repository: w.Key.Repository, Digest: id.digest, KeyName: id.key},
					Targets: slices.Clone(w.Targets), key: w.key, rootKeys: w.rootKeys,
					chains: []indexPath{c.chain}, listed: &listed, Platform: c.Platform, trouble: c.err,
				})
			}
		}
	}
	slices.SortStableFunc(r.work, func(a, b Work) int { return strings.Compare(a.Key.Digest, b.Key.Digest) })
	return nil
}

// join adds another index that lists the child, w's, and what it says of the child.
func (child *Work) join(w Work, c child) {
	if child.listed.MediaType != c.MediaType || child.listed.Size != c.Size {
		child.trouble = failure.New(failure.Security, fmt.Errorf("indexes describe %s differently: as %s of %d bytes, and as %s of %d bytes", c.Digest, child.listed.MediaType, child.listed.Size, c.MediaType, c.Size))
		return
	}
	if child.trouble == nil {
		child.trouble = c.err
	}
	if !slices.ContainsFunc(child.chains, func(known indexPath) bool { return known.head() == c.chain.head() }) {
		child.chains = append(child.chains, c.chain)
		child.Targets = append(child.Targets, w.Targets...)
	}
}

// read lists the images of an index that DCT names. If the registry itself says that it does not have the digest,
// that is found again, and reported, when the index's own work is inspected.
func (l *listing) read(ctx context.Context, registry Registry, repository string, d digest.Digest) {
	desc, err := registry.Resolve(ctx, repository, d)
	if l.absent = lookup.IsAbsent(err); l.absent {
		return
	}
	if err == nil && IndexTypes[desc.MediaType] {
		err = l.add(ctx, registry, repository, desc, nil)
	}
	if err != nil {
		l.children, l.err = nil, fmt.Errorf("listing the platforms of %s@%s: %w", repository, d, err)
	}
}

// add adds the entries of an index, reached through the indexes in above.
func (l *listing) add(ctx context.Context, registry Registry, repository string, desc ocispec.Descriptor, above indexPath) error {
	if len(above) == MaxChain {
		return beyond("indexes are nested deeper than %d levels", MaxChain)
	}
	raw, err := registry.Manifest(ctx, Image{repository, desc})
	if err != nil {
		return contradicted(err)
	}
	members, err := ReadIndex(raw)
	if err != nil {
		return beyond("%w", err)
	}
	if l.size += len(raw); l.size > maxListing {
		return beyond("its indexes have more than %d bytes", maxListing)
	}
	through := append(slices.Clone(above), raw)
	for _, m := range members {
		if m.Attests {
			l.attestations++
			continue
		}
		l.children = append(l.children, child{Member: m, chain: through})
		if len(l.children) > maxMembers {
			return beyond("more than %d images are listed", maxMembers)
		}
		if !IndexTypes[m.MediaType] {
			continue
		}
		at := len(l.children) - 1
		err := l.add(ctx, registry, repository, m.Descriptor, through)
		if lookup.IsAbsent(err) {
			// The entries of this index are not known, so it fails; the others are not affected.
			l.children[at].err = fmt.Errorf("listing what %s lists, which the index %s lists: %w", m.Digest, desc.Digest, err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkListed returns an error for an index that the registry has now, and did not have when its entries were to be
// listed: its images are not among the work, and would be left out silently.
func (w Work) checkListed(image ocispec.Descriptor) error {
	if !w.absent || !IndexTypes[image.MediaType] {
		return nil
	}
	return failure.New(failure.Permanent, fmt.Errorf("listing the platforms of %s@%s: the registry answered that it has no such digest, and has it now\nhint: run again", w.Key.Repository, w.Key.Digest))
}

// contradicted changes the class of a registry's answer that it does not have what it listed a moment ago: such an
// item must not pass for missing.
func contradicted(err error) error {
	if failure.Of(err) != failure.Missing {
		return err
	}
	return failure.New(failure.Permanent, fmt.Errorf("%w\nhint: the registry has named it and answers that it is not there; run again, or push the image again. --platforms index signs an index alone", err))
}

// beyond returns the error for an index that cannot be listed however often it is tried.
func beyond(format string, args ...any) error {
	return failure.New(failure.Permanent, fmt.Errorf(format+"\nhint: --platforms index signs the index alone", args...))
}

// notes returns the notes that are known before anything is looked up.
func (w Work) notes() []string {
	notes := slices.Clone(w.Changed)
	if w.attestations > 0 {
		notes = append(notes, fmt.Sprintf("attestations: %d manifests of the index are attestations, and are not signed", w.attestations))
	}
	return notes
}

// isChild reports whether DCT names an index that lists the digest, and not the digest itself.
func (w Work) isChild() bool { return len(w.chains) > 0 }

// indexes returns the digests that DCT names and that lead to a child, sorted.
func (w Work) indexes() []string {
	var heads []string
	for _, c := range w.chains {
		heads = append(heads, c.head().String())
	}
	slices.Sort(heads)
	return heads
}

// checkMembership returns an error unless the target vouches for the image: it names the image's digest, or that of
// an index whose bytes list the image.
func (w Work) checkMembership(t dct.Target, image ocispec.Descriptor) error {
	if !w.isChild() {
		if t.Digest() != image.Digest {
			return fmt.Errorf("%s was to be signed", image.Digest)
		}
		return nil
	}
	for _, c := range w.chains {
		if c.head() == t.Digest() {
			return c.proves(image)
		}
	}
	return fmt.Errorf("no index of that digest leads to %s", image.Digest)
}
