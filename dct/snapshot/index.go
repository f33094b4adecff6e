package snapshot

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// layoutFile is the content of oci-layout.
const layoutFile = `{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`

// newIndex builds index.json from the descriptors in the given order.
func newIndex(manifests []ocispec.Descriptor) ([]byte, error) {
	var index bytes.Buffer
	err := writeIndex(&index, manifests)
	return index.Bytes(), err
}

// writeIndex writes index.json, one descriptor after the other: for thousands of repositories it has many megabytes,
// and it is written after each hundred of them.
func writeIndex(to io.Writer, manifests []ocispec.Descriptor) error {
	frame, err := encode(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{},
	})
	if err != nil {
		return err
	}
	out := bufio.NewWriter(to)
	begin, end, _ := bytes.Cut(frame, []byte("[]"))
	_, _ = out.Write(append(begin, '[')) // Flush returns any error
	for i, d := range manifests {
		raw, err := encode(d)
		if err != nil {
			return err
		}
		if i > 0 {
			_ = out.WriteByte(',')
		}
		_, _ = out.Write(raw)
	}
	_, _ = out.Write(append([]byte{']'}, end...))
	return out.Flush()
}

// parseIndex reads index.json, even as rewritten by tools that copied the layout. Each descriptor in the result has a
// digest that is safe as a file name, and a size within bounds.
func parseIndex(raw []byte) ([]ocispec.Descriptor, error) {
	var idx ocispec.Index
	if err := decode(raw, &idx); err != nil {
		return nil, err
	}
	if idx.SchemaVersion != 2 || idx.MediaType != "" && idx.MediaType != ocispec.MediaTypeImageIndex {
		return nil, errors.New("it is no OCI image index")
	}
	for i, d := range idx.Manifests {
		if err := checkDigest(d.Digest); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		if d.Size <= 0 || d.Size > maxManifest {
			return nil, fmt.Errorf("entry %d: its size is %d", i, d.Size)
		}
		if d.MediaType != ocispec.MediaTypeImageManifest {
			return nil, fmt.Errorf("entry %d: %s is not the media type of a manifest", i, safetext.Safe(d.MediaType, 100))
		}
	}
	return idx.Manifests, nil
}

// descriptor is the entry of a repository in index.json.
func descriptor(gun dct.GUN, manifest []byte) ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: ArtifactType,
		Digest: sumOf(manifest), Size: int64(len(manifest)),
		Annotations: map[string]string{annotationGUN: gun.String(), ocispec.AnnotationRefName: refName(gun)},
	}
}

// claimed returns the GUN of an entry in index.json, if present: registries lose it.
func claimed(d ocispec.Descriptor) (gun dct.GUN, ok bool, err error) {
	name, ok := d.Annotations[annotationGUN]
	if !ok {
		return dct.GUN{}, false, nil
	}
	gun, err = parseGUN(name)
	return gun, err == nil, err
}

// checkEntry compares an entry of index.json with the repository it points to.
func checkEntry(d ocispec.Descriptor, gun dct.GUN) error {
	if d.ArtifactType != "" && d.ArtifactType != ArtifactType {
		return fmt.Errorf("the artifact type of %s is given as %s", gun, safetext.Safe(d.ArtifactType, 100))
	}
	for key, value := range d.Annotations {
		switch {
		case key == annotationGUN && value == gun.String():
		case key == ocispec.AnnotationRefName && value == refName(gun):
		case key == ocispec.AnnotationRefName:
			return fmt.Errorf("%s has the reference %s, and %s is its name in snapshots", gun, safetext.Safe(value, 128), refName(gun))
		case key == annotationGUN:
			return fmt.Errorf("%s is the manifest of %s", safetext.Safe(value, 256), gun)
		default:
			return fmt.Errorf("%s has the unknown annotation %s", gun, safetext.Safe(key, 128))
		}
	}
	return nil
}

func byGUN(a, b dct.GUN) int { return strings.Compare(a.String(), b.String()) }

// sortEntries sorts descriptors into the order of index.json.
func sortEntries(entries map[dct.GUN]*entry, attached []attachment) []ocispec.Descriptor {
	list := make([]ocispec.Descriptor, 0, len(entries)+len(attached))
	for _, gun := range sortedGUNs(entries) {
		list = append(list, entries[gun].descriptor)
	}
	if len(attached) == 0 {
		return list
	}
	present := map[digest.Digest]bool{}
	for _, d := range list {
		present[d.Digest] = true
	}
	kept := slices.Clone(attached)
	slices.SortFunc(kept, func(a, b attachment) int {
		return cmp.Compare(a.descriptor.Digest, b.descriptor.Digest)
	})
	for _, a := range kept {
		if present[a.subject.Digest] {
			list = append(list, a.descriptor)
		}
	}
	return list
}
