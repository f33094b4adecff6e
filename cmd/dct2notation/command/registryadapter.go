package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/monitor"
	"github.com/dct2notation/dct2notation/internal/registry"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/undo"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/notation/signature"
	"github.com/dct2notation/dct2notation/state"
)

// The types of this file are registries and keys as package migrate needs them. They decide nothing:
// whose a signature is, and what it is worth, is for notation/signature.

// imageRegistry reads images and the lists of their signatures. It is a [migrate.ReadRegistry].
type imageRegistry struct{ client *registry.Client }

func (s *imageRegistry) Resolve(ctx context.Context, repository string, d digest.Digest) (ocispec.Descriptor, error) {
	r, err := s.client.Repository(repository)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return r.Resolve(ctx, d)
}

func (s *imageRegistry) Tag(ctx context.Context, repository, tag string) lookup.Answer[digest.Digest] {
	r, err := s.client.Repository(repository)
	if err != nil {
		return lookup.Unknown[digest.Digest](err)
	}
	return r.ResolveTag(ctx, tag)
}

func (s *imageRegistry) Tags(ctx context.Context, repository string, each func(tag string) error) error {
	r, err := s.client.Repository(repository)
	if err != nil {
		return err
	}
	return r.Tags(ctx, each)
}

func (s *imageRegistry) IsList(ctx context.Context, repository, tag string) (bool, error) {
	r, err := s.client.Repository(repository)
	if err != nil {
		return false, err
	}
	return r.IsReferrersList(ctx, tag)
}

func (s *imageRegistry) Manifest(ctx context.Context, image migrate.Image) ([]byte, error) {
	r, err := s.client.Repository(image.Repository)
	if err != nil {
		return nil, err
	}
	return r.FetchManifest(ctx, image.Descriptor)
}

func (s *imageRegistry) Answers(ctx context.Context, repository string) error {
	r, err := s.client.Repository(repository)
	if err != nil {
		return err
	}
	return r.Answers(ctx)
}

func (s *imageRegistry) Listed(ctx context.Context, image migrate.Image) ([]string, error) {
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

// signatureRegistry finds and stores signatures, too. It is a [migrate.Registry].
type signatureRegistry struct {
	imageRegistry
	signers map[string]*notation.Signer // by name: whose signatures count as ours
}

func (s *signatureRegistry) Find(ctx context.Context, image migrate.Image, key string) (migrate.Found, error) {
	signer, ok := s.signers[key]
	if !ok {
		return migrate.Found{}, fmt.Errorf("looking for signatures of key %s: it is not open", safetext.Safe(key, 128))
	}
	r, err := s.client.Repository(image.Repository)
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

func (s *signatureRegistry) Recorded(ctx context.Context, image migrate.Image, recorded string) (migrate.Signature, bool, error) {
	r, err := s.client.Repository(image.Repository)
	if err != nil {
		return migrate.Signature{}, false, err
	}
	one, good, err := signature.Recorded(ctx, r, image.Descriptor, recorded)
	switch {
	case errors.Is(err, signature.ErrUnlisted):
		return signatureOf(one), false, migrate.ErrUnlisted
	case err != nil || !good:
		return migrate.Signature{}, false, err
	}
	return signatureOf(one), true, nil
}

// Relist stores again what the registry has under the signature's digest, which lists it.
func (s *signatureRegistry) Relist(ctx context.Context, image migrate.Image, recorded string) error {
	r, err := s.client.Repository(image.Repository)
	if err != nil {
		return err
	}
	stored, err := r.StoredSignature(ctx, image.Descriptor.Digest, digest.Digest(recorded)).Result()
	if err != nil {
		return err
	}
	return s.Push(ctx, image, state.Envelope{MediaType: stored.MediaType, Blob: stored.Envelope, Manifest: stored.Manifest})
}

func (s *signatureRegistry) Push(ctx context.Context, image migrate.Image, e state.Envelope) error {
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

func (s *signatureRegistry) CheckList(ctx context.Context, image migrate.Image, inTag bool) error {
	r, err := s.client.Repository(image.Repository)
	if err != nil {
		return err
	}
	return r.CheckList(ctx, image.Descriptor, inTag)
}

func (s *signatureRegistry) ListsInTag(repository string) bool {
	r, err := s.client.Repository(repository)
	return err == nil && r.ListsInTag()
}

func signatureOf(s signature.Signature) migrate.Signature {
	return migrate.Signature{Digest: s.Digest, By: signedBy(s.By, s.MediaType, s.Contents), Metadata: s.Contents.Target.Annotations}
}

// signedBy is what the ledger keeps of a signature that counts as an identity's.
func signedBy(by notation.Identity, mediaType string, c notation.Contents) state.SignedBy {
	s := state.SignedBy{
		Identity: by.String(), Leaf: notation.Thumbprint(c.Chain[0]), ChainEnds: c.ChainEnds().UTC(),
		Timestamped: !c.Stamped.IsZero(), Format: mediaType,
	}
	if !c.Expires.IsZero() {
		s.Expires, s.Expiry = c.Expires.UTC(), int64(c.Expires.Sub(c.SigningTime)/time.Second)
	}
	return s
}

// judge is a [migrate.Judge].
type judge struct {
	client *registry.Client
	of     signature.Judge
}

var doubts = map[notation.Doubt]verify.Class{
	notation.NoDoubt: "", notation.Unproven: verify.Untrusted, notation.Dated: verify.Expired, notation.Unsure: verify.Unknown,
}

func (j *judge) Judge(ctx context.Context, image migrate.Image) (verify.Verdict, error) {
	r, err := j.client.Repository(image.Repository)
	if err != nil {
		return verify.Verdict{}, err
	}
	v, err := j.of.Judge(ctx, r, image.Repository, image.Descriptor)
	if err != nil {
		return verify.Verdict{}, err
	}
	return verify.Verdict{
		Signatures: v.Signatures, Listed: v.Listed, Trusted: v.Trusted, Doubt: doubts[v.Doubt], Reason: v.Reason,
		Signed: v.Signed, Refused: v.Refused, Unread: v.Unread, NotAfter: v.NotAfter,
	}, nil
}

// remover is a [migrate.Remover].
type remover struct {
	imageRegistry
	named []notation.Identity // whose signatures may be deleted; none: nothing is
}

func (s *remover) Stored(ctx context.Context, c undo.Claim) lookup.Answer[undo.Claim] {
	r, err := s.client.Repository(c.Key.Repository)
	if err != nil {
		return lookup.Unknown[undo.Claim](err)
	}
	proof := signature.Proof{Named: s.named, MetadataGUN: migrate.MetadataGUN}
	_, err = proof.Check(ctx, r, signature.Claim{Image: digest.Digest(c.Key.Digest), Signature: digest.Digest(c.Signature), Leaf: c.Leaf, GUN: c.GUN}).Result()
	return lookup.Of(c, err)
}

func (s *remover) Unlist(ctx context.Context, c undo.Claim) error {
	r, err := s.client.Repository(c.Key.Repository)
	if err != nil {
		return err
	}
	return r.UnlistSignature(ctx, digest.Digest(c.Key.Digest), digest.Digest(c.Signature))
}

func (s *remover) Remove(ctx context.Context, c undo.Claim) error {
	r, err := s.client.Repository(c.Key.Repository)
	if err != nil {
		return err
	}
	err = r.RemoveSignature(ctx, digest.Digest(c.Key.Digest), digest.Digest(c.Signature))
	if errors.Is(err, registry.ErrDeleteRefused) {
		return failure.New(failure.Unsupported, err)
	}
	return err
}

// signer is the key as package migrate needs it.
type signer struct {
	*notation.Signer
	monitor *monitor.Monitor // told when the key does not sign; may be nil
}

func (s signer) Sign(ctx context.Context, subject ocispec.Descriptor, metadata map[string]string) (state.Envelope, error) {
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
func (s signer) Prove(ctx context.Context) error {
	err := s.Signer.Prove(ctx)
	if err != nil {
		s.failed(ctx, err)
	}
	return err
}

// failed tells the monitor of a failure of the key, unless it was only told to end.
func (s signer) failed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		s.monitor.KeyFailed(safetext.Safe(s.Name(), 128), string(failure.Of(err)))
	}
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
