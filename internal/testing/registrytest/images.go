package registrytest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker's image format, version 2 schema 2.
const (
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaTypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
	mediaTypeDockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// A format is the set of media types that an image is made of.
type format struct{ manifest, config, layer, list string }

var (
	ociFormat = format{ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig,
		ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageIndex}
	dockerFormat = format{mediaTypeDockerManifest, mediaTypeDockerConfig,
		mediaTypeDockerLayer, mediaTypeDockerList}
)

// PutImage stores a tiny OCI image. Equal seeds give equal digests, different ones different digests. An empty tag
// stores it by digest only.
func (r *Registry) PutImage(repo, tag, seed string) (ocispec.Descriptor, error) {
	return r.putImage(repo, tag, seed, "amd64", ociFormat)
}

// PutDockerImage is PutImage in Docker's format, version 2 schema 2.
func (r *Registry) PutDockerImage(repo, tag, seed string) (ocispec.Descriptor, error) {
	return r.putImage(repo, tag, seed, "amd64", dockerFormat)
}

// PutIndex stores an OCI index of two untagged images, for amd64 and arm64, and returns the index.
func (r *Registry) PutIndex(repo, tag, seed string) (ocispec.Descriptor, error) {
	return r.putList(repo, tag, seed, ociFormat)
}

// PutDockerList is PutIndex with Docker's manifest list.
func (r *Registry) PutDockerList(repo, tag, seed string) (ocispec.Descriptor, error) {
	return r.putList(repo, tag, seed, dockerFormat)
}

func (r *Registry) putImage(repo, tag, seed, architecture string, f format) (ocispec.Descriptor, error) {
	layer, diffID, err := sharedLayer()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	config, err := json.Marshal(ocispec.Image{
		Author:   seed, // what makes one image differ from the next, in either format
		Platform: ocispec.Platform{Architecture: architecture, OS: "linux"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diffID}},
	})
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("making an image config: %w", err)
	}
	body, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: f.manifest,
		Config:    r.putBlob(repo, f.config, config),
		Layers:    []ocispec.Descriptor{r.putBlob(repo, f.layer, layer)},
	})
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("making an image manifest: %w", err)
	}
	return r.PutManifest(repo, tag, f.manifest, body)
}

func (r *Registry) putList(repo, tag, seed string, f format) (ocispec.Descriptor, error) {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: f.list}
	for _, architecture := range []string{"amd64", "arm64"} {
		image, err := r.putImage(repo, "", seed, architecture, f)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		image.Platform = &ocispec.Platform{Architecture: architecture, OS: "linux"}
		index.Manifests = append(index.Manifests, image)
	}
	body, err := json.Marshal(index)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("making an index: %w", err)
	}
	return r.PutManifest(repo, tag, f.list, body)
}

func (r *Registry) putBlob(repo, mediaType string, content []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	r.store.blobs.put(repo, d.Digest.String(), content)
	return d
}

// sharedLayer returns the one layer of all images, and the digest of its content before compression.
func sharedLayer() ([]byte, digest.Digest, error) {
	l, err := onceLayer()
	return l.packed, l.diffID, err
}

type layer struct {
	packed []byte
	diffID digest.Digest
}

var onceLayer = sync.OnceValues(func() (layer, error) {
	var plain, packed bytes.Buffer
	content := []byte("an image of the test registry\n")
	archive := tar.NewWriter(&plain)
	header := &tar.Header{Name: "README", Mode: 0o644, Size: int64(len(content)), Format: tar.FormatUSTAR}
	if err := archive.WriteHeader(header); err != nil {
		return layer{}, fmt.Errorf("making a layer: %w", err)
	}
	if _, err := archive.Write(content); err != nil {
		return layer{}, fmt.Errorf("making a layer: %w", err)
	}
	if err := archive.Close(); err != nil {
		return layer{}, fmt.Errorf("making a layer: %w", err)
	}
	squeeze := gzip.NewWriter(&packed)
	if _, err := squeeze.Write(plain.Bytes()); err != nil {
		return layer{}, fmt.Errorf("making a layer: %w", err)
	}
	if err := squeeze.Close(); err != nil {
		return layer{}, fmt.Errorf("making a layer: %w", err)
	}
	return layer{packed.Bytes(), digest.FromBytes(plain.Bytes())}, nil
})

const mediaTypeSchema1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"

// PutSchema1 stores a manifest of Docker's format version 2 schema 1, which Notation cannot sign. It has the form of
// a signed one; the signature in it is noise. The digest is the one that this registry serves, over all bytes;
// Docker's own registry excludes the signatures.
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
