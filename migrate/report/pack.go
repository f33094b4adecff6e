package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/migrate"
)

// Packed is a result as an OCI artifact: a manifest, and the files that it lists.
type Packed struct {
	Manifest []byte
	Blobs    []Blob
}

// Blob is a file of an artifact.
type Blob struct {
	Descriptor ocispec.Descriptor
	Data       []byte
}

// mediaTypes of those formats that have one.
var mediaTypes = map[string]string{
	"csv": "text/csv", "html": "text/html", "markdown": "text/markdown", "junit": "application/xml", "json": "application/json",
	"jsonl": "application/vnd.dct2notation.result.v1+jsonl",
}

// extensions of the formats' files.
var extensions = map[string]string{"markdown": "md", "junit": "xml", "text": "txt", "prometheus": "prom"}

// Pack makes an artifact of a saved result, with one file for each format. The same result gives the same bytes:
// dates are shown as of its end.
func Pack(s *Saved, formats ...string) (*Packed, error) {
	p := &Packed{Blobs: []Blob{{ocispec.DescriptorEmptyJSON, ocispec.DescriptorEmptyJSON.Data}}}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: migrate.ReportType, Config: ocispec.DescriptorEmptyJSON,
		Annotations: map[string]string{
			ocispec.AnnotationCreated:         s.End.Ended.UTC().Format(time.RFC3339),
			"io.dct2notation.report.of":       s.Head.Of,
			"io.dct2notation.report.tool":     s.Head.Tool,
			"io.dct2notation.report.well":     strconv.FormatBool(s.End.Well),
			"io.dct2notation.report.complete": strconv.FormatBool(s.End.Complete),
		},
	}
	for _, format := range formats {
		var b bytes.Buffer
		if err := Render(&b, format, s, Options{Now: s.End.Ended}); err != nil {
			return nil, fmt.Errorf("packing the report as %s: %w", format, err)
		}
		extension, mediaType := format, "text/plain"
		if e := extensions[format]; e != "" {
			extension = e
		}
		if t := mediaTypes[format]; t != "" {
			mediaType = t
		}
		d := ocispec.Descriptor{
			MediaType: mediaType, Digest: digest.FromBytes(b.Bytes()), Size: int64(b.Len()),
			Annotations: map[string]string{ocispec.AnnotationTitle: s.Head.Of + "." + extension},
		}
		m.Layers = append(m.Layers, d)
		p.Blobs = append(p.Blobs, Blob{d, b.Bytes()})
	}
	var err error
	p.Manifest, err = json.Marshal(m)
	return p, err
}
