package notarytest

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// ServeHTTP answers one request: first the latency, then the hook, then authentication, then
// the trust data.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	if !pause(r.Context(), s.options.Latency) {
		return
	}
	forToken := s.options.Token && r.URL.Path == tokenPath
	if hook := s.hook.Load(); hook != nil && (*hook)(w, r) {
		if !forToken {
			s.count(r.URL.Path)
		}
		return
	}
	if forToken {
		s.serveToken(w, r)
		return
	}
	target := routeOf(r.Method, r.URL.Path)
	if s.options.Token && !s.tokens.allow(r, scopeOf(target)) {
		s.challenge(w, scopeOf(target))
		return
	}
	s.count(r.URL.Path)
	s.serve(w, r, target)
}

// pause waits, and returns false if the client went away meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Server) count(path string) {
	s.pathsMu.Lock()
	defer s.pathsMu.Unlock()
	s.paths[path]++
}

// serve answers an allowed request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, target route) {
	switch target.kind {
	case ping:
		_, _ = w.Write([]byte("{}"))
	case fetch:
		raw, ok := s.shelf.lookUp(target.gun, target.name)
		if !ok {
			refuse(w, http.StatusNotFound, codeNotFound, nil)
			return
		}
		_, _ = w.Write(raw)
	case publish:
		s.servePublish(w, r, target.gun)
	case erase:
		s.shelf.remove(target.gun)
	case askKey, newKey:
		s.serveKey(w, target)
	case feed, feedOfAll:
		s.serveChanges(w, r, target.gun)
	default:
		refuse(w, http.StatusNotFound, codeNotFound, nil)
	}
}

// An errorCode is what notary-server writes as an error's code.
type errorCode string

const (
	codeNotFound     errorCode = "METADATA_NOT_FOUND"
	codeParameters   errorCode = "INVALID_PARAMETERS"
	codeUpload       errorCode = "MALFORMED_UPLOAD"
	codeJSON         errorCode = "MALFORMED_JSON"
	codeRole         errorCode = "INVALID_ROLE"
	codeUpdate       errorCode = "INVALID_UPDATE"
	codeVersion      errorCode = "VERSION"
	codeUnauthorized errorCode = "UNAUTHORIZED"
	codeUnknown      errorCode = "UNKNOWN"
)

// refuse writes an error the way registries and notary-server do: a list with one member.
// Notary's client reads the reason of a refused publication from detail.
func refuse(w http.ResponseWriter, status int, code errorCode, detail any) {
	type member struct {
		Code    errorCode `json:"code"`
		Message string    `json:"message"`
		Detail  any       `json:"detail"`
	}
	writeJSON(w, status, map[string][]member{
		"errors": {{Code: code, Message: http.StatusText(status), Detail: detail}},
	})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that went away is no error of ours
}
