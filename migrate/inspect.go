package migrate

import (
	"context"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// Inspected is what the registry has for one work.
type Inspected struct {
	Image Image
	// Skip is the class that forbids signing, and Reason explains it; both are empty if it may be signed.
	Skip   failure.Class
	Reason string
	Tags   []TagNow
	Notes  []string // what a person should know, such as a size that differs
	Found  Found
}

// TagNow is where a tag points in the registry now. It is evidence: what is signed is
// DCT's digest, never the tag's.
type TagNow struct {
	Tag   string
	Class TagClass
	Now   digest.Digest // empty unless Class is TagMoved
}

// TagClass compares a tag's digest in the registry with DCT's.
type TagClass string

// The classes of tags.
const (
	TagOK      TagClass = "ok"
	TagMoved   TagClass = "tag-moved"
	TagGone    TagClass = "tag-gone"
	TagUnknown TagClass = "unknown"
)

// schema1 are the media types whose registry digest is not the digest of the bytes that a client would hash, so a
// signature over it proves nothing.
var schema1 = map[string]bool{
	"application/vnd.docker.distribution.manifest.v1+json":      true,
	"application/vnd.docker.distribution.manifest.v1+prettyjws": true,
}

// noSuchDigest is the reason for skipping an item as missing.
const noSuchDigest = "the registry has no such digest"

// inspector looks up what a registry has for an item, and changes nothing there.
type inspector struct {
	registry Registry
	now      func() time.Time
	rebind   bool // see Engine.Rebind
	resign   bool // see Engine.Resign
}

// inspect looks at the registry and changes nothing there. An error means that something is unknown; then nothing may
// be signed.
func (in inspector) inspect(ctx context.Context, w Work) (Inspected, error) {
	x := Inspected{Image: Image{Repository: w.Key.Repository}}
	// Tags come first: Resolve need not ask again for what they say about the digest. If a tag fails, stop there and
	// let Resolve report it: not every tag should wait for a registry in trouble.
	tags := in.lookAtTags(ctx, w, nil)
	desc, err := in.registry.Resolve(ctx, w.Key.Repository, w.digest())
	switch {
	case failure.Of(err) == failure.Missing:
		x.Skip, x.Reason = failure.Missing, noSuchDigest
		return x, nil
	case err != nil:
		return x, err
	}
	x.Image.Descriptor = desc
	if err := w.checkListed(desc); err != nil {
		return x, err
	}
	if w.isChild() && (desc.MediaType != w.listed.MediaType || desc.Size != w.listed.Size) {
		return x, failure.New(failure.Security, fmt.Errorf("%s@%s: the index lists %s of %d bytes, and the registry has %s of %d bytes", w.Key.Repository, w.Key.Digest, w.listed.MediaType, w.listed.Size, desc.MediaType, desc.Size))
	}
	if schema1[desc.MediaType] {
		x.Skip, x.Reason = failure.Unsignable, "it is a Docker schema 1 manifest; push the image again with a current docker"
		return x, nil
	}
	for _, t := range w.named() {
		if t.Size() != desc.Size {
			x.Notes = append(x.Notes, fmt.Sprintf("tag %s: DCT signed a length of %d, and the manifest has %d bytes; the bytes were hashed", t.Tag(), t.Size(), desc.Size))
		}
	}
	if len(x.Notes) > 0 {
		if _, err := in.registry.Manifest(ctx, x.Image); err != nil {
			return x, contradicted(err)
		}
	}
	x.Tags = tags
	for len(x.Tags) < len(w.named()) {
		x.Tags = in.lookAtTags(ctx, w, x.Tags)
	}
	if x.Found, err = in.registry.Find(ctx, x.Image, w.Key.KeyName); err != nil {
		return x, err
	}
	if f := x.Found; f.Broken > 0 {
		x.Notes = append(x.Notes, fmt.Sprintf("malformed-referrers: %d of %d signatures that the registry lists are none and were passed over, one because: %s", f.Broken, f.all(), f.Why))
	}
	if n := x.Found.Unread; n > 0 {
		x.Notes = append(x.Notes, fmt.Sprintf("unread-referrers: %d more signatures may be of this key and were not read: they are too many, or the registry lists them and does not have them", n))
	}
	return x, nil
}

// notes returns what a person should know about an inspected item.
func (x Inspected) notes() []string {
	notes := x.Notes
	for _, t := range x.Tags {
		switch t.Class {
		case TagMoved:
			notes = append(notes, fmt.Sprintf("%s: tag %s points to %s in the registry; DCT's digest is signed", TagMoved, t.Tag, t.Now))
		case TagGone:
			notes = append(notes, fmt.Sprintf("%s: the registry has no tag %s; DCT's digest is signed", TagGone, t.Tag))
		}
	}
	return notes
}

// tooMany is the reason for not signing an image again that has a signature of ours: a signature that was not read
// may bind the missing tags.
func (x Inspected) tooMany() error {
	return failure.New(failure.Permanent, fmt.Errorf("binding the tags of %s@%s: %d signatures that may bind them were not read: they are too many, or the registry lists them and does not have them\nhint: notation list shows them; remove what somebody planted, or left in the list, and run again",
		x.Image.Repository, x.Image.Descriptor.Digest, x.Found.Unread))
}

// manySignatures is how many signatures of an image are worth a warning: Flux gives up after so many that it does not
// trust, and a later signer's may come after those.
const manySignatures = 3

// crowded warns of an image with many signatures.
func crowded(all int) []string {
	if all < manySignatures {
		return nil
	}
	return []string{fmt.Sprintf("many-signatures: the image has %d; Flux looks at %d at most", all, manySignatures)}
}

// lookAtTags looks up the tags that were not looked up yet, and stops at the first that fails.
func (in inspector) lookAtTags(ctx context.Context, w Work, looked []TagNow) []TagNow {
	for _, tag := range w.tags()[len(looked):] {
		now := in.lookAtTag(ctx, w.Key, tag)
		looked = append(looked, now)
		if now.Class == TagUnknown {
			break
		}
	}
	return looked
}

// lookAtTag compares the tag's digest in the registry with the item's. A failure here is harmless: the tag does not
// decide what is signed.
func (in inspector) lookAtTag(ctx context.Context, k state.Key, tag string) TagNow {
	answer := in.registry.Tag(ctx, k.Repository, tag)
	now, found := answer.Value()
	switch {
	case answer.Err() != nil:
		return TagNow{Tag: tag, Class: TagUnknown}
	case !found:
		return TagNow{Tag: tag, Class: TagGone}
	case now.String() != k.Digest:
		return TagNow{tag, TagMoved, now}
	}
	return TagNow{Tag: tag, Class: TagOK}
}
