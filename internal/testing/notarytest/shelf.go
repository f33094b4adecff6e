package notarytest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// errOldVersion is returned when a published file is not newer than the stored one, be it
// that another publisher was faster.
var errOldVersion = errors.New("a newer version is already stored")

// A Version is one stored file of a role, the bytes as they are served.
type Version struct {
	Number int    // as it was published or given to Put; forged bytes may say otherwise
	SHA256 string // of Raw, in hexadecimal
	Raw    []byte
}

// A file is what goes onto the shelf.
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

// A shelf keeps every version of every file, and the changes. Bytes are never changed in
// place; what comes in and goes out to users of the package is copied by Server.
type shelf struct {
	mu      sync.RWMutex
	guns    map[string]map[string][]Version // by role, oldest first
	changes []change
}

func newShelf() *shelf {
	return &shelf{guns: make(map[string]map[string][]Version)}
}

// add stores files of one GUN, all or none. With newer it refuses files that are not newer
// than the stored ones (errOldVersion). Each timestamp makes a record in the changefeed.
func (sh *shelf) add(gun string, newer bool, files ...file) error {
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

// remove forgets a GUN. Removing what is not there records nothing.
func (sh *shelf) remove(gun string) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, ok := sh.guns[gun]; ok {
		delete(sh.guns, gun)
		sh.record(change{GUN: gun, Category: "deletion"})
	}
}

// record numbers a change and keeps it; the caller holds mu.
func (sh *shelf) record(c change) {
	c.ID = strconv.Itoa(len(sh.changes) + 1)
	c.CreatedAt = time.Now()
	sh.changes = append(sh.changes, c)
}

// history returns all versions of a role, oldest first, not to be changed.
func (sh *shelf) history(gun, role string) []Version {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.guns[gun][role]
}

// latest returns the file that was stored last, whatever its number.
func (sh *shelf) latest(gun, role string) (Version, bool) {
	return sh.find(gun, role, func(Version) bool { return true })
}

// find returns the latest version that fits.
func (sh *shelf) find(gun, role string, fits func(Version) bool) (Version, bool) {
	for _, v := range slices.Backward(sh.history(gun, role)) {
		if fits(v) {
			return v, true
		}
	}
	return Version{}, false
}

// listGUNs lists what is stored, sorted.
func (sh *shelf) listGUNs() []string {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return slices.Sorted(maps.Keys(sh.guns))
}

// listRoles lists the roles of a GUN that have a file, sorted.
func (sh *shelf) listRoles(gun string) []string {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return slices.Sorted(maps.Keys(sh.guns[gun]))
}
