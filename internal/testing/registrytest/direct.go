package registrytest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// mediaTypeNotation is the artifact type of Notation signatures.
const mediaTypeNotation = "application/vnd.cncf.notary.signature"

// PutManifest stores manifest bytes under a tag, or by digest only if tag is empty. The registry's rules
// apply: the blobs it names must be there.
func (r *Registry) PutManifest(repo, tag, mediaType string, body []byte) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}
	if tag == "" {
		tag = d.Digest.String()
	}
	_, err := r.do(http.MethodPut, manifestPath(repo, tag), mediaType, body, http.StatusCreated)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return d, nil
}

// Tag makes tag point to the manifest with this digest, which must exist.
func (r *Registry) Tag(repo, tag, digest string) error {
	got, err := r.do(http.MethodGet, manifestPath(repo, digest), "", nil, http.StatusOK)
	if err != nil {
		return err
	}
	_, err = r.do(http.MethodPut, manifestPath(repo, tag), got.header.Get("Content-Type"), got.body.Bytes(), http.StatusCreated)
	return err
}

// Delete removes the manifest with this digest and its tags, or, given a tag, only the tag.
func (r *Registry) Delete(repo, digest string) error {
	_, err := r.do(http.MethodDelete, manifestPath(repo, digest), "", nil, http.StatusAccepted)
	return err
}

// Resolve returns the manifest that a tag or digest refers to. It returns an error if there is none.
func (r *Registry) Resolve(repo, reference string) (ocispec.Descriptor, error) {
	got, err := r.do(http.MethodGet, manifestPath(repo, reference), "", nil, http.StatusOK)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{
		MediaType: got.header.Get("Content-Type"),
		Digest:    digest.FromBytes(got.body.Bytes()),
		Size:      int64(got.body.Len()),
	}, nil
}

// Manifest returns the bytes of the manifest that a tag or digest refers to.
func (r *Registry) Manifest(repo, reference string) ([]byte, error) {
	got, err := r.do(http.MethodGet, manifestPath(repo, reference), "", nil, http.StatusOK)
	if err != nil {
		return nil, err
	}
	return got.body.Bytes(), nil
}

// Signatures is the oracle: it returns the Notation signatures that a client without any memory sees listed for the
// image with this digest, by the referrers API or, without it, by the sha256-<hex> tag. The list may be empty. A
// signature that is stored but not listed is not included.
func (r *Registry) Signatures(repo, subject string) ([]ocispec.Descriptor, error) {
	parsed, err := digest.Parse(subject)
	if err != nil {
		return nil, fmt.Errorf("listing signatures of %q: %w", subject, err)
	}
	path := "/v2/" + repo + "/referrers/" + subject
	if !r.store.referrers {
		path = manifestPath(repo, parsed.Algorithm().String()+"-"+parsed.Encoded())
	}
	got, err := r.store.do(http.MethodGet, path, "", nil)
	if err != nil {
		return nil, fmt.Errorf("listing signatures of %s@%s: %w", repo, subject, err)
	}
	if got.status == http.StatusNotFound {
		return nil, nil
	}
	var index ocispec.Index
	if err := json.Unmarshal(got.body.Bytes(), &index); err != nil {
		return nil, fmt.Errorf("reading the list of signatures of %s@%s: %w", repo, subject, err)
	}
	var signatures []ocispec.Descriptor
	for _, d := range index.Manifests {
		if d.ArtifactType == mediaTypeNotation {
			signatures = append(signatures, d)
		}
	}
	return signatures, nil
}

// SignatureBlob returns the envelope of a signature listed by Signatures, and the envelope's media type.
func (r *Registry) SignatureBlob(repo string, signature ocispec.Descriptor) (mediaType string, envelope []byte, err error) {
	got, err := r.do(http.MethodGet, manifestPath(repo, signature.Digest.String()), "", nil, http.StatusOK)
	if err != nil {
		return "", nil, err
	}
	var m manifest
	if err := json.Unmarshal(got.body.Bytes(), &m); err != nil {
		return "", nil, fmt.Errorf("reading signature manifest %s: %w", signature.Digest, err)
	}
	if len(m.Layers) != 1 {
		return "", nil, fmt.Errorf("reading signature manifest %s: %d layers, want 1", signature.Digest, len(m.Layers))
	}
	content, ok := r.store.blobs.get(repo, m.Layers[0].Digest.String())
	if !ok {
		return "", nil, fmt.Errorf("reading signature %s: no blob %s", signature.Digest, m.Layers[0].Digest)
	}
	return m.Layers[0].MediaType, content, nil
}

// do performs a request in this process and expects a status.
func (r *Registry) do(method, path, mediaType string, body []byte, want int) (*answer, error) {
	got, err := r.store.do(method, path, mediaType, body)
	if err != nil {
		return nil, fmt.Errorf("asking the test registry for %s %s: %w", method, path, err)
	}
	if got.status != want {
		return nil, fmt.Errorf("asking the test registry for %s %s: status %d: %s", method, path, got.status, got.body.String())
	}
	return got, nil
}

func manifestPath(repo, reference string) string { return "/v2/" + repo + "/manifests/" + reference }

// Attached returns all stored manifests that name a subject, by the subject's digest, in the order in which
// they came: with or without the referrers API, listed under the sha256-<hex> tag or not.
func (r *Registry) Attached(repo string) map[string][]ocispec.Descriptor {
	r.store.mu.RLock()
	defer r.store.mu.RUnlock()
	all := map[string][]ocispec.Descriptor{}
	if in := r.store.index[repo]; in != nil {
		for subject, list := range in.referrers {
			all[subject] = slices.Clone(list)
		}
	}
	return all
}

// Tags returns what each tag of a repository points to.
func (r *Registry) Tags(repo string) map[string]string {
	r.store.mu.RLock()
	defer r.store.mu.RUnlock()
	if in := r.store.index[repo]; in != nil {
		return maps.Clone(in.tags)
	}
	return nil
}

// DeleteBlob removes a blob from a repository, whatever refers to it, like a garbage collection gone wrong.
func (r *Registry) DeleteBlob(repo, digest string) error {
	_, err := r.do(http.MethodDelete, "/v2/"+repo+"/blobs/"+digest, "", nil, http.StatusAccepted)
	return err
}
