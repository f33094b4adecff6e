package registrytest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxManifest is the size up to which registries accept manifests.
const maxManifest = 4 << 20

// A manifest is the part of an image manifest or an index that the registry itself looks at.
type manifest struct {
	ArtifactType string               `json:"artifactType"`
	Config       *ocispec.Descriptor  `json:"config"`
	Layers       []ocispec.Descriptor `json:"layers"`
	Subject      *ocispec.Descriptor  `json:"subject"`
	Annotations  map[string]string    `json:"annotations"`
}

func (s *store) putManifest(w http.ResponseWriter, r *http.Request, repo, reference string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxManifest+1))
	if err != nil {
		refuse(w, http.StatusBadRequest, "MANIFEST_INVALID", "unreadable body")
		return
	}
	if len(body) > maxManifest {
		refuse(w, http.StatusRequestEntityTooLarge, "SIZE_INVALID", "manifest too large")
		return
	}
	own := digest.FromBytes(body)
	if strings.Contains(reference, ":") && reference != own.String() {
		refuse(w, http.StatusBadRequest, "DIGEST_INVALID", "the manifest's digest is "+own.String())
		return
	}
	var m manifest
	mediaType := r.Header.Get("Content-Type")
	known := types.MediaType(mediaType)
	if known.IsImage() || known.IsIndex() {
		if err := json.Unmarshal(body, &m); err != nil {
			refuse(w, http.StatusBadRequest, "MANIFEST_INVALID", err.Error())
			return
		}
	}
	if missing := s.missing(repo, m); missing != "" {
		refuse(w, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry: "+missing)
		return
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: own, Size: int64(len(body))}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.keep(r, repo, reference, desc, m).sendTo(w)
}

// keep stores the manifest and, if that went well, what the index needs of it.
func (s *store) keep(r *http.Request, repo, reference string, desc ocispec.Descriptor, m manifest) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := newAnswer()
	s.registry.ServeHTTP(got, r)
	if got.status != http.StatusCreated {
		return got
	}
	in := s.index[repo]
	if in == nil {
		in = &repository{map[string]string{}, map[string]string{}, map[string][]ocispec.Descriptor{}}
		s.index[repo] = in
	}
	if !strings.Contains(reference, ":") {
		in.tags[reference] = desc.Digest.String()
	}
	if m.Subject != nil {
		in.refer(desc, m)
		if s.referrers {
			// SPEC (OCI distribution, pushing manifests with subject): a registry with the referrers
			// API answers with OCI-Subject. Without it clients fall back to the tag.
			got.header.Set("OCI-Subject", m.Subject.Digest.String())
		}
	}
	return got
}

// refer notes a referrer once, whatever the number of pushes.
func (in *repository) refer(desc ocispec.Descriptor, m manifest) {
	if _, again := in.subjects[desc.Digest.String()]; again {
		return
	}
	// SPEC (OCI distribution, listing referrers): artifactType is the manifest's, or else the media
	// type of its config, as in the signatures of notation v1.
	desc.ArtifactType = m.ArtifactType
	if desc.ArtifactType == "" && m.Config != nil {
		desc.ArtifactType = m.Config.MediaType
	}
	desc.Annotations = m.Annotations
	subject := m.Subject.Digest.String()
	in.subjects[desc.Digest.String()] = subject
	in.referrers[subject] = append(in.referrers[subject], desc)
}

// missing names a blob that the manifest needs and the repository has not; empty if there is none.
func (s *store) missing(repo string, m manifest) string {
	needed := m.Layers
	if m.Config != nil {
		needed = append(slices.Clone(needed), *m.Config)
	}
	for _, d := range needed {
		if _, ok := s.blobs.get(repo, d.Digest.String()); !ok && types.MediaType(d.MediaType).IsDistributable() {
			return d.Digest.String()
		}
	}
	return ""
}

// deleteManifest removes a tag, or a digest and with it the tags that point to it.
func (s *store) deleteManifest(w http.ResponseWriter, r *http.Request, repo, reference string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := newAnswer()
	s.registry.ServeHTTP(got, r)
	if got.status == http.StatusAccepted {
		in := s.index[repo]
		delete(in.tags, reference)
		for tag, d := range in.tags {
			if d == reference {
				s.dropTag(r, repo, tag)
				delete(in.tags, tag)
			}
		}
		in.forget(reference)
	}
	got.sendTo(w)
}

// dropTag removes a tag from go-containerregistry, which would go on serving it after its digest is gone.
func (s *store) dropTag(r *http.Request, repo, tag string) {
	drop := r.Clone(r.Context())
	drop.URL.Path = "/v2/" + repo + "/manifests/" + tag
	s.registry.ServeHTTP(newAnswer(), drop)
}

func (in *repository) forget(referrer string) {
	subject, ok := in.subjects[referrer]
	if !ok {
		return
	}
	delete(in.subjects, referrer)
	in.referrers[subject] = slices.DeleteFunc(in.referrers[subject], func(d ocispec.Descriptor) bool {
		return d.Digest.String() == referrer
	})
}
