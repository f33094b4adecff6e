package dct

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/notary/cryptoservice"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"
)

// A mutation is one way to change a role with the swizzler.
type mutation struct {
	name   string
	mutate func(s swizzled, role data.RoleName) error
	kind   error           // refused with; nil: ErrRefused
	roles  []data.RoleName // that it makes sense for; nil: all
	where  string          // the file that changes: "" the role's own, "parent" what names its keys, or a role
	drops  data.RoleName   // the role whose word no longer counts where the change is accepted

	alone   bool // nothing could vouch for the result
	vouched bool // run only vouched for: the other case is seen often enough
}

// applies reports whether the mutation makes sense for a role.
func (m mutation) applies(role data.RoleName, vouched bool) bool {
	switch {
	case m.roles != nil && !slices.Contains(m.roles, role):
		return false
	case vouched:
		return !m.alone && m.file(role) != data.CanonicalTimestampRole
	}
	return !m.vouched
}

// file is the role whose file changes.
func (m mutation) file(role data.RoleName) data.RoleName {
	switch m.where {
	case "":
		return role
	case "parent":
		return data.RoleName(parentRole(role.String()))
	}
	return data.RoleName(m.where)
}

// expected returns the roles of which the error must name one, and the kind of error, which is nil
// if the exceptions say that it passes.
func (m mutation) expected(role data.RoleName, vouched bool, state string) (roles []string, kind error) {
	for _, e := range swizzleExceptions {
		if e.mutation == m.name && e.vouched == vouched && slices.Contains(e.roles, role) && strings.Contains(e.states, state) {
			return nil, nil
		}
	}
	roles = []string{role.String(), m.file(role).String()}
	switch kind = m.kind; {
	case m.name == "RemoveMetadata" && role == "root":
		if state == "cold" {
			return []string{""}, ErrUnsigned
		}
		return []string{""}, ErrIncomplete
	case errors.Is(kind, ErrIncomplete) && vouched && state == "versions":
		kind = ErrRefused // the snapshot is not the one that was read with this version
	case errors.Is(kind, ErrExpired) && state == "versions":
		kind = ErrRefused // with other bytes than were read with this version: that counts more
	case kind == nil, errors.Is(kind, ErrExpired) && !vouched && role != "timestamp":
		kind = ErrRefused // for expired files too: their hash is wrong
	}
	return roles, kind
}

var (
	keyedRoles  = []data.RoleName{"root", "timestamp", "snapshot", "targets"}
	listedRoles = []data.RoleName{"root", "targets", "targets/releases", "targets/a"}
	delegRoles  = []data.RoleName{"targets/releases", "targets/a"}
	allRoles    = swizzledRoles
)

// swizzleExceptions are the changes that rightly pass, and why. All others are refused.
var swizzleExceptions = []struct {
	mutation string
	roles    []data.RoleName
	vouched  bool
	states   string
	why      string
}{
	{"AddExtraSpace", allRoles, true, "cold root", "the content is the same and the hashes follow; only who knows the version's bytes objects"},
	{"AddExtraSpace", []data.RoleName{"timestamp"}, false, "cold root", "nothing lists the timestamp's hash"},
	{"OffsetMetadataVersion up", allRoles, true, "cold root versions", "a signed newer version"},
	{"OffsetMetadataVersion up", []data.RoleName{"timestamp"}, false, "cold root versions", "a signed newer version, and nothing lists the timestamp's hash"},
	{"OffsetMetadataVersion down", []data.RoleName{"root"}, true, "cold", "the pin knows keys, no version"},
	{"OffsetMetadataVersion down", allRoles[1:], true, "cold root", "without the versions seen before nobody can tell"},
	{"OffsetMetadataVersion down", []data.RoleName{"timestamp"}, false, "cold root", "without the versions seen before nobody can tell"},
	{"UpdateSnapshotHashes", []data.RoleName{"snapshot"}, true, "cold root", "the same content, signed again"},
	{"UpdateTimestampHash", []data.RoleName{"timestamp"}, false, "cold root", "the same content, signed again"},
	{"MutateRoot consistent_snapshot", []data.RoleName{"root"}, true, "cold root", "Notary names files by hash whatever the root says"},
	{"MutateTimestamp longer", []data.RoleName{"timestamp"}, false, "cold root", "a length caps the download, the hash decides"},
	{"MutateSnapshot longer", listedRoles, true, "cold root", "a length caps the download, the hash decides"},
	{"MutateSnapshot shorter", listedRoles[:1], true, "cold root", "the root is there before its length, and the hash decides"},
	{"MutateSnapshot of no length", listedRoles[:1], true, "cold root", "the root is there before its length, and the hash decides"},
	{"MutateSnapshot of length -1", listedRoles[:1], true, "cold root", "the root is there before its length, and the hash decides"},
	{"MutateSnapshot of length -2^52", listedRoles[:1], true, "cold root", "the root is there before its length, and the hash decides"},
	{"MutateTargets undelegates releases", []data.RoleName{"targets/releases"}, true, "cold root", "the owner may take a delegation back"},
}

// mutations lists all mutators of notary's swizzler, some in several ways. It makes what differs
// between cases anew, so that cases can run in parallel.
func mutations() []mutation {
	all := []mutation{
		{name: "SetInvalidJSON", mutate: swizzled.setInvalidJSON},
		{name: "AddExtraSpace", mutate: swizzled.addExtraSpace},
		{name: "SetInvalidSigned", mutate: func(s swizzled, r data.RoleName) error { return s.SetInvalidSigned(r) }},
		{name: "SetInvalidSignedMeta", mutate: func(s swizzled, r data.RoleName) error { return s.SetInvalidSignedMeta(r) }},
		{name: "SetInvalidMetadataType", mutate: func(s swizzled, r data.RoleName) error { return s.SetInvalidMetadataType(r) }},
		{name: "InvalidateMetadataSignatures", mutate: func(s swizzled, r data.RoleName) error { return s.InvalidateMetadataSignatures(r) }},
		{name: "RemoveMetadata", alone: true, kind: ErrIncomplete, mutate: func(s swizzled, r data.RoleName) error { return s.RemoveMetadata(r) }},
		{name: "SignMetadataWithInvalidKey", mutate: func(s swizzled, r data.RoleName) error { return s.SignMetadataWithInvalidKey(r) }},
		{name: "ExpireMetadata", kind: ErrExpired, mutate: func(s swizzled, r data.RoleName) error { return s.ExpireMetadata(r) }},
		{name: "RotateKey", where: "parent", mutate: swizzled.rotateKey},
		{name: "ChangeRootKey", roles: []data.RoleName{"root"}, mutate: func(s swizzled, _ data.RoleName) error { return s.ChangeRootKey() }},
		{name: "UpdateSnapshotHashes", roles: []data.RoleName{"snapshot"}, mutate: func(s swizzled, _ data.RoleName) error { return s.UpdateSnapshotHashes() }},
		{name: "UpdateTimestampHash", roles: []data.RoleName{"timestamp"}, mutate: func(s swizzled, _ data.RoleName) error { return s.UpdateTimestampHash() }},
	}
	for name, offset := range map[string]int{"up": 1, "down": -1, "to zero": -5, "below zero": -7} {
		all = append(all, mutation{name: "OffsetMetadataVersion " + name, mutate: func(s swizzled, r data.RoleName) error { return s.OffsetMetadataVersion(r, offset) }})
	}
	for name, n := range map[string]int{"zero": 0, "negative": -1, "two": 2, "huge": 1 << 30} {
		all = append(all, mutation{name: "SetThreshold " + name, where: "parent", vouched: name != "two", mutate: func(s swizzled, r data.RoleName) error { return s.SetThreshold(r, n) }})
	}
	return slices.Concat(all, rootMutations(), metaMutations(), targetsMutations())
}

func (s swizzled) setInvalidJSON(r data.RoleName) error { return s.SetInvalidJSON(r) }
func (s swizzled) addExtraSpace(r data.RoleName) error  { return s.AddExtraSpace(r) }

// rotateKey names a new key for the role, but signs nothing with it.
func (s swizzled) rotateKey(r data.RoleName) error {
	private, err := utils.GenerateECDSAKey(rand.Reader)
	if err != nil {
		return err
	}
	public := data.PublicKeyFromPrivate(private)
	if r == data.CanonicalRootRole {
		c, err := cryptoservice.GenerateCertificate(private, app, time.Now(), time.Now().AddDate(1, 0, 0))
		if err != nil {
			return err
		}
		public = utils.CertToKey(c)
	}
	return s.RotateKey(r, public)
}
