package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// FetchManifest fetches a manifest by digest and returns bytes that have this digest, this
// size (unless it is zero) and came under this media type (unless it is empty); anything
// else is ErrIntegrity. At most 4 MiB are read.
func (r *Repository) FetchManifest(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	data, err := r.fetchManifest(ctx, desc)
	if err != nil {
		return nil, r.failed("fetching manifest "+printable(desc.Digest), err)
	}
	return data, nil
}

func (r *Repository) fetchManifest(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, err
	}
	if desc.Size > maxManifest {
		return nil, tooLarge(desc.Size, maxManifest)
	}
	accept := desc.MediaType
	if accept == "" {
		accept = acceptManifests
	}
	mediaType, data, err := r.get(ctx, "/manifests/"+desc.Digest.String(), accept, maxManifest)
	if err != nil {
		return nil, err
	}
	if err := match(desc, data); err != nil {
		return nil, err
	}
	if desc.MediaType != "" && mediaType != desc.MediaType {
		return nil, fmt.Errorf("%w: media type %q, and %q was announced", ErrIntegrity, mediaType, desc.MediaType)
	}
	return data, nil
}

// FetchSignature fetches the envelope that a signature manifest, as listed by Signatures,
// carries: one layer of at most 10 MiB. Both are checked against their digests and sizes;
// the manifest must be a Notation signature of some image. Whether the envelope is of that
// image and by whom is the verifier's to say.
func (r *Repository) FetchSignature(ctx context.Context, manifest ocispec.Descriptor) (mediaType string, envelope []byte, err error) {
	mediaType, envelope, err = r.fetchSignature(ctx, manifest)
	if err != nil {
		return "", nil, r.failed("fetching signature "+printable(manifest.Digest), err)
	}
	return mediaType, envelope, nil
}

// CheckEntry returns an error if an entry, as listed by Signatures, is so malformed that
// nothing can be fetched by it.
func CheckEntry(listed ocispec.Descriptor) error {
	switch {
	case listed.MediaType != ocispec.MediaTypeImageManifest && listed.MediaType != mediaTypeArtifact:
		return fmt.Errorf("not a signature manifest: media type %q", listed.MediaType)
	case listed.Digest.Validate() != nil:
		return errors.New("not a signature manifest: no digest")
	case listed.Size <= 0:
		return errors.New("not a signature manifest: no size")
	case listed.Size > maxManifest:
		return fmt.Errorf("not a signature manifest: %w", tooLarge(listed.Size, maxManifest))
	}
	return nil
}

func (r *Repository) fetchSignature(ctx context.Context, manifest ocispec.Descriptor) (string, []byte, error) {
	if err := CheckEntry(manifest); err != nil {
		return "", nil, err
	}
	data, err := r.fetchManifest(ctx, manifest)
	if err != nil {
		return "", nil, err
	}
	layer, _, err := readSignature(data)
	if err != nil {
		return "", nil, err
	}
	if layer.Size > maxEnvelope {
		return "", nil, tooLarge(layer.Size, maxEnvelope)
	}
	_, envelope, err := r.get(ctx, "/blobs/"+layer.Digest.String(), "", maxEnvelope)
	if err != nil {
		return "", nil, err
	}
	return layer.MediaType, envelope, match(layer, envelope)
}

// mediaTypeArtifact is what clients before Notation 1.0 wrote.
const mediaTypeArtifact = "application/vnd.oci.artifact.manifest.v1+json"

// readSignature takes a signature manifest apart: the envelope's descriptor and the image it
// is about. Any other form than that of a Notation signature is an error.
func readSignature(data []byte) (layer, subject ocispec.Descriptor, err error) {
	var m struct {
		ArtifactType string               `json:"artifactType"`
		Config       *ocispec.Descriptor  `json:"config"`
		Layers       []ocispec.Descriptor `json:"layers"`
		Blobs        []ocispec.Descriptor `json:"blobs"` // of mediaTypeArtifact
		Subject      *ocispec.Descriptor  `json:"subject"`
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return layer, subject, fmt.Errorf("not a signature manifest: %w", err)
	}
	layers := append(m.Layers, m.Blobs...)
	switch {
	case m.ArtifactType != ArtifactType && (m.Config == nil || m.Config.MediaType != ArtifactType):
		return layer, subject, errors.New("not a signature manifest: of another artifact type")
	case m.Subject == nil || m.Subject.Digest.Validate() != nil:
		return layer, subject, errors.New("not a signature manifest: names no image")
	case len(layers) != 1:
		return layer, subject, fmt.Errorf("not a signature manifest: %d envelopes", len(layers))
	case layers[0].Digest.Validate() != nil || layers[0].Size <= 0 || layers[0].MediaType == "":
		return layer, subject, errors.New("not a signature manifest: its envelope is not described")
	}
	return layers[0], *m.Subject, nil
}
