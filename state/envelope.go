package state

import "fmt"

// An Envelope is a signature in its final bytes, kept in the outbox until the registry shows it.
type Envelope struct {
	MediaType      string            `json:"media_type"`
	Blob           []byte            `json:"blob"`
	Manifest       []byte            `json:"manifest,omitempty"` // already packed, so that a later version cannot pack it differently
	ManifestDigest string            `json:"manifest_digest"`
	LeafThumbprint string            `json:"leaf_thumbprint"` // of the certificate that signed
	Metadata       map[string]string `json:"metadata,omitempty"`
	SignedBy       SignedBy          `json:"signed_by,omitzero"` // zero: made by a version that did not record it
	Beside         bool              `json:"beside,omitempty"`   // deliberately made in addition to a signature of ours
}

// Limits of notation-go: anything larger could never be verified.
const (
	maxBlob     = 32 << 20
	maxManifest = 4 << 20
)

func (e Envelope) check() error {
	switch {
	case len(e.Blob) == 0 || e.MediaType == "":
		return fmt.Errorf("an envelope without bytes or media type")
	case len(e.Blob) > maxBlob:
		return fmt.Errorf("an envelope of %d bytes, more than %d", len(e.Blob), maxBlob)
	case len(e.Manifest) > maxManifest:
		return fmt.Errorf("a signature manifest of %d bytes, more than %d", len(e.Manifest), maxManifest)
	}
	return nil
}
