package notarytest

import (
	"bytes"
	"strings"
)

// Put stores bytes as the latest file of a role and checks nothing: for forged trust data. The
// files around it stay as they are. A timestamp also makes a record in the changefeed.
func (s *Server) Put(gun, role string, version int, raw []byte) {
	// Without the check for newer versions, add has nothing to refuse.
	_ = s.shelf.add(gun, false, file{role: role, version: version, raw: bytes.Clone(raw)})
}

// Raw returns the latest file of a role, nil if there is none.
func (s *Server) Raw(gun, role string) []byte {
	v, _ := s.shelf.latest(gun, role)
	return bytes.Clone(v.Raw)
}

// History returns all files that a role ever had, oldest first.
func (s *Server) History(gun, role string) []Version {
	var history []Version
	for _, v := range s.shelf.history(gun, role) {
		v.Raw = bytes.Clone(v.Raw)
		history = append(history, v)
	}
	return history
}

// GUNs lists what is stored, sorted.
func (s *Server) GUNs() []string { return s.shelf.listGUNs() }

// Roles lists the roles of a GUN that have a file, sorted.
func (s *Server) Roles(gun string) []string { return s.shelf.listRoles(gun) }

// Delete removes a GUN with all its files, as DELETE does, and records that in the changefeed.
func (s *Server) Delete(gun string) { s.shelf.remove(gun) }

// Record adds a change to the changefeeds that nothing happened for, of a GUN of any form:
// feeds are late, say things twice, and hold what people made of them. The category is
// update or deletion.
func (s *Server) Record(gun, category string) {
	s.shelf.mu.Lock()
	defer s.shelf.mu.Unlock()
	s.shelf.record(change{GUN: gun, Version: 1, SHA256: strings.Repeat("0", 64), Category: category})
}
