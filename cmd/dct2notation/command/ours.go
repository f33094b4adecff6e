package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/notation/signature"
	"github.com/dct2notation/dct2notation/state"
)

// Whose signatures count as a key's: its identity, those that the configuration accepts beside it,
// and, for items that the ledger has as done, those that were accepted before.

// identityOf reads a certificate that somebody names: its thumbprint, or a PEM file, of which it
// takes the first certificate.
func identityOf(value string) (signature.Identity, error) {
	if _, meant, _ := signature.Thumbprint(value); meant {
		return signature.OfThumbprint(value)
	}
	chain, err := readCertificates(value)
	if err != nil {
		return signature.Identity{}, err
	}
	if chain[0].IsCA {
		return signature.Identity{}, fmt.Errorf("%s begins with an authority's certificate (%s), not the key's\nhint: leaf first, or give sha256:<thumbprint>",
			safetext.Safe(value, 300), safetext.Safe(chain[0].Subject.String(), 200))
	}
	return signature.Certificate(chain[0]), nil
}

// identitiesOf reads certificates that somebody names, each once.
func identitiesOf(values []string) ([]signature.Identity, error) {
	var all []signature.Identity
	for _, value := range values {
		i, err := identityOf(value)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(all, i.Equal) {
			all = append(all, i)
		}
	}
	return all, nil
}

// earlierOf are the identities that the ledger says were accepted for a key of that name, but for
// the present one.
func earlierOf(f state.Fingerprint, name string, present signature.Identity) []string {
	var all []string
	add := func(text string) {
		if i, err := signature.Parse(text); err == nil && !i.Equal(present) && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(f)) {
		if key, ok := strings.CutPrefix(field, state.FieldEarlier); ok && strings.HasPrefix(key, name+" ") {
			for _, text := range f.Earlier(key) {
				add(text)
			}
		}
		if key, ok := strings.CutPrefix(field, state.FieldIdentity); ok && strings.HasPrefix(key, name+" ") {
			add(f[field])
		}
	}
	return all
}

// identify gives the engine's key what its signatures are known by.
func (k openedKey) identify(to *migrate.Key, known state.Fingerprint) {
	to.Identity = k.Identity().String()
	for _, i := range k.Accepted() {
		to.Accepted = append(to.Accepted, i.String())
	}
	to.Earlier = earlierOf(known, k.Name(), k.Identity())
	to.Expiry, to.Timestamped = k.expiry, k.tsaURL != ""
}

// Prove is [notation.Signer.Prove], with errors as package migrate takes them.
func (s signer) Prove(ctx context.Context) error {
	err := s.Signer.Prove(ctx)
	if err == nil {
		return nil
	}
	if ctx.Err() == nil {
		s.monitor.KeyFailed(safetext.Safe(s.Name(), 128), string(failure.Of(err)))
	}
	return err
}

// signedBy is what the ledger keeps of a signature that counts as an identity's.
func signedBy(by signature.Identity, mediaType string, c notation.Contents) state.SignedBy {
	s := state.SignedBy{
		Identity: by.String(), Leaf: notation.Thumbprint(c.Chain[0]), ChainEnds: c.ChainEnds().UTC(),
		Timestamped: !c.Stamped.IsZero(), Format: mediaType,
	}
	if !c.Expires.IsZero() {
		s.Expires, s.Expiry = c.Expires.UTC(), int64(c.Expires.Sub(c.SigningTime)/time.Second)
	}
	return s
}

// Recorded returns the signature of that digest, if it is intact, over the image and not past its date,
// with [migrate.ErrUnlisted] if the registry has it and does not list it. What is listed and cannot be
// fetched now is an error: it may be as good as ever.
func (s *shelf) Recorded(ctx context.Context, image migrate.Image, recorded string) (migrate.Signature, bool, error) {
	none := migrate.Signature{}
	r, err := s.client.Repository(image.Repository)
	if err != nil {
		return none, false, err
	}
	list, _, err := r.Signatures(ctx, image.Descriptor)
	if err != nil {
		return none, false, err
	}
	i := slices.IndexFunc(list, func(m ocispec.Descriptor) bool { return m.Digest.String() == recorded })
	if i < 0 {
		return unlisted(ctx, r, image, recorded)
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
	one, good := read(image, recorded, mediaType, blob)
	return one, good && err == nil, nil // what is no good could not be read later either
}

// unlisted is Recorded for a signature that the registry does not list.
func unlisted(ctx context.Context, r *registry.Repository, image migrate.Image, signature string) (migrate.Signature, bool, error) {
	answer := r.StoredSignature(ctx, image.Descriptor.Digest, digest.Digest(signature))
	stored, there := answer.Value()
	if answer.Err() != nil || !there {
		return migrate.Signature{}, false, answer.Err()
	}
	one, good := read(image, signature, stored.MediaType, stored.Envelope)
	if !good {
		return migrate.Signature{}, false, nil
	}
	return one, false, migrate.ErrUnlisted
}

// read returns what a signature of that digest says, and reports whether it is intact, over the image
// and not past its date.
func read(image migrate.Image, digest, mediaType string, blob []byte) (migrate.Signature, bool) {
	c, err := notation.Read(mediaType, blob)
	if err != nil || !c.Over(image.Descriptor) || !c.Verifies(time.Now()) {
		return migrate.Signature{}, false
	}
	return migrate.Signature{Digest: digest, By: signedBy(signature.Certificate(c.Chain[0]), mediaType, c), Metadata: c.Target.Annotations}, true
}

// Relist stores again what the registry has under the signature's digest, which lists it.
func (s *shelf) Relist(ctx context.Context, image migrate.Image, signature string) error {
	r, err := s.client.Repository(image.Repository)
	if err != nil {
		return err
	}
	stored, err := r.StoredSignature(ctx, image.Descriptor.Digest, digest.Digest(signature)).Result()
	if err != nil {
		return err
	}
	return s.Push(ctx, image, state.Envelope{MediaType: stored.MediaType, Blob: stored.Envelope, Manifest: stored.Manifest})
}

// CheckList is [registry.Repository.CheckList].
func (s *shelf) CheckList(ctx context.Context, image migrate.Image, inTag bool) error {
	r, err := s.client.Repository(image.Repository)
	if err != nil {
		return err
	}
	return r.CheckList(ctx, image.Descriptor, inTag)
}

// Answers is [registry.Repository.Answers].
func (s *shelf) Answers(ctx context.Context, repository string) error {
	r, err := s.client.Repository(repository)
	if err != nil {
		return err
	}
	return r.Answers(ctx)
}

// ListsInTag is [registry.Repository.ListsInTag].
func (s *shelf) ListsInTag(repository string) bool {
	r, err := s.client.Repository(repository)
	return err == nil && r.ListsInTag()
}
