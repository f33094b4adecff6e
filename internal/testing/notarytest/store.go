package notarytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/go/canonical/json"
	"github.com/theupdateframework/notary/tuf/data"
)

// errOldVersion is returned if a published file is not newer than the stored one, for example because another
// publisher was faster.
var errOldVersion = errors.New("a newer version is already stored")

// A Version is one stored file of a role, with the bytes as they are served.
type Version struct {
	Number int    // as it was published or given to Put; forged bytes may say otherwise
	SHA256 string // of Raw, in hexadecimal
	Raw    []byte
}

// A file is what goes into the store.
type file struct {
	role     string
	version  int
	raw      []byte
	replaces bool // the latest file of the role, as if that had never been
}

// A change is one record of the changefeed, named as notary-server names its fields.
type change struct {
	ID        string
	CreatedAt time.Time
	GUN       string
	Version   int
	SHA256    string
	Category  string
}

// A store keeps every version of every file, and the changes. It never changes bytes in place; Server copies what
// users of the package pass in and get.
type store struct {
	mu      sync.RWMutex
	guns    map[string]map[string][]Version // by role, oldest first
	changes []change
}

func newStore() *store {
	return &store{guns: make(map[string]map[string][]Version)}
}

// add stores files of one GUN, all or none. With newer it refuses files that are not newer than the stored ones
// (errOldVersion). Each timestamp adds a record to the changefeed.
func (sh *store) add(gun string, newer bool, files ...file) error {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	roles := sh.guns[gun]
	for _, f := range files {
		stored := roles[f.role]
		if newer && len(stored) > 0 && stored[len(stored)-1].Number >= f.version {
			return errOldVersion
		}
	}
	if roles == nil {
		roles = make(map[string][]Version)
		sh.guns[gun] = roles
	}
	for _, f := range files {
		v := newVersion(f)
		stored := roles[f.role]
		if f.replaces && len(stored) > 0 {
			stored = slices.Clone(stored[:len(stored)-1]) // readers may hold the old list
		}
		roles[f.role] = append(stored, v)
		if f.role == "timestamp" {
			sh.record(change{GUN: gun, Version: v.Number, SHA256: v.SHA256, Category: "update"})
		}
	}
	return nil
}

func newVersion(f file) Version {
	sum := sha256.Sum256(f.raw)
	return Version{Number: f.version, SHA256: hex.EncodeToString(sum[:]), Raw: f.raw}
}

// remove deletes a GUN. Removing one that does not exist records nothing.
func (sh *store) remove(gun string) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, ok := sh.guns[gun]; ok {
		delete(sh.guns, gun)
		sh.record(change{GUN: gun, Category: "deletion"})
	}
}

// record numbers a change and stores it; the caller holds mu.
func (sh *store) record(c change) {
	c.ID = strconv.Itoa(len(sh.changes) + 1)
	c.CreatedAt = time.Now()
	sh.changes = append(sh.changes, c)
}

// history returns all versions of a role, oldest first; they must not be changed.
func (sh *store) history(gun, role string) []Version {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.guns[gun][role]
}

// latest returns the file that was stored last, whatever its number.
func (sh *store) latest(gun, role string) (Version, bool) {
	return sh.find(gun, role, func(Version) bool { return true })
}

// find returns the latest version that matches.
func (sh *store) find(gun, role string, fits func(Version) bool) (Version, bool) {
	for _, v := range slices.Backward(sh.history(gun, role)) {
		if fits(v) {
			return v, true
		}
	}
	return Version{}, false
}

// listGUNs lists what is stored, sorted.
func (sh *store) listGUNs() []string {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return slices.Sorted(maps.Keys(sh.guns))
}

// listRoles lists the roles of a GUN that have a file, sorted.
func (sh *store) listRoles(gun string) []string {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return slices.Sorted(maps.Keys(sh.guns[gun]))
}

// latestRoot returns the latest readable root: a forged one may be any bytes, and the repository still needs keys to
// go on with.
func (sh *store) latestRoot(gun string) (*data.SignedRoot, bool) {
	roots := sh.readableRoots(gun)
	if len(roots) == 0 {
		return nil, false
	}
	return roots[0], true
}

// readableRoots returns the roots that can be read, the latest first.
func (sh *store) readableRoots(gun string) []*data.SignedRoot {
	var roots []*data.SignedRoot
	for _, v := range slices.Backward(sh.history(gun, "root")) {
		if root, ok := readRoot(v.Raw); ok {
			roots = append(roots, root)
		}
	}
	return roots
}

func readRoot(raw []byte) (*data.SignedRoot, bool) {
	outer, ok := readSigned(raw)
	if !ok {
		return nil, false
	}
	root, err := data.RootFromSigned(outer)
	return root, err == nil
}

// latestTargets returns the latest readable file of targets or a delegation.
func (sh *store) latestTargets(gun string, role data.RoleName) (*data.SignedTargets, bool) {
	for _, v := range slices.Backward(sh.history(gun, role.String())) {
		if outer, ok := readSigned(v.Raw); ok {
			if targets, err := data.TargetsFromSigned(outer, role); err == nil {
				return targets, true
			}
		}
	}
	return nil, false
}

func readSigned(raw []byte) (*data.Signed, bool) {
	outer := new(data.Signed)
	if err := json.Unmarshal(raw, outer); err != nil || outer.Signed == nil {
		return nil, false
	}
	return outer, true
}

// keysOf returns the public keys that may sign a role: those in root, or for a delegation those in its parent. A root
// that is about to be stored counts already.
func (sh *store) keysOf(gun string, role data.RoleName, coming file) ([]data.PublicKey, error) {
	if data.IsDelegation(role) {
		parent, ok := sh.latestTargets(gun, role.Parent())
		if !ok {
			return nil, fmt.Errorf("no readable %s", role.Parent())
		}
		delegated, err := parent.BuildDelegationRole(role)
		if err != nil {
			return nil, err
		}
		return delegated.ListKeys(), nil
	}
	roots := sh.readableRoots(gun)
	if root, ok := readRoot(coming.raw); ok && coming.role == "root" {
		roots = append([]*data.SignedRoot{root}, roots...)
	}
	if len(roots) == 0 {
		return nil, errors.New("no readable root")
	}
	if role == data.CanonicalRootRole {
		return rootSigners(roots), nil
	}
	base, err := roots[0].BuildBaseRole(role)
	if err != nil {
		return nil, err
	}
	return base.ListKeys(), nil
}

// rootSigners returns the root keys of the latest root and of the one before, because a root must also be signed by
// its predecessor's keys.
func rootSigners(roots []*data.SignedRoot) []data.PublicKey {
	var keys []data.PublicKey
	seen := make(map[string]bool)
	for _, root := range roots[:min(2, len(roots))] {
		base, err := root.BuildBaseRole(data.CanonicalRootRole)
		if err != nil {
			continue
		}
		for _, key := range base.ListKeys() {
			if !seen[key.ID()] {
				seen[key.ID()] = true
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// Put stores bytes as the latest file of a role without any check: for forged trust data. The files around it stay as
// they are. A timestamp also adds a record to the changefeed.
func (s *Server) Put(gun, role string, version int, raw []byte) {
	// Without the check for newer versions, add has nothing to refuse.
	_ = s.store.add(gun, false, file{role: role, version: version, raw: bytes.Clone(raw)})
}

// Raw returns the latest file of a role; nil if it has none.
func (s *Server) Raw(gun, role string) []byte {
	v, _ := s.store.latest(gun, role)
	return bytes.Clone(v.Raw)
}

// History returns all files that a role ever had, oldest first.
func (s *Server) History(gun, role string) []Version {
	var history []Version
	for _, v := range s.store.history(gun, role) {
		v.Raw = bytes.Clone(v.Raw)
		history = append(history, v)
	}
	return history
}

// GUNs lists what is stored, sorted.
func (s *Server) GUNs() []string { return s.store.listGUNs() }

// Roles lists the roles of a GUN that have a file, sorted.
func (s *Server) Roles(gun string) []string { return s.store.listRoles(gun) }

// Delete removes a GUN with all its files, as DELETE does, and records that in the changefeed.
func (s *Server) Delete(gun string) { s.store.remove(gun) }

// Record adds a change to the changefeeds without a real one, for a GUN of any form: feeds are late, repeat
// themselves, and contain what people have put into them. The category is update or deletion.
func (s *Server) Record(gun, category string) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.record(change{GUN: gun, Version: 1, SHA256: strings.Repeat("0", 64), Category: category})
}
