package snapshot

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

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
	err := writeIndex(&index, slices.Values(manifests))
	return index.Bytes(), err
}

// writeIndex writes index.json, one descriptor after the other: for thousands of repositories it has many megabytes,
// and it is written after each hundred of them.
func writeIndex(to io.Writer, manifests iter.Seq[ocispec.Descriptor]) error {
	frame, err := encode(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{},
	})
	if err != nil {
		return err
	}
	out := bufio.NewWriter(to)
	begin, end, _ := bytes.Cut(frame, []byte("[]"))
	_, _ = out.Write(append(begin, '[')) // Flush returns any error
	first := true
	for d := range manifests {
		raw, err := encode(d)
		if err != nil {
			return err
		}
		if !first {
			_ = out.WriteByte(',')
		}
		first = false
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
func descriptor(gun dct.GUN, manifest blob) ocispec.Descriptor {
	d := subject(manifest)
	d.Annotations = map[string]string{annotationGUN: gun.String(), ocispec.AnnotationRefName: refName(gun)}
	return d
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

// listed yields the content of index.json, in its order: the repositories, then what is attached to them.
func (s *Snapshot) listed() iter.Seq[ocispec.Descriptor] {
	return func(yield func(ocispec.Descriptor) bool) {
		for _, gun := range s.GUNs() {
			if !yield(descriptor(gun, s.entries[gun].manifest)) {
				return
			}
		}
		for _, a := range s.present() {
			if !yield(a.descriptor) {
				return
			}
		}
	}
}

// present returns the attachments whose subject is in the snapshot, sorted by digest.
func (s *Snapshot) present() []attachment {
	if len(s.attached) == 0 {
		return nil
	}
	manifests := map[[sha256.Size]byte]bool{}
	for _, e := range s.entries {
		manifests[e.manifest.sum] = true
	}
	list := slices.DeleteFunc(slices.Clone(s.attached), func(a attachment) bool { return !manifests[sumIn(a.subject.Digest)] })
	slices.SortFunc(list, func(a, b attachment) int { return cmp.Compare(a.descriptor.Digest, b.descriptor.Digest) })
	return list
}
