package snapshot

import (
	"context"
	"fmt"
	"slices"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/lookup"
)

// signatureType is the artifact type of a Notation signature.
//
// SPEC (Notary Project, signature-specification, signature manifest).
const signatureType = "application/vnd.cncf.notary.signature"

const (
	maxEnvelope   = 1 << 20
	maxSignatures = 100 // checked per manifest, as many as in notation verify
)

// A Judge reports whether a signature of saved trust data is trusted.
type Judge interface {
	// Judge judges a signature of a repository's manifest. Everything wrong with the signature is in the verdict; an
	// error means that it is unknown.
	Judge(ctx context.Context, gun dct.GUN, manifest ocispec.Descriptor, mediaType string, envelope []byte) (Verdict, error)
}

// Verdict is the result of a [Judge].
type Verdict struct {
	Trusted bool
	At      time.Time // when it was signed
	Leaf    string    // SHA-256 of the signing certificate in hex; empty if it cannot be read
	Reason  string    // why it is not trusted
}

// Signature judges the signatures of a repository's manifest, and so of exactly the files that File returns. Of
// several trusted ones the earliest counts. If there is none, or no judge, the verdict says so.
func (s *Snapshot) Signature(ctx context.Context, gun dct.GUN, judge Judge) (Verdict, error) {
	manifest, ok := s.Manifest(gun)
	if !ok {
		return Verdict{}, &lookup.AbsentError{By: lookup.Snapshot, What: "trust data of " + gun.String()}
	}
	found := Verdict{Reason: "the snapshot has no signature of it"}
	if s.lost != nil {
		found.Reason += ", and one that cannot be read: " + s.lost.Error()
	}
	for i, a := range s.signatures(manifest) {
		if judge == nil {
			return Verdict{Reason: "no --snapshot-trust-policy says whose signatures of the snapshot are trusted"}, nil
		}
		if i == maxSignatures {
			break
		}
		one, err := s.judge(ctx, gun, manifest, a, judge)
		if err != nil {
			return Verdict{}, err
		}
		better := one.Trusted && (!found.Trusted || one.At.Before(found.At))
		if better || !one.Trusted && !found.Trusted {
			found = one
		}
	}
	return found, nil
}

func (s *Snapshot) judge(ctx context.Context, gun dct.GUN, manifest ocispec.Descriptor, a attachment, judge Judge) (Verdict, error) {
	blob, err := s.blob(a.envelope.Digest, a.envelope.Size)
	if err != nil {
		return Verdict{Reason: "its signature cannot be read: " + err.Error()}, ctx.Err()
	}
	v, err := judge.Judge(ctx, gun, manifest, a.envelope.MediaType, blob)
	if err != nil {
		return Verdict{}, fmt.Errorf("judging the signature of %s: %w", gun, err)
	}
	if !v.Trusted {
		v.Reason = "its signature is not trusted: " + v.Reason
	}
	return v, nil
}

// TimeAttestation returns a function that says when each repository's manifest was signed, if the judge trusts the
// signature; without a judge, never. Use it only with a reader whose source is this very Snapshot: another one of the
// same directory may have other manifests.
func (s *Snapshot) TimeAttestation(judge Judge) dct.TimeAttestation {
	return func(ctx context.Context, gun dct.GUN) (dct.ValidAt, error) {
		v, err := s.Signature(ctx, gun, judge)
		if err != nil {
			return dct.ValidAt{}, err
		}
		return sightOf(v)(ctx, gun)
	}
}

func sightOf(v Verdict) dct.TimeAttestation {
	return func(context.Context, dct.GUN) (dct.ValidAt, error) {
		if !v.Trusted {
			return dct.ValidAt{Why: v.Reason}, nil
		}
		return dct.ValidAt{At: v.At, By: v.Leaf}, nil
	}
}

// Signatures counts the signatures of a repository's manifest, whoever made them.
func (s *Snapshot) Signatures(gun dct.GUN) int {
	manifest, _ := s.Manifest(gun)
	return len(s.signatures(manifest))
}

// signatures returns the signatures of a manifest, in a fixed order.
func (s *Snapshot) signatures(manifest ocispec.Descriptor) []attachment {
	var list []attachment
	for _, a := range s.attached {
		if a.signs(manifest) {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b attachment) int {
		return slices.Compare([]byte(a.descriptor.Digest), []byte(b.descriptor.Digest))
	})
	return list
}

// signs reports whether an attachment claims to be a signature of a manifest.
func (a attachment) signs(manifest ocispec.Descriptor) bool {
	return a.envelope.Size > 0 && a.subject.Digest == manifest.Digest && a.subject.Size == manifest.Size &&
		a.subject.MediaType == manifest.MediaType
}

// envelopeOf returns the layer of a signature's manifest, or the zero Descriptor for any other.
func envelopeOf(m ocispec.Manifest) ocispec.Descriptor {
	if m.ArtifactType != signatureType && m.Config.MediaType != signatureType || len(m.Layers) != 1 {
		return ocispec.Descriptor{}
	}
	l := m.Layers[0]
	if checkDigest(l.Digest) != nil || l.Size <= 0 || l.Size > maxEnvelope {
		return ocispec.Descriptor{}
	}
	return ocispec.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size}
}
