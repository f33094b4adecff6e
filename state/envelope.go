package state

import "fmt"

// An Envelope is a signature as it will lie in the registry, kept in the
// outbox until the registry shows it.
type Envelope struct {
	MediaType      string            `json:"media_type"`
	Blob           []byte            `json:"blob"`
	Manifest       []byte            `json:"manifest,omitempty"` // packed, so that no later version packs it differently
	ManifestDigest string            `json:"manifest_digest"`
	LeafThumbprint string            `json:"leaf_thumbprint"` // of the certificate that signed
	Metadata       map[string]string `json:"metadata,omitempty"`
	SignedBy       SignedBy          `json:"signed_by,omitzero"` // zero: made by a version that did not record it
	Beside         bool              `json:"beside,omitempty"`   // made on purpose beside a signature of ours that was found
}

// Limits of notation-go: what is larger could never be verified.
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
