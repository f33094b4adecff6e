package dct

import (
	"slices"

	"github.com/theupdateframework/notary/tuf/data"
)

// rootMutations are uses of MutateRoot.
func rootMutations() []mutation {
	var all []mutation
	add := func(name string, roles []data.RoleName, edit func(root *data.Root, role data.RoleName)) {
		all = append(all, mutation{name: "MutateRoot " + name, roles: roles, where: "root", vouched: true, mutate: func(s swizzled, role data.RoleName) error {
			return s.MutateRoot(func(root *data.Root) { edit(root, role) })
		}})
	}
	add("drops the role", keyedRoles, func(root *data.Root, role data.RoleName) { delete(root.Roles, role) })
	add("leaves the role no key", keyedRoles, func(root *data.Root, role data.RoleName) { root.Roles[role].KeyIDs = nil })
	add("names a key that is not there", keyedRoles[1:], func(root *data.Root, role data.RoleName) { root.Roles[role].KeyIDs = []string{sha("1")} })
	add("gives the role a foreign key's id", keyedRoles[1:], func(root *data.Root, role data.RoleName) {
		root.Keys[root.Roles[role].KeyIDs[0]] = root.Keys[root.Roles["root"].KeyIDs[0]]
	})
	add("consistent_snapshot", []data.RoleName{"root"}, func(root *data.Root, _ data.RoleName) { root.ConsistentSnapshot = true })
	return all
}

// hashEdits are wrong ways to list a file.
var hashEdits = map[string]func(f data.FileMeta) data.FileMeta{
	"wrong sha256":     func(f data.FileMeta) data.FileMeta { f.Hashes["sha256"][0] ^= 1; return f },
	"wrong sha512":     func(f data.FileMeta) data.FileMeta { f.Hashes["sha512"][0] ^= 1; return f },
	"without sha256":   func(f data.FileMeta) data.FileMeta { delete(f.Hashes, "sha256"); return f },
	"short sha256":     func(f data.FileMeta) data.FileMeta { f.Hashes["sha256"] = f.Hashes["sha256"][:5]; return f },
	"another hash":     func(f data.FileMeta) data.FileMeta { f.Hashes = data.Hashes{"md5": make([]byte, 16)}; return f },
	"shorter":          func(f data.FileMeta) data.FileMeta { f.Length--; return f },
	"longer":           func(f data.FileMeta) data.FileMeta { f.Length += 1000; return f },
	"of no length":     func(f data.FileMeta) data.FileMeta { f.Length = 0; return f },
	"of length -1":     func(f data.FileMeta) data.FileMeta { f.Length = -1; return f },
	"of length -2^52":  func(f data.FileMeta) data.FileMeta { f.Length = -1 << 52; return f },
	"without any hash": func(f data.FileMeta) data.FileMeta { f.Hashes = data.Hashes{}; return f },
}

// metaMutations are uses of MutateTimestamp and MutateSnapshot.
func metaMutations() []mutation {
	all := []mutation{
		{name: "MutateTimestamp drops the snapshot", roles: []data.RoleName{"timestamp"}, mutate: func(s swizzled, _ data.RoleName) error {
			return s.MutateTimestamp(func(ts *data.Timestamp) { delete(ts.Meta, "snapshot") })
		}},
		{name: "MutateSnapshot drops the role", roles: []data.RoleName{"root", "targets"}, where: "snapshot", vouched: true, mutate: func(s swizzled, role data.RoleName) error {
			return s.MutateSnapshot(func(sn *data.Snapshot) { delete(sn.Meta, role.String()) })
		}},
		{name: "MutateSnapshot drops releases", roles: delegRoles[:1], where: "snapshot", vouched: true, kind: ErrIncomplete, mutate: func(s swizzled, role data.RoleName) error {
			return s.MutateSnapshot(func(sn *data.Snapshot) { delete(sn.Meta, role.String()) })
		}},
	}
	for name, edit := range hashEdits {
		all = append(all,
			// The error may be about the timestamp or about what it lists.
			mutation{name: "MutateTimestamp " + name, roles: []data.RoleName{"timestamp"}, where: "snapshot", alone: true, mutate: func(s swizzled, _ data.RoleName) error {
				return s.MutateTimestamp(func(ts *data.Timestamp) { ts.Meta["snapshot"] = edit(ts.Meta["snapshot"]) })
			}},
			mutation{name: "MutateSnapshot " + name, roles: listedRoles[:3], where: "snapshot", vouched: true, mutate: func(s swizzled, role data.RoleName) error {
				return s.MutateSnapshot(func(sn *data.Snapshot) { sn.Meta[role.String()] = edit(sn.Meta[role.String()]) })
			}})
	}
	return all
}

// targetsMutations are uses of MutateTargets.
func targetsMutations() []mutation {
	var all []mutation
	add := func(name string, drops data.RoleName, edit func(file *data.Targets, at int)) {
		m := mutation{name: "MutateTargets " + name, roles: delegRoles[:1], where: "targets", drops: drops, vouched: true}
		m.mutate = func(s swizzled, role data.RoleName) error {
			return s.MutateTargets(func(file *data.Targets) {
				edit(file, slices.IndexFunc(file.Delegations.Roles, func(r *data.Role) bool { return r.Name == role }))
			})
		}
		all = append(all, m)
	}
	add("lists no keys", "", func(file *data.Targets, _ int) { file.Delegations.Keys = data.Keys{} })
	add("leaves the role no key", "", func(file *data.Targets, at int) { file.Delegations.Roles[at].KeyIDs = nil })
	add("declares a role twice", "", func(file *data.Targets, at int) {
		file.Delegations.Roles = append(file.Delegations.Roles, file.Delegations.Roles[at])
	})
	add("declares null", "", func(file *data.Targets, _ int) { file.Delegations.Roles = append(file.Delegations.Roles, nil) })
	add("declares a grandchild", "", func(file *data.Targets, at int) { file.Delegations.Roles[at].Name += "/b" })
	add("declares itself", "", func(file *data.Targets, at int) { file.Delegations.Roles[at].Name = "targets" })
	add("declares the snapshot", "", func(file *data.Targets, at int) { file.Delegations.Roles[at].Name = "snapshot" })
	add("declares a path", "", func(file *data.Targets, at int) { file.Delegations.Roles[at].Name = "targets/../snapshot" })
	add("is of version zero", "", func(file *data.Targets, _ int) { file.Version = 0 })
	add("undelegates releases", "targets/releases", func(file *data.Targets, at int) {
		file.Delegations.Roles = slices.Delete(file.Delegations.Roles, at, at+1)
	})
	return all
}
