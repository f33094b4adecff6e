package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/lookup"
)

// fallbackTag is where clients, oras-go among them, keep the list of an image's signatures
// where there is no referrers API.
func fallbackTag(image digest.Digest) string {
	return image.Algorithm().String() + "-" + image.Encoded()
}

// unlist takes a signature off the list under the referrers tag, if it is there. It looks also
// where the registry has the API: the signature may have been pushed with the tag forced. All
// other entries, and whatever else the list holds, stay as they are, byte for byte.
//
// A list that becomes empty stays: deleting it by its digest would delete that of every other
// image whose list is empty too, being the same bytes.
func (r *Repository) unlist(ctx context.Context, image, signature digest.Digest) error {
	old, err := r.fallbackList(ctx, image)
	if err != nil || old == nil {
		return err
	}
	without, changed, err := withoutEntries(old, func(d ocispec.Descriptor) bool {
		return d.Digest == signature && (d.ArtifactType == ArtifactType || d.ArtifactType == "")
	})
	if err != nil || !changed {
		return err
	}
	return r.putList(ctx, image, without)
}

// unlistGone takes off the list what the registry itself says is not there, of whatever kind:
// registries that check lists refuse every new one for the sake of such an entry, and notation
// gives up at it. What is there, and what is not known, stays.
func (r *Repository) unlistGone(ctx context.Context, image digest.Digest) (changed bool, err error) {
	old, err := r.fallbackList(ctx, image)
	if err != nil || old == nil {
		return false, err
	}
	without, changed, err := withoutEntries(old, func(d ocispec.Descriptor) bool {
		if d.Digest.Validate() != nil {
			return false
		}
		_, err := r.manifestOf(ctx, d.Digest)
		return lookup.IsAbsent(err)
	})
	// What was not found out for want of time must not look as if it had been.
	if err = errors.Join(err, ctx.Err()); err != nil || !changed {
		return false, err
	}
	return true, r.putList(ctx, image, without)
}

// fallbackList is the list under the referrers tag; nil if there is none.
func (r *Repository) fallbackList(ctx context.Context, image digest.Digest) ([]byte, error) {
	mediaType, list, err := r.get(ctx, "/manifests/"+fallbackTag(image), ocispec.MediaTypeImageIndex, maxManifest)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// GitLab finds the image itself under that tag.
	if mediaType != ocispec.MediaTypeImageIndex || digest.FromBytes(list) == image {
		return nil, nil
	}
	return list, nil
}

func (r *Repository) putList(ctx context.Context, image digest.Digest, list []byte) error {
	req, err := http.NewRequestWithContext(r.scoped(ctx), http.MethodPut, r.base+"/manifests/"+fallbackTag(image), bytes.NewReader(list))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", ocispec.MediaTypeImageIndex)
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return problem(resp)
	}
	return aboutAnother(resp.Header, digest.FromBytes(list))
}

// withoutEntries is the index without those entries.
func withoutEntries(index []byte, off func(ocispec.Descriptor) bool) (without []byte, changed bool, err error) {
	var all map[string]json.RawMessage
	var entries []json.RawMessage
	if err := json.Unmarshal(index, &all); err != nil {
		return nil, false, fmt.Errorf("reading the list of signatures: %w", err)
	}
	if err := json.Unmarshal(all["manifests"], &entries); err != nil {
		return nil, false, fmt.Errorf("reading the list of signatures: %w", err)
	}
	kept := []json.RawMessage{} // an index has a list, if an empty one
	for _, e := range entries {
		var d ocispec.Descriptor
		if err := json.Unmarshal(e, &d); err == nil && off(d) {
			changed = true
			continue
		}
		kept = append(kept, e)
	}
	if !changed {
		return nil, false, nil
	}
	if all["manifests"], err = json.Marshal(kept); err != nil {
		return nil, false, err
	}
	without, err = json.Marshal(all)
	return without, true, err
}
