package session

import (
	"context"
	"net/http"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/dct/snapshot"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
)

// SnapshotJudge judges signatures of a snapshot by a trust policy, whose scopes are GUNs.
type snapshotJudge struct{ verifier *notation.Verifier }

// SnapshotJudge opens the policy that the options name; nil where they name none. rt sends what
// it asks for revocation.
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

// Judge trusts no leniency: a date that the policy lets pass decides about another date.
func (j snapshotJudge) Judge(ctx context.Context, gun dct.GUN, manifest ocispec.Descriptor, mediaType string, envelope []byte) (snapshot.Verdict, error) {
	v, err := j.verifier.Verify(ctx, gun.String()+"@"+manifest.Digest.String(), manifest, mediaType, envelope)
	if err != nil {
		return snapshot.Verdict{}, err
	}
	verdict := snapshot.Verdict{Trusted: v.Strict(), At: v.SignedAt, Leaf: v.Leaf, Reason: v.Reason}
	if verdict.Trusted && !migrate.Attests(v.Metadata, gun.String()) {
		verdict.Trusted, verdict.Reason = false, "it was made over an image, or for another repository"
	}
	return verdict, nil
}

// snapshotSigner is the key as package snapshot needs it.
type snapshotSigner struct {
	*notation.Signer
	attestor *migrate.Attestor
}

// NewSnapshotSigner lets a key sign saved trust data.
func NewSnapshotSigner(s *notation.Signer, metadata map[string]string) *snapshotSigner {
	return &snapshotSigner{s, &migrate.Attestor{Signer: Signer{Signer: s}, Tool: cli.Tool(), Metadata: metadata}}
}

func (s *snapshotSigner) Ours(ctx context.Context, manifest ocispec.Descriptor, mediaType string, envelope []byte) (bool, error) {
	_, _, ours, err := s.Recognise(ctx, manifest, mediaType, envelope)
	return ours, err
}

func (s *snapshotSigner) Attest(ctx context.Context, v snapshot.Verified) (snapshot.Signature, error) {
	e, err := s.attestor.Attest(ctx, v)
	if err != nil {
		return snapshot.Signature{}, err
	}
	return snapshot.Signature{MediaType: e.MediaType, Envelope: e.Blob, Manifest: e.Manifest}, nil
}
