package migrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/strictjson"
)

// DCT names an index by its digest, and through the index's bytes the images that it lists. The code here proves that
// it does; vouch calls it before the key is used.

// indexPath is the path from a digest that DCT names to one that it does not: the bytes of an index and, if that
// lists another index, the bytes of that one.
type indexPath [][]byte

// MaxChain is how many indexes may lead to an image.
const MaxChain = 2

// head returns the digest of the first index; empty for an empty path.
func (c indexPath) head() digest.Digest {
	if len(c) == 0 {
		return ""
	}
	return digest.SHA256.FromBytes(c[0])
}

// proves returns an error unless each index lists the next, and the last lists the image with this descriptor. The
// caller checks that DCT names the first one: see head.
func (c indexPath) proves(image ocispec.Descriptor) error {
	if len(c) == 0 || len(c) > MaxChain {
		return fmt.Errorf("%d indexes lead to %s", len(c), image.Digest)
	}
	for i, raw := range c {
		members, err := ReadIndex(raw)
		if err != nil {
			return err
		}
		next := image
		last := i == len(c)-1
		if !last {
			next = ocispec.Descriptor{Digest: digest.SHA256.FromBytes(c[i+1]), Size: int64(len(c[i+1]))}
		}
		listed := false
		for _, m := range members {
			listed = listed || m.Digest == next.Digest && m.Size == next.Size && (m.MediaType == next.MediaType || !last && IndexTypes[m.MediaType])
		}
		if !listed {
			return fmt.Errorf("index %s does not list %s", digest.SHA256.FromBytes(raw), next.Digest)
		}
	}
	return nil
}

// IndexTypes are the media types of manifests that list images by digest.
var IndexTypes = map[string]bool{
	ocispec.MediaTypeImageIndex:                                 true,
	"application/vnd.docker.distribution.manifest.list.v2+json": true,
}

// Member is an entry of an index.
type Member struct {
	ocispec.Descriptor        // as listed: media type, digest and size
	Platform           string // such as linux/arm64/v8; empty if it says none
	// Attests reports that the entry is not an image: buildkit keeps its attestations of an image there.
	Attests bool
}

// Bounds of an index.
const (
	maxIndex   = 4 << 20 // bytes; registries take no more
	maxMembers = 1000
)

// ReadIndex reads an index, and refuses what another reader could understand differently: fields that occur twice or
// in another case, data after the end, and an index that is an image manifest as well.
func ReadIndex(raw []byte) ([]Member, error) {
	if len(raw) > maxIndex {
		return nil, fmt.Errorf("index of %d bytes, more than %d", len(raw), maxIndex)
	}
	if err := strictjson.Check(raw); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	top, err := object(raw, "schemaVersion", "mediaType", "manifests", "config", "layers", "fsLayers", "blobs")
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	for _, other := range []string{"config", "layers", "fsLayers", "blobs"} {
		if _, ok := top[other]; ok {
			return nil, fmt.Errorf("index: it is an image manifest as well: it has %q", other)
		}
	}
	var version int
	var mediaType string
	var entries []json.RawMessage
	switch {
	case field(top, "schemaVersion", &version) != nil || version != 2:
		return nil, errors.New("index: its schemaVersion is not 2")
	case top["mediaType"] != nil && (field(top, "mediaType", &mediaType) != nil || !IndexTypes[mediaType]):
		return nil, errors.New("index: its mediaType is not that of an index")
	case field(top, "manifests", &entries) != nil || entries == nil:
		return nil, errors.New("index: it lists nothing")
	case len(entries) > maxMembers:
		return nil, fmt.Errorf("index: it lists %d manifests, more than %d", len(entries), maxMembers)
	}
	var members []Member
	known := map[digest.Digest]Member{}
	for i, e := range entries {
		m, err := readMember(e)
		if err != nil {
			return nil, fmt.Errorf("index: entry %d: %w", i+1, err)
		}
		before, twice := known[m.Digest]
		switch {
		case !twice: // one image may be listed for several platforms
			members = append(members, m)
			known[m.Digest] = m
		case before.MediaType != m.MediaType || before.Size != m.Size:
			return nil, fmt.Errorf("index: %s is listed twice and differs", m.Digest)
		}
	}
	return members, nil
}

func readMember(raw []byte) (Member, error) {
	var m Member
	e, err := object(raw, "mediaType", "digest", "size", "platform", "annotations")
	if err != nil {
		return m, err
	}
	switch {
	case field(e, "mediaType", &m.MediaType) != nil || m.MediaType == "":
		return m, errors.New("no mediaType")
	case field(e, "digest", &m.Digest) != nil || m.Digest.Validate() != nil || m.Digest.Algorithm() != digest.SHA256:
		return m, errors.New("no sha256 digest")
	case field(e, "size", &m.Size) != nil || m.Size <= 0:
		return m, errors.New("no size")
	}
	var platform struct{ OS, Architecture, Variant string }
	if e["platform"] != nil && field(e, "platform", &platform) != nil {
		return m, errors.New("no platform that can be read")
	}
	if platform.OS != "" || platform.Architecture != "" {
		m.Platform = strings.TrimSuffix(platform.OS+"/"+platform.Architecture+"/"+platform.Variant, "/")
	}
	var annotations map[string]string
	if e["annotations"] != nil && field(e, "annotations", &annotations) != nil {
		return m, errors.New("no annotations that can be read")
	}
	m.Attests = annotations["vnd.docker.reference.type"] == "attestation-manifest" || m.Platform == "unknown/unknown"
	return m, nil
}

// object decodes a JSON object by the exact names of its fields.
func object(raw []byte, known ...string) (map[string]json.RawMessage, error) {
	var o map[string]json.RawMessage
	if err := json.Unmarshal(raw, &o); err != nil || o == nil {
		return nil, errors.New("not a JSON object")
	}
	for name := range o {
		for _, k := range known {
			if name != k && strings.EqualFold(name, k) {
				return nil, fmt.Errorf("field %.40q differs from %q in case only", name, k)
			}
		}
	}
	return o, nil
}

func field(o map[string]json.RawMessage, name string, to any) error {
	raw, ok := o[name]
	if !ok {
		return errors.New("not there")
	}
	return json.Unmarshal(raw, to)
}
