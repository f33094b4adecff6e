package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/monitor"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/state"
)

// shelf is the registry as package migrate needs it.
type shelf struct {
	client  *registry.Client
	signers map[string]*notation.Signer // by name: whose signatures count as ours; nil where nothing is signed
}

func (s *shelf) Resolve(ctx context.Context, repository string, d digest.Digest) (ocispec.Descriptor, error) {
	r, err := s.client.Repository(repository)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc, err := r.Resolve(ctx, d)
	return desc, err
}

func (s *shelf) Tag(ctx context.Context, repository, tag string) lookup.Answer[digest.Digest] {
	r, err := s.client.Repository(repository)
	if err != nil {
		return lookup.Unknown[digest.Digest](err)
	}
	return r.ResolveTag(ctx, tag)
}

func (s *shelf) Tags(ctx context.Context, repository string, each func(tag string) error) error {
	r, err := s.client.Repository(repository)
	if err != nil {
		return err
	}
	return r.Tags(ctx, each)
}

func (s *shelf) IsList(ctx context.Context, repository, tag string) (bool, error) {
	r, err := s.client.Repository(repository)
	if err != nil {
		return false, err
	}
	list, err := r.IsReferrersList(ctx, tag)
	return list, err
}

func (s *shelf) Manifest(ctx context.Context, image migrate.Image) ([]byte, error) {
	r, err := s.client.Repository(image.Repository)
	if err != nil {
		return nil, err
	}
	raw, err := r.FetchManifest(ctx, image.Descriptor)
	return raw, err
}

// maxCandidates is how many signatures of an image are fetched that may be ours. Who may push
// can plant more; each would cost two requests.
const maxCandidates = 100

// Find looks at every signature that could be ours. An entry that is proven to be no signature
// is passed over. One that could not be read leaves it unknown whether any is ours, unless
// another is: that the registry does not have what it lists is no proof that it was not ours.
func (s *shelf) Find(ctx context.Context, image migrate.Image, key string) (migrate.Found, error) {
	signer := s.signers[key]
	var found migrate.Found
	r, err := s.client.Repository(image.Repository)
	if err != nil {
		return found, err
	}
	list, inTag, err := r.Signatures(ctx, image.Descriptor)
	if err != nil {
		return found, err
	}
	found.InTag = inTag
	candidates, foreign, malformed := candidates(list, leaves(signer))
	tooMany := len(candidates) - maxCandidates
	unread, err := readCandidates(ctx, r, signer, image, candidates[:min(len(candidates), maxCandidates)], &found)
	if err != nil {
		return found, err
	}
	// Where the registry itself makes the list, it says of an entry what its manifest says. What people
	// can write in a list proves nothing.
	if len(found.Ours) == 0 && r.ListsInTag() {
		tooMany += len(foreign)
		room := min(max(maxCandidates-len(candidates), 0), len(foreign))
		more, err := readCandidates(ctx, r, signer, image, foreign[:room], &found)
		if err != nil {
			return found, err
		}
		unread = append(unread, more...)
	} else {
		found.Others += len(foreign)
	}
	if len(found.Ours) == 0 && tooMany > 0 {
		return found, failure.New(failure.Permanent, fmt.Errorf(
			"looking for a signature of ours of %s in %s: %d are listed that may be, and none of the first %d is\nhint: somebody has planted them; remove them and run again",
			image.Descriptor.Digest, image.Repository, tooMany+maxCandidates, maxCandidates))
	}
	found.Unread = max(tooMany, 0) + len(unread)
	if len(found.Ours) > 0 {
		// Not worth a request: what one of them is changes nothing.
		for _, m := range malformed {
			passOver(&found, registry.CheckEntry(m))
		}
		return found, nil
	}
	more, err := readCandidates(ctx, r, signer, image, malformed[:min(len(malformed), maxCandidates)], &found)
	if err == nil && len(malformed) > maxCandidates {
		err = fmt.Errorf("looking for a signature of ours of %s in %s: %d entries of the list are malformed\nhint: somebody has planted them; remove them and run again",
			image.Descriptor.Digest, image.Repository, len(malformed))
	}
	if unread = append(unread, more...); err == nil && len(unread) > 0 {
		err = unread[0]
	}
	return found, err
}

// readCandidates fetches signatures that may be ours, and adds what they are. unread says of
// each that could not be read, and that trying again would not read, why. The error is of a
// request that may go well later.
func readCandidates(ctx context.Context, r *registry.Repository, signer *notation.Signer, image migrate.Image, list []ocispec.Descriptor, found *migrate.Found) (unread []error, err error) {
	for _, m := range list {
		mediaType, blob, err := r.FetchSignature(ctx, m)
		switch class := failure.Of(err); {
		case err == nil:
		case errors.Is(err, registry.ErrBroken):
			passOver(found, err)
			continue
		case class == failure.Permanent || class == failure.Security:
			unread = append(unread, err)
			continue
		default:
			return nil, err
		}
		if c, by, ours := signer.Recognise(image.Descriptor, mediaType, blob); ours {
			found.Ours = append(found.Ours, migrate.Signature{Digest: m.Digest.String(), By: signedBy(by, mediaType, c), Metadata: c.Target.Annotations})
		} else {
			found.Others++
		}
	}
	return unread, nil
}

// leaves are the certificates whose signatures count as the key's.
func leaves(s *notation.Signer) []string {
	all := []string{s.Leaf()}
	for _, i := range s.Accepted() {
		all = append(all, i.Leaf())
	}
	return all
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

// passOver counts an entry that is no signature.
func passOver(found *migrate.Found, why error) {
	found.Broken++
	if found.Why == "" {
		found.Why = firstLine(why.Error())
	}
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

// broken reports whether the registry itself gives for a listed signature what nobody would accept:
// no signature, other bytes, or nothing. That is enough for a verdict, and not for signing: only
// ErrBroken proves that the listed signature is not ours. A proxy's 404 says nothing at all.
func broken(err error) bool {
	return errors.Is(err, registry.ErrBroken) || errors.Is(err, registry.ErrDangling) || failure.Of(err) == failure.Security
}

func (s *shelf) Push(ctx context.Context, image migrate.Image, e state.Envelope) error {
	r, err := s.client.Repository(image.Repository)
	if err != nil {
		return err
	}
	err = r.PushSignature(ctx, image.Descriptor, e.MediaType, e.Blob, e.Manifest)
	if failure.Of(err) == failure.Missing {
		// Not the image is missing: the registry has no place for what was pushed.
		return failure.New(failure.Permanent, err)
	}
	return err
}

func (s *shelf) Listed(ctx context.Context, image migrate.Image) ([]string, error) {
	r, err := s.client.Repository(image.Repository)
	if err != nil {
		return nil, err
	}
	list, _, err := r.Signatures(ctx, image.Descriptor)
	if err != nil {
		return nil, err
	}
	digests := make([]string, len(list))
	for i, m := range list {
		digests[i] = m.Digest.String()
	}
	return digests, nil
}

// signer is the key as package migrate needs it.
type signer struct {
	*notation.Signer
	monitor *monitor.Monitor // told when the key does not sign; may be nil
}

func (s signer) Sign(ctx context.Context, subject ocispec.Descriptor, metadata map[string]string) (state.Envelope, error) {
	e, err := s.Signer.Sign(ctx, subject, metadata)
	if err != nil {
		if ctx.Err() == nil {
			s.monitor.KeyFailed(safetext.Safe(s.Name(), 128), string(failure.Of(err)))
		}
		return state.Envelope{}, err
	}
	return state.Envelope{
		MediaType: e.MediaType, Blob: e.Blob, Manifest: e.Manifest, ManifestDigest: e.ManifestDigest.String(),
		LeafThumbprint: e.Leaf, Metadata: e.Metadata, SignedBy: signedBy(s.Identity(), e.MediaType, e.Contents),
	}, nil
}

// Check compares an envelope from the ledger with what this key would have made.
func (s signer) Check(subject ocispec.Descriptor, e state.Envelope) error {
	err := s.Signer.Check(subject, notation.Envelope{
		MediaType: e.MediaType, Blob: e.Blob, Manifest: e.Manifest, ManifestDigest: digest.Digest(e.ManifestDigest),
	})
	if errors.Is(err, notation.ErrCertificate) {
		return fmt.Errorf("%w: %w", migrate.ErrOtherCertificate, err)
	}
	if errors.Is(err, notation.ErrEnded) {
		return migrate.ErrEnded
	}
	return err
}
