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
	f := finder{repository: r, key: key, image: image, Found: Found{InTag: inTag}}
	candidates, foreign, malformed := candidates(list, key.MayBe)
	tooMany := len(candidates) - maxCandidates
	if err := f.read(ctx, candidates[:min(len(candidates), maxCandidates)]); err != nil {
		return f.Found, err
	}
	// Where the registry itself makes the list, it says of an entry what its manifest says. What people
	// can write in a list proves nothing.
	if len(f.Ours) == 0 && r.ListsInTag() {
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
			fmt.Errorf("looking for a signature of ours of %s in %s: %d are listed that may be, and none of the first %d is", image.Digest, r.Name(), tooMany+maxCandidates, maxCandidates),
			"somebody else has added them; remove them and run again")
	}
	f.Unread = max(tooMany, 0) + len(f.unread)
	if len(f.Ours) > 0 {
		// Not worth a request: what one of them is changes nothing.
		for _, m := range malformed {
			f.passOver(registry.CheckEntry(m))
		}
		return f.Found, nil
	}
	err = f.read(ctx, malformed[:min(len(malformed), maxCandidates)])
	switch {
	case err == nil && len(malformed) > maxCandidates:
		err = failure.WithHint(failure.Permanent,
			fmt.Errorf("looking for a signature of ours of %s in %s: %d entries of the list are malformed", image.Digest, r.Name(), len(malformed)),
			"somebody else has added them; remove them and run again")
	case err == nil && len(f.unread) > 0:
		err = f.unread[0]
	}
	return f.Found, err
}

// finder is one call of Find.
type finder struct {
	repository *registry.Repository
	key        *notation.Signer
	image      ocispec.Descriptor

	Found
	unread []error // why a listed signature could not be read, and trying again would not read it
}

// read fetches signatures that may be the key's, and notes what they are. The error is of a request
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
		c, by, ours, err := f.key.Recognise(ctx, f.image, mediaType, blob)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil: // it may be ours
			f.unread = append(f.unread, err)
		case ours:
			f.Ours = append(f.Ours, Signature{m.Digest.String(), mediaType, by, c})
		default:
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
func candidates(list []ocispec.Descriptor, mayBe func(thumbprints []string) bool) (candidates, foreign, malformed []ocispec.Descriptor) {
	var say, silent []ocispec.Descriptor
	for _, m := range list {
		by, known := claims(m)
		switch {
		case registry.CheckEntry(m) != nil:
			malformed = append(malformed, m)
		case known && !mayBe(by):
			foreign = append(foreign, m)
		case known:
			say = append(say, m)
		default:
			silent = append(silent, m)
		}
	}
	return append(say, silent...), foreign, malformed
}

// claims returns the thumbprints of the certificates, leaf first, that a listed signature says it is by,
// and reports whether it says so; some registries leave that out. Where the list is kept in a tag, who may push can write
// what they like beside our own signature: then it says where to look first, and decides nothing.
func claims(m ocispec.Descriptor) (thumbprints []string, known bool) {
	list, ok := m.Annotations["io.cncf.notary.x509chain.thumbprint#S256"]
	if !ok {
		return nil, false
	}
	if err := json.Unmarshal([]byte(list), &thumbprints); err != nil || len(thumbprints) == 0 {
		return nil, false
	}
	return thumbprints, true
}

// ErrUnlisted is returned by Recorded for a good signature that is not listed.
var ErrUnlisted = errors.New("the registry has the signature and does not list it")

// Recorded returns the signature of that digest, if it is intact, over the image and not past its date,
// whoever made it, and reports whether it is: by an identity of the key, or else by that of its certificate;
// with [ErrUnlisted] if the registry has it and does not list
// it. What is listed and cannot be fetched now is an error: it may be as good as ever.
func Recorded(ctx context.Context, r *registry.Repository, key *notation.Signer, image ocispec.Descriptor, recorded string) (Signature, bool, error) {
	none := Signature{}
	list, _, err := r.Signatures(ctx, image)
	if err != nil {
		return none, false, err
	}
	i := slices.IndexFunc(list, func(m ocispec.Descriptor) bool { return m.Digest.String() == recorded })
	if i < 0 {
		return unlisted(ctx, r, key, image, recorded)
	}
	if registry.CheckEntry(list[i]) != nil {
		return none, false, nil
	}
	mediaType, blob, err := r.FetchSignature(ctx, list[i])
	switch {
	case errors.Is(err, registry.ErrDangling): // a moment ago it was there
		return none, false, failure.New(failure.Transient, err)
	case err != nil && !errors.Is(err, registry.ErrBroken):
		return none, false, err
	}
	if err != nil {
		return none, false, nil // it could not be read later either
	}
	return read(ctx, key, image, recorded, mediaType, blob)
}

// unlisted is Recorded for a signature that the registry does not list.
func unlisted(ctx context.Context, r *registry.Repository, key *notation.Signer, image ocispec.Descriptor, recorded string) (Signature, bool, error) {
	answer := r.StoredSignature(ctx, image.Digest, digest.Digest(recorded))
	stored, there := answer.Value()
	if answer.Err() != nil || !there {
		return Signature{}, false, answer.Err()
	}
	one, good, err := read(ctx, key, image, recorded, stored.MediaType, stored.Envelope)
	if err != nil || !good {
		return Signature{}, false, err
	}
	return one, false, ErrUnlisted
}

// read returns what a signature of that digest says, and reports whether it is intact, over the image
// and not past its date.
func read(ctx context.Context, key *notation.Signer, image ocispec.Descriptor, digest, mediaType string, blob []byte) (Signature, bool, error) {
	c, err := notation.Read(mediaType, blob)
	if err != nil || !c.Over(image) || !c.Verifies(time.Now()) {
		return Signature{}, false, nil
	}
	_, by, ours, err := key.Recognise(ctx, image, mediaType, blob)
	switch {
	case err != nil:
		return Signature{}, false, err
	case !ours:
		by = notation.IdentityOf(c.Chain[0])
	}
	return Signature{digest, mediaType, by, c}, true, nil
}
