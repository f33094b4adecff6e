package registrytest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const mediaTypeSchema1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"

// PutSchema1 stores a manifest of Docker's format version 2 schema 1, which Notation cannot sign. It has
// the form of a signed one; the signature in it is noise. The digest is the one this registry serves:
// that of all bytes, where Docker's own registry leaves the signatures out.
func (r *Registry) PutSchema1(repo, tag string) (ocispec.Descriptor, error) {
	layer, _, err := sharedLayer()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	stored := r.putBlob(repo, mediaTypeDockerLayer, layer)
	payload, err := json.MarshalIndent(map[string]any{
		"schemaVersion": 1,
		"name":          repo,
		"tag":           tag,
		"architecture":  "amd64",
		"fsLayers":      []map[string]string{{"blobSum": stored.Digest.String()}},
		"history":       []map[string]string{{"v1Compatibility": `{"id":"0","os":"linux"}`}},
	}, "", "   ")
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("making a schema 1 manifest: %w", err)
	}
	signed, err := prettySigned(string(payload))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return r.PutManifest(repo, tag, mediaTypeSchema1, []byte(signed))
}

// prettySigned adds signatures in the form called "pretty JWS": inside the payload, before its last brace.
func prettySigned(payload string) (string, error) {
	const tail = "\n}"
	head := strings.TrimSuffix(payload, tail)
	protected, err := json.Marshal(map[string]any{
		"formatLength": len(head),
		"formatTail":   base64.RawURLEncoding.EncodeToString([]byte(tail)),
		"time":         "2015-06-01T00:00:00Z",
	})
	if err != nil {
		return "", fmt.Errorf("making a schema 1 signature: %w", err)
	}
	signatures, err := json.Marshal([]map[string]any{{
		"header":    map[string]any{"alg": "ES256", "jwk": map[string]string{"kty": "EC", "crv": "P-256"}},
		"protected": base64.RawURLEncoding.EncodeToString(protected),
		"signature": base64.RawURLEncoding.EncodeToString(make([]byte, 64)),
	}})
	if err != nil {
		return "", fmt.Errorf("making a schema 1 signature: %w", err)
	}
	return head + ",\n   \"signatures\": " + string(signatures) + tail, nil
}
