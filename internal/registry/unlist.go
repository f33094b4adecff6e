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
	path := "/manifests/" + fallbackTag(image)
	mediaType, old, err := r.get(ctx, path, ocispec.MediaTypeImageIndex, maxManifest)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	// GitLab finds the image itself under that tag.
	if mediaType != ocispec.MediaTypeImageIndex || digest.FromBytes(old) == image {
		return nil
	}
	without, changed, err := withoutEntry(old, signature)
	if err != nil || !changed {
		return err
	}
	req, err := http.NewRequestWithContext(r.scoped(ctx), http.MethodPut, r.base+path, bytes.NewReader(without))
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
	return aboutAnother(resp.Header, digest.FromBytes(without))
}

// withoutEntry is the index without the signatures of that digest.
func withoutEntry(index []byte, signature digest.Digest) (without []byte, changed bool, err error) {
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
		if err := json.Unmarshal(e, &d); err == nil && d.Digest == signature && (d.ArtifactType == ArtifactType || d.ArtifactType == "") {
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
