// Package signature decides about the signatures that a registry has: whose they are ([Find],
// [Recorded]), which verdict on an image counts ([Judge]), and what proves that undo may delete one
// ([Proof]).
//
// It promises that what could not be read is an error, and never taken for none: a signature that is
// listed and cannot be fetched may be ours, and may be good. What a list or an annotation says of a
// signature only chooses the order in which envelopes are read; what counts is in the envelope.
package signature

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/notation"
)

// Signature is one that the registry has.
type Signature struct {
	Digest    string // of its manifest
	MediaType string // of its envelope
	By        notation.Identity
	Contents  notation.Contents
}

// Found is what a look for signatures of a key gave.
type Found struct {
	Ours   []Signature
	Others int    // by others
	Broken int    // entries that are proven not to be a signature
	Why    string // one of those is broken
	InTag  bool   // the list was read in a tag
	// Unread may be ours too, and were not read: there are too many, or the registry lists
	// them and does not give them. There is at least one of ours then: else it is unknown,
	// and an error.
	Unread int
}

// maxCandidates is how many signatures of an image are fetched that may be ours. Who may push
// can plant more; each would cost two requests.
const maxCandidates = 100

// Find looks at every signature of an image that could be the key's. An entry that is proven to be no
// signature is passed over. One that could not be read leaves it unknown whether any is the key's,
// unless another is: that the registry does not have what it lists is no proof that it was not.
//
// Where signatures seem to be listed in a tag, and none there is the key's, the referrers API is asked
// for anew, as notation does with each image.
func Find(ctx context.Context, r *registry.Repository, key *notation.Signer, image ocispec.Descriptor) (Found, error) {
	f, err := find(ctx, r, key, image)
	if err == nil && f.InTag && len(f.Ours) == 0 {
		if err = r.CheckList(ctx, image, f.InTag); errors.Is(err, registry.ErrListMoved) {
			return find(ctx, r, key, image)
		}
	}
	return f, err
}

// find is one look.
func find(ctx context.Context, r *registry.Repository, key *notation.Signer, image ocispec.Descriptor) (Found, error) {
	list, inTag, err := r.Signatures(ctx, image)
	if err != nil {
		return Found{}, err
	}
	all := []string{key.Leaf()}
	for _, i := range key.Accepted() {
		all = append(all, i.Leaf())
	}
	f := finder{repository: r, image: image, recognise: key.Recognise, Found: Found{InTag: inTag}}
	return f.find(ctx, list, all)
}

// find looks for signatures by these certificates among those that are listed.
func (f *finder) find(ctx context.Context, list []ocispec.Descriptor, leaves []string) (Found, error) {
	candidates, foreign, malformed := candidates(list, leaves)
	tooMany := len(candidates) - maxCandidates
	if err := f.read(ctx, candidates[:min(len(candidates), maxCandidates)]); err != nil {
		return f.Found, err
	}
	// Where the registry itself makes the list, it says of an entry what its manifest says. What people
	// can write in a list proves nothing.
	if len(f.Ours) == 0 && f.repository.ListsInTag() {
		tooMany += len(foreign)
		room := min(max(maxCandidates-len(candidates), 0), len(foreign))
		if err := f.read(ctx, foreign[:room]); err != nil {
			return f.Found, err
		}
	} else {
		f.Others += len(foreign)
	}
	if len(f.Ours) == 0 && tooMany > 0 {
		return f.Found, failure.WithHint(failure.Permanent,
			fmt.Errorf("looking for a signature of ours of %s in %s: %d are listed that may be, and none of the first %d is", f.image.Digest, f.repository.Name(), tooMany+maxCandidates, maxCandidates),
			"somebody has planted them; remove them and run again")
	}
	f.Unread = max(tooMany, 0) + len(f.unread)
	if len(f.Ours) > 0 {
		// Not worth a request: what one of them is changes nothing.
		for _, m := range malformed {
			f.passOver(registry.CheckEntry(m))
		}
		return f.Found, nil
	}
	err := f.read(ctx, malformed[:min(len(malformed), maxCandidates)])
	switch {
	case err == nil && len(malformed) > maxCandidates:
		err = failure.WithHint(failure.Permanent,
			fmt.Errorf("looking for a signature of ours of %s in %s: %d entries of the list are malformed", f.image.Digest, f.repository.Name(), len(malformed)),
			"somebody has planted them; remove them and run again")
	case err == nil && len(f.unread) > 0:
		err = f.unread[0]
	}
	return f.Found, err
}

// finder looks once for signatures of an image that count.
type finder struct {
	repository *registry.Repository
	image      ocispec.Descriptor
	recognise  func(image ocispec.Descriptor, mediaType string, blob []byte) (notation.Contents, notation.Identity, bool)

	Found
	unread []error // why a listed signature could not be read, and trying again would not read it
}

// read fetches signatures that may count, and notes what they are. The error is of a request
// that may go well later.
func (f *finder) read(ctx context.Context, list []ocispec.Descriptor) error {
	for _, m := range list {
		mediaType, blob, err := f.repository.FetchSignature(ctx, m)
		switch class := failure.Of(err); {
		case err == nil:
		case errors.Is(err, registry.ErrBroken):
			f.passOver(err)
			continue
		case class == failure.Permanent || class == failure.Security:
			f.unread = append(f.unread, err)
			continue
		default:
			return err
		}
		if c, by, ours := f.recognise(f.image, mediaType, blob); ours {
			f.Ours = append(f.Ours, Signature{m.Digest.String(), mediaType, by, c})
		} else {
			f.Others++
		}
	}
	return nil
}

// passOver counts an entry that is no signature.
func (f *finder) passOver(why error) {
	f.Broken++
	if f.Why == "" {
		f.Why = safetext.FirstLine(why.Error())
	}
}

// candidates sorts the listed signatures in the order in which they are worth a look: those that may
// be by one of the certificates, those first that say so; those that say that they are by another;
// and those that the list describes as no signature.
func candidates(list []ocispec.Descriptor, leaves []string) (candidates, foreign, malformed []ocispec.Descriptor) {
	var say, silent []ocispec.Descriptor
	for _, m := range list {
		by, known := claims(m)
		switch {
		case registry.CheckEntry(m) != nil:
			malformed = append(malformed, m)
		case known && !slices.Contains(leaves, by):
			foreign = append(foreign, m)
		case known:
			say = append(say, m)
		default:
			silent = append(silent, m)
		}
	}
	return append(say, silent...), foreign, malformed
}

// claims returns the certificate that a listed signature says it is by, and reports whether it
// says so; some registries leave that out. Where the list is kept in a tag, who may push can write
// what they like beside our own signature: then it says where to look first, and decides nothing.
func claims(m ocispec.Descriptor) (leaf string, known bool) {
	list, ok := m.Annotations["io.cncf.notary.x509chain.thumbprint#S256"]
	if !ok {
		return "", false
	}
	var prints []string
	if err := json.Unmarshal([]byte(list), &prints); err != nil || len(prints) == 0 {
		return "", false
	}
	return prints[0], true
}

// ErrUnlisted is returned by Recorded for a good signature that is not listed.
var ErrUnlisted = errors.New("the registry has the signature and does not list it")

// Recorded returns the signature of that digest, if it is intact, over the image and not past its date,
// whoever made it, and reports whether it is; with [ErrUnlisted] if the registry has it and does not list
// it. Where it is no good any more or is gone, another that is listed and by one of the earlier identities
// stands in for it. What is listed and cannot be fetched now is an error: it may be as good as ever.
func Recorded(ctx context.Context, r *registry.Repository, image ocispec.Descriptor, recorded string, earlier []notation.Identity) (Signature, bool, error) {
	none := Signature{}
	list, _, err := r.Signatures(ctx, image)
	if err != nil {
		return none, false, err
	}
	i := slices.IndexFunc(list, func(m ocispec.Descriptor) bool { return m.Digest.String() == recorded })
	if i >= 0 && registry.CheckEntry(list[i]) == nil {
		mediaType, blob, err := r.FetchSignature(ctx, list[i])
		switch {
		case errors.Is(err, registry.ErrDangling): // a moment ago it was there
			return none, false, failure.New(failure.Transient, err)
		case err != nil && !errors.Is(err, registry.ErrBroken):
			return none, false, err
		}
		if one, good := read(image, recorded, mediaType, blob); good && err == nil {
			return one, true, nil
		} // what is no good could not be read later either
	}
	if other, found, err := standsIn(ctx, r, image, list, earlier); found || err != nil {
		return other, found, err
	}
	if i < 0 {
		return unlisted(ctx, r, image, recorded)
	}
	return none, false, nil
}

// standsIn returns a listed signature by one of the identities, and reports whether there is one.
func standsIn(ctx context.Context, r *registry.Repository, image ocispec.Descriptor, list []ocispec.Descriptor, by []notation.Identity) (Signature, bool, error) {
	if len(by) == 0 {
		return Signature{}, false, nil
	}
	var leaves []string
	for _, i := range by {
		leaves = append(leaves, i.Leaf())
	}
	f := finder{repository: r, image: image, recognise: func(image ocispec.Descriptor, mediaType string, blob []byte) (notation.Contents, notation.Identity, bool) {
		one, good := read(image, "", mediaType, blob)
		return one.Contents, one.By, good && slices.ContainsFunc(by, one.By.Equal)
	}}
	found, err := f.find(ctx, list, leaves)
	if err != nil || len(found.Ours) == 0 {
		return Signature{}, false, err
	}
	return found.Ours[0], true, nil
}

// unlisted is Recorded for a signature that the registry does not list.
func unlisted(ctx context.Context, r *registry.Repository, image ocispec.Descriptor, recorded string) (Signature, bool, error) {
	answer := r.StoredSignature(ctx, image.Digest, digest.Digest(recorded))
	stored, there := answer.Value()
	if answer.Err() != nil || !there {
		return Signature{}, false, answer.Err()
	}
	one, good := read(image, recorded, stored.MediaType, stored.Envelope)
	if !good {
		return Signature{}, false, nil
	}
	return one, false, ErrUnlisted
}

// read returns what a signature of that digest says, and reports whether it is intact, over the image
// and not past its date.
func read(image ocispec.Descriptor, digest, mediaType string, blob []byte) (Signature, bool) {
	c, err := notation.Read(mediaType, blob)
	if err != nil || !c.Over(image) || !c.Verifies(time.Now()) {
		return Signature{}, false
	}
	return Signature{digest, mediaType, notation.IdentityOf(c.Chain[0]), c}, true
}
