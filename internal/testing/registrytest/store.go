package registrytest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/bearer"
)

const catalogPath = "/v2/_catalog"

// store is the registry itself: go-containerregistry keeps manifests and uploads; the index beside it has what lists
// and referrers need.
type store struct {
	registry  http.Handler
	blobs     *blobs
	referrers bool
	twoSteps  bool // for every upload

	// mu is held over every change of a manifest, so that index and registry agree.
	mu    sync.RWMutex
	index map[string]*repository // guarded by mu

	uploads uploads
}

// repository is what the index knows about one repository.
type repository struct {
	tags      map[string]string               // tag -> digest
	subjects  map[string]string               // digest of a referrer -> digest of its subject
	referrers map[string][]ocispec.Descriptor // digest of a subject -> its referrers, as they came
}

func newStore(o Options) *store {
	b := newBlobs()
	return &store{
		registry: registry.New(registry.WithBlobHandler(b), registry.Logger(log.New(io.Discard, "", 0))),
		blobs:    b, referrers: o.Referrers, twoSteps: o.TwoStepUploads,
		index: map[string]*repository{},
	}
}

// route splits "/v2/<repository>/<kind>/<reference>". kind is manifests, tags, referrers or blobs; the reference of
// an upload is "uploads" and what follows.
func route(path string) (repo, kind, reference string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return "", "", "", false
	}
	for _, kind := range []string{"blobs", "manifests", "referrers", "tags"} {
		if i := strings.LastIndex(rest, "/"+kind+"/"); i > 0 {
			return rest[:i], kind, rest[i+len(kind)+2:], true
		}
	}
	return "", "", "", false
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	repo, kind, reference, _ := route(r.URL.Path)
	switch {
	case r.URL.Path == catalogPath && r.Method == http.MethodGet:
		s.serveCatalog(w, r)
	case kind == "tags" && reference == "list" && r.Method == http.MethodGet:
		s.serveTags(w, r, repo)
	case kind == "referrers" && s.referrers && r.Method == http.MethodGet:
		s.serveReferrers(w, r, repo, reference)
	case kind == "manifests" && r.Method == http.MethodPut:
		s.putManifest(w, r, repo, reference)
	case kind == "manifests" && r.Method == http.MethodDelete:
		s.deleteManifest(w, r, repo, reference)
	case kind == "blobs" && isUpload(reference):
		s.serveUpload(w, r, repo, reference)
	default:
		s.registry.ServeHTTP(w, r)
	}
}

// do performs a request in this process.
func (s *store) do(method, path, mediaType string, body []byte) (*answer, error) {
	req, err := http.NewRequest(method, path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", mediaType)
	got := newAnswer()
	s.ServeHTTP(got, req)
	return got, nil
}

// maxManifest is the size up to which registries accept manifests.
const maxManifest = 4 << 20

// A manifest is the part of an image manifest or an index that the registry itself reads.
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
		bearer.Refuse(w, http.StatusBadRequest, "MANIFEST_INVALID", "unreadable body")
		return
	}
	if len(body) > maxManifest {
		bearer.Refuse(w, http.StatusRequestEntityTooLarge, "SIZE_INVALID", "manifest too large")
		return
	}
	own := digest.FromBytes(body)
	if strings.Contains(reference, ":") && reference != own.String() {
		bearer.Refuse(w, http.StatusBadRequest, "DIGEST_INVALID", "the manifest's digest is "+own.String())
		return
	}
	var m manifest
	mediaType := r.Header.Get("Content-Type")
	known := types.MediaType(mediaType)
	if known.IsImage() || known.IsIndex() {
		if err := json.Unmarshal(body, &m); err != nil {
			bearer.Refuse(w, http.StatusBadRequest, "MANIFEST_INVALID", err.Error())
			return
		}
	}
	if missing := s.missing(repo, m); missing != "" {
		bearer.Refuse(w, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry: "+missing)
		return
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: own, Size: int64(len(body))}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.keep(r, repo, reference, desc, m).sendTo(w)
}

// keep stores the manifest and, if that succeeds, what the index needs of it.
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

// refer records a referrer once, however often it is pushed.
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

// missing returns a blob that the manifest needs and the repository does not have; empty if there is none.
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

// dropTag removes a tag from go-containerregistry, which would otherwise still serve it after its digest is gone.
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

// blobs stores blobs for go-containerregistry. Its own store shares them between all repositories, which hides from
// clients that they never pushed the config where they needed it. Here a repository has only what was pushed to it;
// the bytes are kept once.
type blobs struct {
	mu    sync.RWMutex
	bytes map[string][]byte              // by digest
	of    map[string]map[string]struct{} // repository -> digests
}

func newBlobs() *blobs {
	return &blobs{bytes: map[string][]byte{}, of: map[string]map[string]struct{}{}}
}

// Stat implements registry.BlobStatHandler.
func (b *blobs) Stat(_ context.Context, repo string, h v1.Hash) (int64, error) {
	content, ok := b.get(repo, h.String())
	if !ok {
		return 0, registry.ErrNotFound
	}
	return int64(len(content)), nil
}

// Get implements registry.BlobHandler.
func (b *blobs) Get(_ context.Context, repo string, h v1.Hash) (io.ReadCloser, error) {
	content, ok := b.get(repo, h.String())
	if !ok {
		return nil, registry.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// Put implements registry.BlobPutHandler; rc fails at its end if the digest differs.
func (b *blobs) Put(_ context.Context, repo string, h v1.Hash, rc io.ReadCloser) error {
	defer rc.Close()
	content, err := io.ReadAll(rc)
	if err != nil {
		return fmt.Errorf("reading blob %s: %w", h, err)
	}
	// An upload arrives under name/blobs/uploads/id, of which go-containerregistry removes only the end.
	b.put(strings.TrimSuffix(repo, "/blobs"), h.String(), content)
	return nil
}

// Delete implements registry.BlobDeleteHandler.
func (b *blobs) Delete(_ context.Context, repo string, h v1.Hash) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.of[repo][h.String()]; !ok {
		return registry.ErrNotFound
	}
	delete(b.of[repo], h.String())
	return nil
}

func (b *blobs) get(repo, digest string) ([]byte, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if _, ok := b.of[repo][digest]; !ok {
		return nil, false
	}
	return b.bytes[digest], true
}

func (b *blobs) put(repo, digest string, content []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.of[repo] == nil {
		b.of[repo] = map[string]struct{}{}
	}
	b.of[repo][digest] = struct{}{}
	b.bytes[digest] = content
}

// uploads are the open upload sessions. go-containerregistry keeps no list of them, and cannot cancel one.
type uploads struct {
	mu  sync.Mutex
	ids map[string]bool // guarded by mu
}

func isUpload(reference string) bool {
	return reference == "uploads" || strings.HasPrefix(reference, "uploads/")
}

// serveUpload records uploads that begin and end, and cancels them itself.
func (s *store) serveUpload(w http.ResponseWriter, r *http.Request, _, reference string) {
	id := strings.TrimPrefix(reference, "uploads/")
	if r.Method == http.MethodDelete {
		if !s.uploads.end(id) {
			bearer.Refuse(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "no such upload")
			return
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if s.twoSteps && r.Method == http.MethodPost {
		r = r.Clone(r.Context())
		r.URL.RawQuery = ""
	}
	got := newAnswer()
	s.registry.ServeHTTP(got, r)
	switch {
	case r.Method == http.MethodPost && got.status == http.StatusAccepted:
		s.uploads.begin(path.Base(got.header.Get("Location")))
	case r.Method == http.MethodPut && got.status == http.StatusCreated:
		s.uploads.end(id)
	}
	got.sendTo(w)
}

func (u *uploads) begin(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ids == nil {
		u.ids = map[string]bool{}
	}
	u.ids[id] = true
}

func (u *uploads) end(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	known := u.ids[id]
	delete(u.ids, id)
	return known
}

func (u *uploads) open() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.ids)
}

// serveReferrers lists the manifests that name the subject, whether the subject exists or not.
func (s *store) serveReferrers(w http.ResponseWriter, r *http.Request, repo, subject string) {
	if _, err := digest.Parse(subject); err != nil {
		bearer.Refuse(w, http.StatusBadRequest, "UNSUPPORTED", "not a digest")
		return
	}
	wanted := r.URL.Query().Get("artifactType")
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}
	s.mu.RLock()
	if in := s.index[repo]; in != nil {
		for _, d := range in.referrers[subject] {
			if wanted == "" || d.ArtifactType == wanted {
				index.Manifests = append(index.Manifests, d)
			}
		}
	}
	s.mu.RUnlock()
	if wanted != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	sendJSON(w, ocispec.MediaTypeImageIndex, index)
}

// serveTags lists a repository's tags, in pages if requested.
func (s *store) serveTags(w http.ResponseWriter, r *http.Request, repo string) {
	s.mu.RLock()
	in := s.index[repo]
	var tags []string
	if in != nil {
		tags = slices.Sorted(maps.Keys(in.tags))
	}
	s.mu.RUnlock()
	if in == nil {
		bearer.Refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
		return
	}
	if tags, ok := page(w, r, tags); ok {
		sendJSON(w, "application/json", struct {
			Name string   `json:"name"`
			Tags []string `json:"tags"`
		}{repo, tags})
	}
}

// serveCatalog lists the repositories that have ever had a manifest.
func (s *store) serveCatalog(w http.ResponseWriter, r *http.Request) {
	s.mu.RLock()
	repos := slices.Sorted(maps.Keys(s.index))
	s.mu.RUnlock()
	if repos, ok := page(w, r, repos); ok {
		sendJSON(w, "application/json", map[string][]string{"repositories": repos})
	}
}

// page reduces the sorted names to what "last" and "n" ask for, and links to the rest in a Link header. If n is not a
// number, it answers with an error and returns false.
func page(w http.ResponseWriter, r *http.Request, names []string) ([]string, bool) {
	query := r.URL.Query()
	if last := query.Get("last"); last != "" {
		names = names[sort.Search(len(names), func(i int) bool { return names[i] > last }):]
	}
	if query.Get("n") == "" {
		return names, true
	}
	n, err := strconv.Atoi(query.Get("n"))
	if err != nil || n < 1 {
		bearer.Refuse(w, http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "n must be a positive number")
		return nil, false
	}
	if n < len(names) {
		names = names[:n]
		rest := url.Values{"n": {strconv.Itoa(n)}, "last": {names[n-1]}}
		w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, r.URL.Path, rest.Encode()))
	}
	return names, true
}

func sendJSON(w http.ResponseWriter, mediaType string, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		bearer.Refuse(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	w.Write(body)
}
