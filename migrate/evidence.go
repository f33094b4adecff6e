package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/strictjson"
	"github.com/dct2notation/dct2notation/state"
)

// ReportType is the artifact type of a report.
const ReportType = "application/vnd.dct2notation.report.v1"

// Evidence is the manifest of a report, checked so that nothing takes it for an image: its configuration is not an
// image's, and no layer could be unpacked. Only NewEvidence makes one.
type Evidence struct {
	manifest ocispec.Descriptor
	of       string
}

// NewEvidence checks the bytes of a manifest.
func NewEvidence(raw []byte) (Evidence, error) {
	if err := strictjson.Check(raw); err != nil {
		return Evidence{}, fmt.Errorf("manifest of a report: %w", err)
	}
	// Some readers would take a field in another case for another field.
	if _, err := object(raw, "schemaVersion", "mediaType", "artifactType", "config", "layers", "subject", "manifests", "annotations"); err != nil {
		return Evidence{}, fmt.Errorf("manifest of a report: %w", err)
	}
	var m ocispec.Manifest
	var index struct {
		Manifests json.RawMessage `json:"manifests"`
	}
	if err := errors.Join(json.Unmarshal(raw, &m), json.Unmarshal(raw, &index)); err != nil {
		return Evidence{}, fmt.Errorf("manifest of a report: %w", err)
	}
	switch {
	case m.SchemaVersion != 2, m.MediaType != ocispec.MediaTypeImageManifest, m.ArtifactType != ReportType:
		return Evidence{}, errors.New("manifest of a report: it is none")
	case m.Config.MediaType != ocispec.MediaTypeEmptyJSON, m.Config.Digest != ocispec.DescriptorEmptyJSON.Digest:
		return Evidence{}, errors.New("manifest of a report: it has a configuration, as images have")
	case m.Subject != nil, index.Manifests != nil, len(m.Layers) == 0:
		return Evidence{}, errors.New("manifest of a report: it is about something else, or has no files")
	}
	for _, l := range m.Layers {
		if l.Annotations[ocispec.AnnotationTitle] == "" || strings.Contains(l.MediaType, "layer") || strings.Contains(l.MediaType, "tar") {
			return Evidence{}, fmt.Errorf("manifest of a report: a file of type %.80q", l.MediaType)
		}
	}
	return Evidence{
		manifest: ocispec.Descriptor{MediaType: m.MediaType, ArtifactType: m.ArtifactType, Digest: digest.FromBytes(raw), Size: int64(len(raw))},
		of:       m.Annotations[MetadataReport+".of"],
	}, nil
}

// Manifest returns what to sign.
func (e Evidence) Manifest() ocispec.Descriptor { return e.manifest }

// AttestReport signs a report and retries temporary failures.
func (a *Attestor) AttestReport(ctx context.Context, e Evidence) (state.Envelope, error) {
	return a.persist(ctx, func() (state.Envelope, error) {
		return a.attest(ctx, e.manifest, map[string]string{MetadataReport: e.of})
	})
}
