package session

import (
	"context"
	"log/slog"
	"net/http"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
)

// snapshotJudge judges signatures of a snapshot by a trust policy, whose scopes are GUNs.
type snapshotJudge struct{ verifier *notation.Verifier }

// SnapshotJudge opens the policy that the options name; nil if they name none. rt sends the revocation requests.
func (o *RemoteOptions) SnapshotJudge(rt http.RoundTripper) (snapshot.Judge, error) {
	if o.SnapshotPolicy == "" {
		return nil, nil
	}
	verifier, err := o.OpenVerifier(o.SnapshotPolicy, rt)
	if err != nil {
		return nil, err
	}
	return snapshotJudge{verifier}, nil
}

// Judge does not accept a lenient verification level: the signature's time decides whether trust
// data counts as expired, so it must be valid itself.
func (j snapshotJudge) Judge(ctx context.Context, gun dct.GUN, manifest ocispec.Descriptor, mediaType string, envelope []byte) (snapshot.Verdict, error) {
	v, err := j.verifier.Verify(ctx, gun.String()+"@"+manifest.Digest.String(), manifest, mediaType, envelope)
	if err != nil {
		return snapshot.Verdict{}, err
	}
	verdict := snapshot.Verdict{Trusted: v.Strict(), At: v.SignedAt, Leaf: v.Leaf, Reason: v.Reason}
	if verdict.Trusted && !migrate.Attests(v.Metadata, gun.String()) {
		verdict.Trusted, verdict.Reason = false, "it is for an image, or for another repository"
	}
	return verdict, nil
}

// SnapshotSigner adapts the key to package snapshot.
type SnapshotSigner struct {
	metadata map[string]string
	open     func(context.Context) (*notation.Signer, error)

	knows    *notation.Signer  // recognises the key's signatures; open or not
	attestor *migrate.Attestor // nil: the key is not open
	failed   error             // why it could not be opened
	leaf     string            // of the signature recognised last
}

// SnapshotSigner returns a signer for saved trust data, with the key that the options name. If the configuration says
// whose signatures are the key's, the key is opened only for the first new signature: finding that everything is
// signed then costs no key operation.
func (r *Servers) SnapshotSigner(ctx context.Context, o KeyOptions, log *slog.Logger) (*SnapshotSigner, error) {
	key, options, err := r.keyOf(ctx, o, nil, log)
	if err != nil {
		return nil, err
	}
	s := &SnapshotSigner{metadata: o.Metadata, open: func(ctx context.Context) (*notation.Signer, error) { return openKey(ctx, key, options, log) }}
	if len(options.Accepted) == 0 && !options.Identity.Renews() {
		return s, s.ready(ctx)
	}
	s.knows, err = notation.Unopened(key, options)
	return s, err
}

// ready opens the key, once.
func (s *SnapshotSigner) ready(ctx context.Context) error {
	if s.attestor != nil || s.failed != nil {
		return s.failed
	}
	key, err := s.open(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.failed = err
		}
		return err
	}
	s.knows, s.attestor = key, &migrate.Attestor{Signer: Signer{Signer: key}, Tool: cli.Tool(), Metadata: s.metadata}
	return nil
}

// Leaf returns the SHA-256 of the certificate that the key signs with or, if the key is not open, of one that it has
// signed with; empty: none.
func (s *SnapshotSigner) Leaf() string {
	if s.attestor != nil {
		return s.knows.Leaf()
	}
	return s.leaf
}

// Ours is [snapshot.Signer]'s.
func (s *SnapshotSigner) Ours(ctx context.Context, manifest ocispec.Descriptor, mediaType string, envelope []byte) (bool, error) {
	c, _, ours, err := s.knows.Recognise(ctx, manifest, mediaType, envelope)
	if ours {
		s.leaf = notation.Thumbprint(c.Chain[0])
	}
	return ours, err
}

// Attest is [snapshot.Signer]'s.
func (s *SnapshotSigner) Attest(ctx context.Context, v snapshot.Verified) (snapshot.Signature, error) {
	if err := s.ready(ctx); err != nil {
		return snapshot.Signature{}, err
	}
	e, err := s.attestor.Attest(ctx, v)
	if err != nil {
		return snapshot.Signature{}, err
	}
	return snapshot.Signature{MediaType: e.MediaType, Envelope: e.Blob, Manifest: e.Manifest}, nil
}
