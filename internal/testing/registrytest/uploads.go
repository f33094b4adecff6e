package registrytest

import (
	"net/http"
	"path"
	"strings"
	"sync"
)

// uploads are the upload sessions that are open. go-containerregistry keeps no list of them, and
// cannot cancel one.
type uploads struct {
	mu  sync.Mutex
	ids map[string]bool // owned by mu
}

func isUpload(reference string) bool {
	return reference == "uploads" || strings.HasPrefix(reference, "uploads/")
}

// serveUpload takes note of uploads that begin and end, and cancels them itself.
func (s *store) serveUpload(w http.ResponseWriter, r *http.Request, _, reference string) {
	id := strings.TrimPrefix(reference, "uploads/")
	if r.Method == http.MethodDelete {
		if !s.uploads.end(id) {
			refuse(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "no such upload")
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
