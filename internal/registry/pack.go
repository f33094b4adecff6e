package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// emptyConfig is the config blob of every signature, the same in all repositories.
var emptyConfig = []byte("{}")

func configDescriptor() ocispec.Descriptor {
	return describe(ArtifactType, emptyConfig)
}

// describe returns the descriptor of raw bytes.
func describe(mediaType string, data []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// PackSignature returns the manifest that attaches an envelope to an image, in the form of notation-go 1.3, and its
// descriptor. The same arguments give the same bytes at any time: the annotations must hold
// org.opencontainers.image.created, the signing time. Only subject's media type, digest and size count.
func PackSignature(subject ocispec.Descriptor, mediaType string, envelope []byte, annotations map[string]string) (manifest []byte, desc ocispec.Descriptor, err error) {
	if _, err := time.Parse(time.RFC3339, annotations[ocispec.AnnotationCreated]); err != nil {
		return nil, desc, fmt.Errorf("packing signature of %s: the annotations tell no signing time: %w", printable(subject.Digest), err)
	}
	m := ocispec.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   ocispec.MediaTypeImageManifest,
		Config:      configDescriptor(),
		Layers:      []ocispec.Descriptor{describe(mediaType, envelope)},
		Subject:     &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations: annotations,
	}
	manifest, err = json.Marshal(m)
	if err != nil {
		return nil, desc, fmt.Errorf("packing signature of %s: %w", printable(subject.Digest), err)
	}
	if err := checkPacked(subject, mediaType, envelope, manifest); err != nil {
		return nil, desc, fmt.Errorf("packing signature of %s: %w", printable(subject.Digest), err)
	}
	desc = describe(ocispec.MediaTypeImageManifest, manifest)
	desc.ArtifactType = ArtifactType
	desc.Annotations = maps.Clone(annotations)
	return manifest, desc, nil
}

// checkPacked refuses a manifest that does not attach this envelope to this image: the bytes
// may come from a ledger.
func checkPacked(subject ocispec.Descriptor, mediaType string, envelope, manifest []byte) error {
	layer, about, err := readSignature(ocispec.MediaTypeImageManifest, manifest)
	if err != nil {
		return err
	}
	want := describe(mediaType, envelope)
	if layer.MediaType != want.MediaType || layer.Digest != want.Digest || layer.Size != want.Size {
		return errors.New("the manifest is of another envelope")
	}
	if about.MediaType != subject.MediaType || about.Digest != subject.Digest || about.Size != subject.Size {
		return errors.New("the manifest is of another image")
	}
	if len(manifest) > maxManifest {
		return tooLarge(int64(len(manifest)), maxManifest)
	}
	if len(envelope) > maxEnvelope {
		return tooLarge(int64(len(envelope)), maxEnvelope)
	}
	return nil
}
