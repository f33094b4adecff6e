package notarytest

import (
	"net/http"

	"github.com/theupdateframework/notary/tuf/data"
)

// serveKey answers with the public half of a key that the server holds.
func (s *Server) serveKey(w http.ResponseWriter, target route) {
	get := s.serverKey
	if target.kind == newKey {
		get = s.freshKey
	}
	key, err := get(target.gun, data.RoleName(target.name))
	if err != nil {
		refuse(w, http.StatusInternalServerError, codeUnknown, err.Error())
		return
	}
	writeJSON(w, http.StatusOK, key)
}

// serverKey returns the key that the stored root names for the role, if the server holds it.
// Otherwise it makes one, a new one for each question, as the real server does: only the
// root that is published later tells which of them counts.
func (s *Server) serverKey(gun string, role data.RoleName) (data.PublicKey, error) {
	if root, ok := s.shelf.latestRoot(gun); ok {
		if named, err := root.BuildBaseRole(role); err == nil {
			for id := range named.Keys {
				if key := s.ownKeys.GetKey(id); key != nil {
					return key, nil
				}
			}
		}
	}
	return s.freshKey(gun, role)
}

// freshKey makes a key. It counts as soon as a root that names it is published.
func (s *Server) freshKey(gun string, role data.RoleName) (data.PublicKey, error) {
	return s.ownKeys.Create(role, data.GUN(gun), data.ECDSAKey)
}
