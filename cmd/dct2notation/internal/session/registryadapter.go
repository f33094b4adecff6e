package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/monitor"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/undo"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/notation/signature"
	"github.com/dct2notation/dct2notation/state"
)

// The types of this file adapt registries and keys to package migrate. They decide nothing: whose a signature is, and
// what it is worth, is up to notation/signature.

// ImageRegistry reads images and the lists of their signatures. It is a [verify.ReadRegistry].
type ImageRegistry struct{ Client *registry.Client }

// Resolve is [migrate.Registry]'s.
func (s *ImageRegistry) Resolve(ctx context.Context, repository string, d digest.Digest) (ocispec.Descriptor, error) {
	r, err := s.Client.Repository(repository)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return r.Resolve(ctx, d)
}

// Tag is [migrate.Registry]'s.
func (s *ImageRegistry) Tag(ctx context.Context, repository, tag string) lookup.Answer[digest.Digest] {
	r, err := s.Client.Repository(repository)
	if err != nil {
		return lookup.Unknown[digest.Digest](err)
	}
	return r.ResolveTag(ctx, tag)
}

// Tags is [verify.ReadRegistry]'s.
func (s *ImageRegistry) Tags(ctx context.Context, repository string, each func(tag string) error) error {
	r, err := s.Client.Repository(repository)
	if err != nil {
		return err
	}
	return r.Tags(ctx, each)
}

// IsList is [verify.ReadRegistry]'s.
func (s *ImageRegistry) IsList(ctx context.Context, repository, tag string) (bool, error) {
	r, err := s.Client.Repository(repository)
	if err != nil {
		return false, err
	}
	return r.IsReferrersList(ctx, tag)
}

// Manifest is [migrate.Registry]'s.
func (s *ImageRegistry) Manifest(ctx context.Context, image migrate.Image) ([]byte, error) {
	r, err := s.Client.Repository(image.Repository)
	if err != nil {
		return nil, err
	}
	return r.FetchManifest(ctx, image.Descriptor)
}

// Answers is [migrate.Registry]'s.
func (s *ImageRegistry) Answers(ctx context.Context, repository string) error {
	r, err := s.Client.Repository(repository)
	if err != nil {
		return err
	}
	return r.Answers(ctx)
}

// Listed is [migrate.Registry]'s.
func (s *ImageRegistry) Listed(ctx context.Context, image migrate.Image) ([]string, error) {
	r, err := s.Client.Repository(image.Repository)
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

// SignatureRegistry also finds and stores signatures. It is a [migrate.Registry].
type SignatureRegistry struct {
	ImageRegistry
	Signers map[string]*notation.Signer // by name: whose signatures count as ours
}

// Find is [migrate.Registry]'s.
func (s *SignatureRegistry) Find(ctx context.Context, image migrate.Image, key string) (migrate.Found, error) {
	signer, ok := s.Signers[key]
	if !ok {
		return migrate.Found{}, fmt.Errorf("looking for signatures of key %s: the key is not open", safetext.Safe(key, 128))
	}
	r, err := s.Client.Repository(image.Repository)
	if err != nil {
		return migrate.Found{}, err
	}
	f, err := signature.Find(ctx, r, signer, image.Descriptor)
	found := migrate.Found{Others: f.Others, Broken: f.Broken, Why: f.Why, InTag: f.InTag, Unread: f.Unread}
	for _, one := range f.Ours {
		found.Ours = append(found.Ours, signatureOf(one))
	}
	return found, err
}

// Recorded is [migrate.Registry]'s.
func (s *SignatureRegistry) Recorded(ctx context.Context, image migrate.Image, key, recorded string) (migrate.Signature, bool, error) {
	signer, ok := s.Signers[key]
	if !ok {
		return migrate.Signature{}, false, fmt.Errorf("looking for signatures of key %s: the key is not open", safetext.Safe(key, 128))
	}
	r, err := s.Client.Repository(image.Repository)
	if err != nil {
		return migrate.Signature{}, false, err
	}
	one, good, err := signature.Recorded(ctx, r, signer, image.Descriptor, recorded)
	switch {
	case errors.Is(err, signature.ErrUnlisted):
		return signatureOf(one), false, migrate.ErrUnlisted
	case err != nil || !good:
		return migrate.Signature{}, false, err
	}
	return signatureOf(one), true, nil
}

// Relist pushes the signature's manifest again, so that the registry lists it.
func (s *SignatureRegistry) Relist(ctx context.Context, image migrate.Image, recorded string) error {
	r, err := s.Client.Repository(image.Repository)
	if err != nil {
		return err
	}
	stored, err := r.StoredSignature(ctx, image.Descriptor.Digest, digest.Digest(recorded)).Result()
	if err != nil {
		return err
	}
	_, err = s.Push(ctx, image, state.Envelope{MediaType: stored.MediaType, Blob: stored.Envelope, Manifest: stored.Manifest}, false)
	return err
}

// Push is [migrate.Registry]'s.
func (s *SignatureRegistry) Push(ctx context.Context, image migrate.Image, e state.Envelope, inTag bool) (told bool, err error) {
	r, err := s.Client.Repository(image.Repository)
	if err != nil {
		return false, err
	}
	told, err = r.PushSignature(ctx, image.Descriptor, e.MediaType, e.Blob, e.Manifest, inTag)
	if failure.Of(err) == failure.Missing {
		// The image is not missing: the registry has no place for what was pushed.
		return false, failure.New(failure.Permanent, err)
	}
	return told, err
}

// CheckList is [migrate.Registry]'s.
func (s *SignatureRegistry) CheckList(ctx context.Context, image migrate.Image, inTag bool) error {
	r, err := s.Client.Repository(image.Repository)
	if err != nil {
		return err
	}
	return r.CheckList(ctx, image.Descriptor, inTag)
}

// ListsInTag is [migrate.Registry]'s.
func (s *SignatureRegistry) ListsInTag(repository string) bool {
	r, err := s.Client.Repository(repository)
	return err == nil && r.ListsInTag()
}

func signatureOf(s signature.Signature) migrate.Signature {
	return migrate.Signature{Digest: s.Digest, By: signedBy(s.By, s.MediaType, s.Contents), Metadata: s.Contents.Target.Annotations}
}

// signedBy returns what the ledger keeps of a signature that counts as an identity's.
func signedBy(by notation.Identity, mediaType string, c notation.Contents) state.SignedBy {
	s := state.SignedBy{
		Identity: by.String(), Leaf: notation.Thumbprint(c.Chain[0]), ChainEnds: c.ChainEnds().UTC(),
		Timestamped: c.Attested(), Format: mediaType,
	}
	if !c.Expires.IsZero() {
		s.Expires, s.Expiry = c.Expires.UTC(), int64(c.Expires.Sub(c.SigningTime)/time.Second)
	}
	return s
}

// Judge is a [verify.Judge].
type Judge struct {
	Client *registry.Client
	Of     signature.Judge
}

var doubts = map[notation.Doubt]verify.Class{
	notation.NoDoubt: "", notation.Unproven: verify.Untrusted, notation.Dated: verify.Expired, notation.Unsure: verify.Unknown,
}

// Judge is [verify.Judge]'s.
func (j *Judge) Judge(ctx context.Context, repository string, image digest.Digest, describe func(context.Context) (ocispec.Descriptor, error)) (verify.Verdict, error) {
	r, err := j.Client.Repository(repository)
	if err != nil {
		return verify.Verdict{}, err
	}
	v, err := j.Of.Judge(ctx, r, repository, image, describe)
	if err != nil {
		return verify.Verdict{}, err
	}
	return verify.Verdict{
		Signatures: v.Signatures, Listed: v.Listed, Trusted: v.Trusted, Doubt: doubts[v.Doubt], Reason: v.Reason,
		Signed: v.Signed, Refused: v.Refused, Unread: v.Unread, NotAfter: v.NotAfter,
	}, nil
}

// Remover is a [undo.Remover].
type Remover struct {
	ImageRegistry
	Named []notation.Identity // whose signatures may be deleted; empty: none
}

// Stored is [undo.Remover]'s.
func (s *Remover) Stored(ctx context.Context, c undo.Claim) lookup.Answer[undo.Claim] {
	r, err := s.Client.Repository(c.Key.Repository)
	if err != nil {
		return lookup.Unknown[undo.Claim](err)
	}
	proof := signature.Proof{Named: s.Named, MetadataGUN: migrate.MetadataGUN}
	_, err = proof.Check(ctx, r, signature.Claim{Image: digest.Digest(c.Key.Digest), Signature: digest.Digest(c.Signature), Leaf: c.Leaf, GUN: c.GUN}).Result()
	return lookup.Of(c, err)
}

// Unlist is [undo.Remover]'s.
func (s *Remover) Unlist(ctx context.Context, c undo.Claim) error {
	r, err := s.Client.Repository(c.Key.Repository)
	if err != nil {
		return err
	}
	return r.UnlistSignature(ctx, digest.Digest(c.Key.Digest), digest.Digest(c.Signature))
}

// Remove is [undo.Remover]'s.
func (s *Remover) Remove(ctx context.Context, c undo.Claim) error {
	r, err := s.Client.Repository(c.Key.Repository)
	if err != nil {
		return err
	}
	err = r.RemoveSignature(ctx, digest.Digest(c.Key.Digest), digest.Digest(c.Signature))
	if errors.Is(err, registry.ErrDeleteRefused) {
		return failure.New(failure.Unsupported, err)
	}
	return err
}

// Signer adapts the key to the interface of package migrate.
type Signer struct {
	*notation.Signer
	monitor *monitor.Monitor // receives failures of the key; may be nil
}

// Sign is [migrate.Signer]'s.
func (s Signer) Sign(ctx context.Context, subject ocispec.Descriptor, metadata map[string]string) (state.Envelope, error) {
	e, err := s.Signer.Sign(ctx, subject, metadata)
	if err != nil {
		s.failed(ctx, err)
		return state.Envelope{}, err
	}
	return state.Envelope{
		MediaType: e.MediaType, Blob: e.Blob, Manifest: e.Manifest, ManifestDigest: e.ManifestDigest.String(),
		LeafThumbprint: e.Leaf, Metadata: e.Metadata, SignedBy: signedBy(s.Identity(), e.MediaType, e.Contents),
	}, nil
}

// Prove is [notation.Signer.Prove].
func (s Signer) Prove(ctx context.Context) error {
	err := s.Signer.Prove(ctx)
	if err != nil {
		s.failed(ctx, err)
	}
	return err
}

// failed reports a failure of the key to the monitor, unless it was only cancelled, or not asked.
func (s Signer) failed(ctx context.Context, err error) {
	if ctx.Err() == nil && !errors.Is(err, migrate.ErrSpent) {
		s.monitor.KeyFailed(safetext.Safe(s.Name(), 128), string(failure.Of(err)))
	}
}

// Check compares an envelope from the ledger with what this key would have made.
func (s Signer) Check(ctx context.Context, subject ocispec.Descriptor, e state.Envelope) error {
	err := s.Signer.Check(ctx, subject, notation.Envelope{
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

// PushReport stores a report as an artifact of the repository of that name, under a tag if one is
// given. It is harmless to repeat.
func (r *Servers) PushReport(ctx context.Context, name string, packed *report.Packed, tag string) (migrate.Image, error) {
	to, err := r.Registry.Repository(name)
	if err != nil {
		return migrate.Image{}, cli.Usage(err)
	}
	blobs := make([]registry.Blob, len(packed.Blobs))
	for i, b := range packed.Blobs {
		blobs[i] = registry.Blob(b)
	}
	desc, err := to.PushArtifact(ctx, packed.Manifest, blobs, tag)
	switch {
	case errors.Is(err, registry.ErrTaken):
		return migrate.Image{}, cli.Usage(fmt.Errorf("%w\nhint: name another tag, or none", err))
	case err != nil:
		return migrate.Image{}, err
	}
	return migrate.Image{Repository: name, Descriptor: ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}}, nil
}
