package registrytest

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const catalogPath = "/v2/_catalog"

// store is the registry proper: go-containerregistry keeps manifests and uploads; the index beside it
// knows what lists and referrers need.
type store struct {
	registry  http.Handler
	blobs     *blobs
	referrers bool
	twoSteps  bool // for every upload

	// mu is held over every change of a manifest, so that index and registry agree.
	mu    sync.RWMutex
	index map[string]*repository // owned by mu

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

// route splits "/v2/<repository>/<kind>/<reference>". kind is manifests, tags, referrers or blobs; the
// reference of an upload is "uploads" and what follows.
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
