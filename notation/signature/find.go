// Package signature decides about the signatures in a registry: whose they are ([Find], [Recorded]), which verdict on
// an image counts ([Judge]), and what proves that undo may delete one ([Proof]).
//
// It promises that an unreadable signature is an error, and never counts as absent: a listed signature that cannot be
// fetched may be ours, and may be good. What a list or an annotation says of a signature only determines the order in
// which envelopes are read; only the envelope counts.
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

// Signature is a signature in the registry.
type Signature struct {
	Digest    string // of its manifest
	MediaType string // of its envelope
	By        notation.Identity
	Contents  notation.Contents
}

// Found is the result of looking for a key's signatures.
type Found struct {
	Ours   []Signature
	Others int    // by others
	Broken int    // entries proven not to be a signature
	Why    string // one of the broken entries is broken
	InTag  bool   // the list was read from a tag
	// Unread counts signatures that may be ours too but were not read: there are too many, or the registry lists them
	// and does not return them. Then at least one of Ours exists: otherwise it is unknown, and an error.
	Unread int
}

// maxCandidates is how many signatures of an image that may be ours are fetched. Anyone who may push can plant more;
// each would cost two requests.
const maxCandidates = 100

// Find looks at every signature of an image that could be the key's. It skips an entry that is proven not to be a
// signature. If it cannot read one, it is unknown whether any is the key's, unless another one is: that the registry
// does not have what it lists does not prove that it was not the key's.
//
// If signatures seem to be listed in a tag, and none there is the key's, Find asks again for the referrers API, as
// notation does for each image.
func Find(ctx context.Context, r *registry.Repository, key *notation.Signer, image ocispec.Descriptor) (Found, error) {
	f, err := find(ctx, r, key, image)
	if err == nil && f.InTag && len(f.Ours) == 0 {
		if err = r.CheckList(ctx, image, f.InTag); errors.Is(err, registry.ErrListMoved) {
			return find(ctx, r, key, image)
		}
	}
	return f, err
}

// find is one search.
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
	// If the registry itself makes the list, its entries say what their manifests say. What people can write into a
	// list proves nothing.
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
		// Not worth a request: whatever these are, they change nothing.
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
	unread []error // why a listed signature could not be read, and a retry would not help
}

// read fetches signatures that may be the key's, and records what they are. It returns the error of a request that
// may succeed later.
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

// passOver counts an entry that is not a signature.
func (f *finder) passOver(why error) {
	f.Broken++
	if f.Why == "" {
		f.Why = safetext.FirstLine(why.Error())
	}
}

// candidates sorts the listed signatures in the order in which to look at them: those that may be by one of the
// certificates, beginning with those that claim it; those that claim another; and those that the list does not
// describe as a signature.
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

// claims returns the thumbprints of the certificates, leaf first, that a listed signature claims to be made with, and
// reports whether it claims any; some registries leave that out. In a list under a tag, anyone who may push can write
// what they like beside our own signature. So a claim says where to look first, and decides nothing.
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

// Recorded returns the signature with that digest, and reports whether it is intact, over the image and not expired,
// whoever made it. Its identity is one of the key's, or else its certificate's. If the registry has it but does not
// list it, the error is [ErrUnlisted]. A listed signature that cannot be fetched now is an error: it may still be
// good.
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
	case errors.Is(err, registry.ErrDangling): // it was there a moment ago
		return none, false, failure.New(failure.Transient, err)
	case err != nil && !errors.Is(err, registry.ErrBroken):
		return none, false, err
	}
	if err != nil {
		return none, false, nil // a later read would fail too
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

// read returns the content of a signature with that digest, and reports whether it is intact, over the image and not
// expired.
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
