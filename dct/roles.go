package dct

import (
	"cmp"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/theupdateframework/notary/tuf/data"
)

// A Role is a role of a repository's trust data with the keys that may sign it: root, targets, snapshot, timestamp,
// and each declared delegation.
type Role struct {
	Name      string    `json:"name"`
	Keys      []RoleKey `json:"keys"`
	Threshold int       `json:"threshold"`
	Version   int       `json:"version,omitempty"` // 0: declared but not published
	Expires   time.Time `json:"expires,omitzero"`
}

// A RoleKey is a key by its ids.
type RoleKey struct {
	ID       string `json:"id"`                  // as in the metadata
	PublicID string `json:"public_id,omitempty"` // as in notary key list, if different: the metadata's is a certificate's
}

// Named is what a role says about a tag.
type Named struct {
	Role   string        `json:"role"`
	Digest digest.Digest `json:"digest"`
}

// Roles returns the roles of the repository, sorted by name.
func (r *Repository) Roles() []Role { return slices.Clone(r.roles) }

// roles lists the roles of a repository after all have been verified.
func (l *loader) roles(expiries []Expiry) []Role {
	names := []data.RoleName{data.CanonicalRootRole, data.CanonicalTargetsRole, data.CanonicalSnapshotRole, data.CanonicalTimestampRole}
	for _, name := range l.declared {
		names = append(names, data.RoleName(name))
	}
	var roles []Role
	for _, name := range names {
		base, err := l.signers(name)
		if err != nil { // verified without it: it does not exist
			continue
		}
		one := Role{Name: name.String(), Threshold: base.Threshold, Version: l.seen[name.String()].Version}
		for _, key := range base.Keys {
			ids := idsOf(key)
			k := RoleKey{ID: ids[0]}
			if len(ids) > 1 {
				k.PublicID = ids[1]
			}
			one.Keys = append(one.Keys, k)
		}
		slices.SortFunc(one.Keys, func(a, b RoleKey) int { return cmp.Compare(a.ID, b.ID) })
		for _, e := range expiries {
			if e.Role == one.Name {
				one.Expires = e.At
			}
		}
		roles = append(roles, one)
	}
	slices.SortFunc(roles, func(a, b Role) int { return cmp.Compare(a.Name, b.Name) })
	return roles
}
