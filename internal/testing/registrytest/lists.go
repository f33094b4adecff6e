package registrytest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// serveReferrers lists the manifests that name the subject, whether the subject exists or not.
func (s *store) serveReferrers(w http.ResponseWriter, r *http.Request, repo, subject string) {
	if _, err := digest.Parse(subject); err != nil {
		refuse(w, http.StatusBadRequest, "UNSUPPORTED", "not a digest")
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

// serveTags lists a repository's tags, in pages if asked to.
func (s *store) serveTags(w http.ResponseWriter, r *http.Request, repo string) {
	s.mu.RLock()
	in := s.index[repo]
	var tags []string
	if in != nil {
		tags = slices.Sorted(maps.Keys(in.tags))
	}
	s.mu.RUnlock()
	if in == nil {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
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

// page cuts the sorted names down to what "last" and "n" ask for, and points to the rest in a Link
// header. It answers itself, and says false, if n is no number.
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
		refuse(w, http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "n must be a positive number")
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
		refuse(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	w.Write(body)
}
