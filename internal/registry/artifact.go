package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ErrTaken is returned if a tag is in use for something else.
var ErrTaken = errors.New("the tag is in use")

// Blob is a blob of an artifact.
type Blob struct {
	Descriptor ocispec.Descriptor
	Data       []byte
}

// PushArtifact stores blobs and then the manifest that lists them, under a tag if one is given. Repeating it is
// harmless. It returns ErrTaken and leaves the tag alone if the tag points elsewhere. It cannot detect two pushes to
// the same tag at the same moment.
func (r *Repository) PushArtifact(ctx context.Context, manifest []byte, blobs []Blob, tag string) (_ ocispec.Descriptor, err error) {
	defer func() { err = classed(err) }()
	desc := describe(ocispec.MediaTypeImageManifest, manifest)
	return desc, r.failed("pushing artifact "+desc.Digest.String(), r.pushArtifact(ctx, desc, manifest, blobs, tag))
}

func (r *Repository) pushArtifact(ctx context.Context, desc ocispec.Descriptor, manifest []byte, blobs []Blob, tag string) error {
	if r.readOnly {
		return errReadOnly
	}
	reference := desc.Digest.String()
	if tag != "" {
		answer := r.ResolveTag(ctx, tag)
		now, taken := answer.Value()
		switch {
		case answer.Err() != nil && !errors.Is(answer.Err(), errNoRepository): // the push creates the repository
			return answer.Err()
		case taken && now != desc.Digest:
			return fmt.Errorf("%w: %s is %s", ErrTaken, tag, now)
		}
		reference = tag
	}
	for _, b := range blobs {
		if err := match(b.Descriptor, b.Data); err != nil {
			return err
		}
		there, err := r.hasBlob(ctx, b.Descriptor.Digest)
		if err == nil && !there {
			err = r.pushBlob(ctx, b.Descriptor, b.Data)
		}
		if err != nil {
			return fmt.Errorf("pushing a file: %w", err)
		}
	}
	return r.remote.Manifests().PushReference(r.scoped(ctx), desc, bytes.NewReader(manifest), reference)
}
