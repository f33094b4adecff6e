package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// FetchManifest fetches a manifest by digest. The bytes it returns have this digest, this size (unless zero) and came
// with this media type (unless empty); anything else is ErrIntegrity. It reads at most 4 MiB. The error is a
// [*lookup.AbsentError] if the registry itself says that it has no such manifest.
func (r *Repository) FetchManifest(ctx context.Context, desc ocispec.Descriptor) (_ []byte, err error) {
	defer func() { err = classed(err) }()
	_, data, err := r.fetchManifest(ctx, desc)
	if err != nil {
		err = r.absence(ctx, err, "manifest", string(desc.Digest))
		return nil, r.failed("fetching manifest "+printable(desc.Digest), err)
	}
	return data, nil
}

func (r *Repository) fetchManifest(ctx context.Context, desc ocispec.Descriptor) (mediaType string, data []byte, err error) {
	if err := desc.Digest.Validate(); err != nil {
		return "", nil, err
	}
	if desc.Size > maxManifest {
		return "", nil, tooLarge(desc.Size, maxManifest)
	}
	accept := desc.MediaType
	if accept == "" {
		accept = acceptManifests
	}
	mediaType, data, err = r.get(ctx, "/manifests/"+desc.Digest.String(), accept, maxManifest)
	if err != nil {
		return "", nil, err
	}
	if err := match(desc, data); err != nil {
		return "", nil, err
	}
	if desc.MediaType != "" && mediaType != desc.MediaType {
		return "", nil, fmt.Errorf("%w: media type %q, and %q was announced", ErrIntegrity, mediaType, desc.MediaType)
	}
	return mediaType, data, nil
}

// ErrBroken is returned for a listed entry that is proven not to be a signature: it has no digest, or the registry
// has something else under it.
var ErrBroken = errors.New("not a signature manifest")

// FetchSignature fetches the envelope that a signature manifest, as listed by Signatures, carries: one layer of at
// most 10 MiB. Both are checked against their digests and sizes; the manifest must be a Notation signature of some
// image. The verifier decides whether the envelope is for that image and who signed it. After any error but ErrBroken
// it is unknown whether the entry is a signature, even if the registry says that it has nothing there, since it lists
// it.
func (r *Repository) FetchSignature(ctx context.Context, manifest ocispec.Descriptor) (mediaType string, envelope []byte, err error) {
	defer func() { err = classed(err) }()
	mediaType, envelope, err = r.fetchSignature(ctx, manifest)
	if err != nil {
		return "", nil, r.failed("fetching signature "+printable(manifest.Digest), err)
	}
	return mediaType, envelope, nil
}

// CheckEntry returns an error if the list describes an entry differently from any signature manifest. What is stored
// under its digest, if it has one, may still be a signature.
func CheckEntry(listed ocispec.Descriptor) error {
	switch {
	case listed.Digest.Validate() != nil:
		return fmt.Errorf("%w: no digest", ErrBroken)
	case listed.MediaType != ocispec.MediaTypeImageManifest && listed.MediaType != mediaTypeArtifact:
		return fmt.Errorf("listed with media type %q", listed.MediaType)
	case listed.Size <= 0:
		return errors.New("listed without a size")
	case listed.Size > maxManifest:
		return fmt.Errorf("listed with %w", tooLarge(listed.Size, maxManifest))
	}
	return nil
}

func (r *Repository) fetchSignature(ctx context.Context, listed ocispec.Descriptor) (string, []byte, error) {
	described := CheckEntry(listed)
	if errors.Is(described, ErrBroken) {
		return "", nil, described
	}
	asked := listed
	if described != nil { // the descriptor is all that is known
		asked = ocispec.Descriptor{Digest: listed.Digest}
	}
	mediaType, data, err := r.fetchManifest(ctx, asked)
	if err != nil {
		return "", nil, r.contradicted(ctx, err)
	}
	r.noteReferrer(listed.Digest, data)
	layer, _, err := readSignature(mediaType, data)
	switch {
	case err != nil:
		return "", nil, err
	case described != nil:
		return "", nil, described
	case layer.Size > maxEnvelope:
		return "", nil, fmt.Errorf("%w: %w", ErrBroken, tooLarge(layer.Size, maxEnvelope))
	}
	_, envelope, err := r.get(ctx, "/blobs/"+layer.Digest.String(), "", maxEnvelope)
	if err != nil {
		return "", nil, r.contradicted(ctx, err)
	}
	if layer.Size != int64(len(envelope)) && match(ocispec.Descriptor{Digest: layer.Digest}, envelope) == nil {
		return "", nil, fmt.Errorf("%w: it says that its envelope has %d bytes, and it has %d", ErrBroken, layer.Size, len(envelope))
	}
	return layer.MediaType, envelope, match(layer, envelope)
}

// contradicted explains a 404 for something that the registry lists: it does not prove absence.
func (r *Repository) contradicted(ctx context.Context, err error) error {
	switch {
	case !isNotFound(err):
		return err
	case onlyCodes(err, errcode.ErrorCodeManifestUnknown, errcode.ErrorCodeBlobUnknown):
		return fmt.Errorf("%w: %w", ErrDangling, err)
	case onlyCodes(err, errcode.ErrorCodeManifestUnknown, errcode.ErrorCodeBlobUnknown, codeNotFound):
		if err := r.answers(ctx); err != nil {
			return err
		}
		return fmt.Errorf("%w: %w", ErrDangling, err)
	}
	return fmt.Errorf("%w: %w", errForeign404, err)
}

// ErrDangling is returned for a signature that the registry lists but says it does not have. Somebody may have
// deleted it and left its entry. It may also come back, or be ours.
var ErrDangling = errors.New("the registry lists it, but answers that it does not exist")

// mediaTypeArtifact is what clients before Notation 1.0 wrote.
const mediaTypeArtifact = "application/vnd.oci.artifact.manifest.v1+json"

// A referrer is the content of a signature manifest, or of another manifest about an image.
type referrer struct {
	ArtifactType string               `json:"artifactType"`
	Config       *ocispec.Descriptor  `json:"config"`
	Layers       []ocispec.Descriptor `json:"layers"`
	Blobs        []ocispec.Descriptor `json:"blobs"` // only with mediaTypeArtifact
	Subject      *ocispec.Descriptor  `json:"subject"`
}

// envelopes returns the entries that hold the envelope. As in notation, they depend on the media type.
func (m referrer) envelopes(mediaType string) []ocispec.Descriptor {
	if mediaType == mediaTypeArtifact {
		return m.Blobs
	}
	return m.Layers
}

// Envelopes returns how many envelopes notation would see in a manifest of a media type, whatever else is in it.
func Envelopes(mediaType string, manifest []byte) int {
	var m referrer
	if json.Unmarshal(manifest, &m) != nil {
		return 0
	}
	return len(m.envelopes(mediaType))
}

// readSignature parses a signature manifest of a media type and returns the descriptors of the envelope and of the
// image it is about. Anything but the form of a Notation signature is an error.
func readSignature(mediaType string, data []byte) (layer, subject ocispec.Descriptor, err error) {
	var m referrer
	if err := json.Unmarshal(data, &m); err != nil {
		return layer, subject, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	layers := m.envelopes(mediaType)
	switch {
	case m.ArtifactType != ArtifactType && (m.Config == nil || m.Config.MediaType != ArtifactType):
		return layer, subject, fmt.Errorf("%w: of another artifact type", ErrBroken)
	case m.Subject == nil || m.Subject.Digest.Validate() != nil:
		return layer, subject, fmt.Errorf("%w: names no image", ErrBroken)
	case len(layers) != 1:
		return layer, subject, fmt.Errorf("%w: %d envelopes", ErrBroken, len(layers))
	case layers[0].Digest.Validate() != nil || layers[0].Size <= 0 || layers[0].MediaType == "":
		return layer, subject, fmt.Errorf("%w: its envelope is not described", ErrBroken)
	}
	return layers[0], *m.Subject, nil
}
