package verify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/ordered"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
)

// TrustedBy says which side trusts a running image.
type TrustedBy string

// Who may trust an image.
const (
	ByBoth     TrustedBy = "both"
	ByDCT      TrustedBy = "dct"
	ByNotation TrustedBy = "notation"
	ByNeither  TrustedBy = "neither"
	ByUnknown  TrustedBy = "unknown"   // for at least one side it could not be found out
	NotAsked   TrustedBy = "not-asked" // the configuration does not name its registry
)

// Side is what one side says about an image.
type Side string

// What a side may say.
const (
	SideTrusts  Side = "trusted"
	SideRefuses Side = "not-trusted"
	SideUnknown Side = "unknown"
)

// Running is what both sides say about a running image.
type Running struct {
	Image      string        `json:"image"`                // the reference, in full
	Repository string        `json:"repository,omitempty"` // of the image; empty: the reference is not a valid image name
	Digest     digest.Digest `json:"digest,omitempty"`
	// DigestFrom says how it is known that this digest runs: by the status of the Pod, by the reference itself or, if
	// neither says so, by the tag as the registry has it now.
	DigestFrom string    `json:"digest_from,omitempty"`
	TrustedBy  TrustedBy `json:"trusted_by"`
	DCT        Side      `json:"dct,omitempty"`
	Notation   Side      `json:"notation,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	PinnedBy   string    `json:"pinned_by,omitempty"` // why the root of its trust data is trusted
	Places     []Place   `json:"places,omitempty"`    // the first of Count
	Count      int       `json:"count"`               // how many of the list's entries have this image
}

// The values of DigestFrom.
const (
	fromStatus    = "status"
	fromReference = "reference"
	fromTag       = "tag"
)

// A RunningScope says for which images of a list servers are asked, and where their trust data is.
type RunningScope struct {
	Asks func(registry string) bool
	// Signed returns the GUN that vouches for the images of a registry's repository, which may have moved.
	Signed func(repository string) (dct.GUN, error)
}

// Running calls each for every image of a list, ordered by repository. No image is looked up twice, and no
// repository's trust data is read twice. The error is ctx's or each's, or says that the ledger could not be read.
func (v *Verification) Running(ctx context.Context, images []RunningImage, scope RunningScope, each func(Running) error) error {
	c := v.begin()
	sorted := slices.SortedStableFunc(slices.Values(images), func(a, b RunningImage) int { return strings.Compare(a.Repository, b.Repository) })
	var groups [][]RunningImage
	for len(sorted) > 0 {
		n := slices.IndexFunc(sorted, func(one RunningImage) bool { return one.Repository != sorted[0].Repository })
		if n < 0 {
			n = len(sorted)
		}
		groups, sorted = append(groups, sorted[:n]), sorted[n:]
	}
	type answer struct {
		all []Running
		err error
	}
	for _, one := range ordered.Each(ctx, slices.Values(groups), cap(c.readers)+aheadRepositories, func(ctx context.Context, group []RunningImage) answer {
		all, err := c.running(ctx, group, scope)
		return answer{all, err}
	}) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if one.err != nil {
			return one.err
		}
		for _, r := range one.all {
			if err := each(r); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// running looks up the images of one repository.
func (c *comparing) running(ctx context.Context, group []RunningImage, scope RunningScope) ([]Running, error) {
	all := make([]Running, len(group))
	for i, one := range group {
		all[i] = Running{Image: one.Name, Repository: one.Repository, Digest: one.Digest, Places: one.Places, Count: one.Count, TrustedBy: NotAsked}
		if one.Invalid != "" {
			all[i].TrustedBy, all[i].Reason = ByUnknown, one.Invalid
		}
	}
	repository := group[0].Repository
	if repository == "" || !scope.Asks(migrate.HostOf(repository)) {
		return all, nil
	}
	gun, err := scope.Signed(repository)
	if err != nil {
		for i := range all {
			all[i].TrustedBy, all[i].Reason = ByUnknown, err.Error()
		}
		return all, nil
	}
	l, err := c.look(ctx, gun, repository)
	if err != nil {
		return nil, err
	}
	err = c.each(ctx, len(group), func(ctx context.Context, i int) { l.running(ctx, group[i], &all[i]) })
	return all, err
}

// A looking is a repository whose images are looked up on both sides.
type looking struct {
	*verdictCache
	tags   map[string]digest.Digest // that DCT vouches for
	read   *dct.Repository          // nil: its trust data was not read
	unread error                    // why not

	once     sync.Once                // for listedIn
	listedIn map[digest.Digest]string // images of indexes that DCT names, and a tag of the index
}

// look reads the trust data of a repository whose images are in the given place. The error is ctx's, or says that the
// ledger could not be read.
func (c *comparing) look(ctx context.Context, gun dct.GUN, place string) (*looking, error) {
	l := &looking{verdictCache: &verdictCache{v: c.Verification, gun: gun.String(), repository: place, vouched: map[digest.Digest]bool{}}, tags: map[string]digest.Digest{}}
	select {
	case c.readers <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.readers }()
	known, err := c.before(gun)
	if err != nil {
		return nil, err
	}
	l.unread = c.hosts.Try(ctx, gun, func() (err error) {
		l.read, err = c.Trust.Read(ctx, gun, known)
		return err
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if l.unread != nil {
		l.read = nil
		return l, nil
	}
	vouch := func(tag string, d digest.Digest) { l.tags[tag], l.vouched[d] = d, true }
	for _, t := range l.read.Targets() {
		vouch(t.Tag(), t.Digest())
	}
	for _, f := range l.read.Findings() {
		if f.Digest != "" { // docker runs it
			vouch(f.Tag, f.Digest)
		}
	}
	return l, nil
}

// running fills in what both sides say about an image.
func (l *looking) running(ctx context.Context, image RunningImage, r *Running) {
	if l.read != nil {
		r.PinnedBy = l.read.PinnedBy()
	}
	r.DigestFrom = fromReference
	if image.FromStatus {
		r.DigestFrom = fromStatus
	}
	if r.Digest == "" {
		r.DigestFrom = fromTag
		d, err := l.now(ctx, image)
		if err != nil {
			r.DigestFrom, r.TrustedBy, r.Reason = "", ByUnknown, err.Error()
			return
		}
		r.Digest = d
	}
	dctSide, dctWhy := l.byDCT(r.Digest)
	notationSide, notationWhy := l.byNotation(ctx, r.Digest)
	if dctSide != SideTrusts && l.read != nil || notationSide != SideTrusts {
		for _, index := range l.indexes(ctx, image, r.Digest) {
			if index.err != nil { // it may list the image, and be trusted
				if l.read != nil {
					dctSide, dctWhy = doubted(dctSide, dctWhy, index.err)
				}
				notationSide, notationWhy = doubted(notationSide, notationWhy, index.err)
				continue
			}
			if side, _ := l.byDCT(index.digest); side == SideTrusts {
				dctSide = SideTrusts
			}
			if side, why := l.byNotation(ctx, index.digest); side == SideTrusts || side == SideUnknown && notationSide == SideRefuses {
				notationSide, notationWhy = side, why
			}
		}
	}
	r.DCT, r.Notation, r.TrustedBy = dctSide, notationSide, trustedBy(dctSide, notationSide)
	var reasons []string
	if dctSide != SideTrusts {
		reasons = append(reasons, "DCT: "+dctWhy)
	}
	if notationSide != SideTrusts {
		reasons = append(reasons, "Notation: "+notationWhy)
	}
	if r.TrustedBy == ByNeither {
		if listed := l.listedBy(ctx, r.Digest); listed != "" {
			reasons = append(reasons, listed)
		}
	}
	r.Reason = together(reasons...)
}

// listedBy returns, for an image that neither side trusts, which index named by DCT lists it: whoever runs it by its
// own digest runs what was signed under another. It returns nothing if it could not find out.
func (l *looking) listedBy(ctx context.Context, d digest.Digest) string {
	l.once.Do(func() { l.readIndexes(ctx) })
	tag, ok := l.listedIn[d]
	if !ok {
		return ""
	}
	index, sides := l.tags[tag], "which DCT trusts"
	switch side, _ := l.byNotation(ctx, index); side {
	case SideTrusts:
		sides = "which both sides trust: name the index where it runs, or sign what indexes list too (run --platforms all)"
	case SideRefuses:
		sides = "which DCT trusts, and Notation does not"
	}
	return fmt.Sprintf("it is an image of index %s (tag %s), %s", index, tag, sides)
}

// maxIndexes is how many tags of a repository are searched for an index that may list an image without a tag.
const maxIndexes = 100

// readIndexes reads the contents of the indexes that DCT names.
func (l *looking) readIndexes(ctx context.Context) {
	l.listedIn = map[digest.Digest]string{}
	tags := slices.Sorted(maps.Keys(l.tags))
	for _, tag := range tags[:min(len(tags), maxIndexes)] {
		desc, err := l.v.Registry.Resolve(ctx, l.repository, l.tags[tag])
		if err != nil || !migrate.IndexTypes[desc.MediaType] {
			continue
		}
		members, _ := l.members(ctx, l.tags[tag]) // an index that cannot be read lists nothing known
		for _, m := range members {
			if l.listedIn[m.Digest] == "" {
				l.listedIn[m.Digest] = tag
			}
		}
	}
}

// doubted turns a side that refuses an image, as far as is known, into one that is unknown because of err.
func doubted(side Side, why string, err error) (Side, string) {
	if side != SideRefuses {
		return side, why
	}
	return SideUnknown, why + ", and " + err.Error()
}

func trustedBy(byDCT, byNotation Side) TrustedBy {
	switch {
	case byDCT == SideUnknown || byNotation == SideUnknown:
		return ByUnknown
	case byDCT == SideTrusts && byNotation == SideTrusts:
		return ByBoth
	case byDCT == SideTrusts:
		return ByDCT
	case byNotation == SideTrusts:
		return ByNotation
	}
	return ByNeither
}

// byDCT returns whether DCT vouches for a digest now, under any tag.
func (l *looking) byDCT(d digest.Digest) (Side, string) {
	switch {
	case l.vouched[d]:
		return SideTrusts, ""
	case l.read != nil:
		return SideRefuses, "it does not name the digest"
	case errors.Is(l.unread, dct.ErrUnsigned):
		return SideRefuses, "the repository has no trust data"
	case unreadClass(l.unread) != Unknown: // docker refuses it as well
		return SideRefuses, safetext.FirstLine(l.unread.Error())
	}
	return SideUnknown, safetext.FirstLine(l.unread.Error())
}

// byNotation returns whether an image passes the trust policy, with no doubt of a strict one.
func (l *looking) byNotation(ctx context.Context, d digest.Digest) (Side, string) {
	image := l.judge(ctx, d)
	verdict, there := image.Value()
	if !there {
		if err := image.Err(); err != nil {
			return SideUnknown, safetext.FirstLine(err.Error())
		}
		return SideRefuses, "the registry has no such digest"
	}
	b := &rowBuilder{}
	b.signed(verdict)
	switch row := b.row(Agree, ""); {
	case row.Class == Agree:
		return SideTrusts, ""
	case row.Class == Unknown || verdict.open():
		return SideUnknown, row.Reason
	default:
		return SideRefuses, row.Reason
	}
}

// now returns the digest that a tag has, if that is all that the list says. If the runtime has named the
// configuration of the running image, it must be that image's.
func (l *looking) now(ctx context.Context, image RunningImage) (digest.Digest, error) {
	tag := l.tag(ctx, image.Tag)
	d, tagged := tag.Value()
	switch {
	case tag.Err() != nil:
		return "", fmt.Errorf("looking up the tag: %w", tag.Err())
	case !tagged:
		return "", errors.New("the list does not say which digest runs, and the registry has no such tag")
	case image.Config == "":
		return d, nil
	}
	has, err := l.hasConfig(ctx, d, image.Config)
	switch {
	case err != nil:
		return "", fmt.Errorf("the list has only the configuration of the image that runs: %w", err)
	case !has:
		return "", fmt.Errorf("the list has only the configuration of the image that runs, %s, and the tag is now of another image", image.Config)
	}
	return d, nil
}

// hasConfig reports whether the image, or one that the index lists, has the configuration.
func (l *looking) hasConfig(ctx context.Context, d, config digest.Digest) (bool, error) {
	images := []digest.Digest{d}
	desc, err := l.v.Registry.Resolve(ctx, l.repository, d)
	if err != nil {
		return false, err
	}
	if migrate.IndexTypes[desc.MediaType] {
		members, err := l.members(ctx, d)
		if err != nil {
			return false, err
		}
		images = nil
		for _, m := range members {
			if !m.Attests && !migrate.IndexTypes[m.MediaType] {
				images = append(images, m.Digest)
			}
		}
	}
	for _, one := range images {
		desc, err := l.v.Registry.Resolve(ctx, l.repository, one)
		if err != nil && failure.Of(err) == failure.Missing {
			continue // a platform that was not copied
		}
		var raw []byte
		if err == nil {
			raw, err = l.v.Registry.Manifest(ctx, migrate.Image{Repository: l.repository, Descriptor: desc})
		}
		var manifest struct {
			Config struct {
				Digest digest.Digest `json:"digest"`
			} `json:"config"`
		}
		if err == nil {
			err = json.Unmarshal(raw, &manifest)
		}
		if err != nil || manifest.Config.Digest == config {
			return err == nil, err
		}
	}
	return false, nil
}

// candidate is an index that lists an image, or may list it.
type candidate struct {
	digest digest.Digest
	err    error // why it is unknown whether it lists the image; nil: it does
}

// indexes returns those that list the image, among the few that are known: what the reference asks for, what its tag
// is on either side, and what a signature of the image says. Whoever pulls an index runs an image of it.
func (l *looking) indexes(ctx context.Context, image RunningImage, d digest.Digest) (all []candidate) {
	known := []digest.Digest{image.Asked}
	if image.Tag != "" {
		known = append(known, l.tags[image.Tag])
		tag := l.tag(ctx, image.Tag)
		if err := tag.Err(); err != nil {
			all = append(all, candidate{err: fmt.Errorf("looking up the tag: %w", err)})
		}
		now, _ := tag.Value()
		known = append(known, now)
	}
	if verdict, there := l.judge(ctx, d).Value(); there {
		if index, ok := l.platform(ctx, verdict, d); ok {
			known = append(known, index)
		}
	}
	slices.SortFunc(known, cmp.Compare[digest.Digest])
	for _, index := range slices.Compact(known) {
		if index == "" || index == d {
			continue
		}
		switch listed, err := l.holds(ctx, index, d); {
		case err != nil:
			all = append(all, candidate{index, fmt.Errorf("reading index %s, which may list it: %w", index, err)})
		case listed:
			all = append(all, candidate{digest: index})
		}
	}
	return all
}

// holds reports whether an index lists an image.
func (l *looking) holds(ctx context.Context, index, d digest.Digest) (bool, error) {
	desc, err := l.v.Registry.Resolve(ctx, l.repository, index)
	switch {
	case err != nil && failure.Of(err) == failure.Missing:
		return false, nil
	case err != nil || !migrate.IndexTypes[desc.MediaType]:
		return false, err
	}
	members, err := l.members(ctx, index)
	return slices.ContainsFunc(members, func(m migrate.Member) bool { return m.Digest == d }), err
}
