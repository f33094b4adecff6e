package notarytest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/docker/go/canonical/json"
	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
	"github.com/theupdateframework/notary/tuf/validation"
)

// An acceptance is one publication being verified: what was uploaded, against what is stored.
type acceptance struct {
	server   *Server
	gun      string
	uploads  map[data.RoleName]file
	builder  tuf.RepoBuilder
	accepted []file
}

// accept verifies uploads and returns them together with the snapshot and the timestamp that
// belong to them. Nothing is stored.
func (s *Server) accept(gun string, uploads map[data.RoleName]file) ([]file, error) {
	a := &acceptance{
		server:  s,
		gun:     gun,
		uploads: uploads,
		builder: tuf.NewRepoBuilder(data.GUN(gun), s.ownKeys, trustpinning.TrustPinConfig{}),
	}
	// The order is TUF's: each step is verified with keys that the one before has brought.
	for _, step := range []func() error{a.root, a.targets, a.snapshot, a.timestamp} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return a.accepted, nil
}

// root loads the stored root and lets it judge the uploaded one.
func (a *acceptance) root() error {
	if stored, ok := a.server.shelf.latest(a.gun, "root"); ok {
		if err := a.builder.Load(data.CanonicalRootRole, stored.Raw, 1, true); err != nil {
			return validation.ErrBadRoot{Msg: err.Error()}
		}
	}
	upload, ok := a.uploads[data.CanonicalRootRole]
	if !ok {
		if !a.builder.IsLoaded(data.CanonicalRootRole) {
			return validation.ErrValidation{Msg: "there is no root, neither stored nor uploaded"}
		}
		return nil
	}
	current := a.builder.GetLoadedVersion(data.CanonicalRootRole)
	if upload.version != current && upload.version != current+1 {
		return validation.ErrBadRoot{Msg: fmt.Sprintf("version %d does not follow %d", upload.version, current)}
	}
	a.builder = a.builder.BootstrapNewBuilder()
	if err := a.builder.Load(data.CanonicalRootRole, upload.raw, current, false); err != nil {
		return validation.ErrBadRoot{Msg: err.Error()}
	}
	a.accepted = append(a.accepted, upload)
	return nil
}

// targets verifies the uploaded targets and delegations, parents first, since a parent may bring
// the keys of its child.
func (a *acceptance) targets() error {
	var roles []data.RoleName
	for role := range a.uploads {
		if role == data.CanonicalTargetsRole || data.IsDelegation(role) {
			roles = append(roles, role)
		}
	}
	slices.SortFunc(roles, func(x, y data.RoleName) int {
		depth := strings.Count(x.String(), "/") - strings.Count(y.String(), "/")
		if depth != 0 {
			return depth
		}
		return strings.Compare(x.String(), y.String())
	})
	for _, role := range roles {
		if err := a.ancestors(role); err != nil {
			return err
		}
		if err := a.builder.Load(role, a.uploads[role].raw, 1, false); err != nil {
			return validation.ErrBadTargets{Msg: err.Error()}
		}
		a.accepted = append(a.accepted, a.uploads[role])
	}
	return nil
}

// ancestors loads the stored files above a role, from targets down, which are not loaded yet.
// One that is missing makes the role itself fail, later and with the better message.
func (a *acceptance) ancestors(role data.RoleName) error {
	if role == data.CanonicalTargetsRole {
		return nil
	}
	parent := role.Parent()
	if err := a.ancestors(parent); err != nil {
		return err
	}
	stored, ok := a.server.shelf.latest(a.gun, parent.String())
	if !ok || a.builder.IsLoaded(parent) {
		return nil
	}
	if err := a.builder.Load(parent, stored.Raw, 1, true); err != nil {
		return validation.ErrBadTargets{Msg: err.Error()}
	}
	return nil
}

// snapshot verifies the uploaded snapshot or makes one from the stored one.
func (a *acceptance) snapshot() error {
	role := data.CanonicalSnapshotRole
	if upload, ok := a.uploads[role]; ok {
		if err := a.builder.Load(role, upload.raw, 1, false); err != nil {
			return validation.ErrBadSnapshot{Msg: err.Error()}
		}
		a.accepted = append(a.accepted, upload)
		return nil
	}
	var previous *data.SignedSnapshot
	if stored, ok := a.server.shelf.latest(a.gun, "snapshot"); ok {
		previous = new(data.SignedSnapshot)
		if err := json.Unmarshal(stored.Raw, previous); err != nil {
			return validation.ErrValidation{Msg: err.Error()}
		}
	}
	raw, version, err := a.builder.GenerateSnapshot(previous)
	if err != nil {
		if keysMissing(err) {
			return validation.ErrBadHierarchy{
				Missing: role.String(),
				Msg:     "no snapshot was uploaded and its key is not here",
			}
		}
		return validation.ErrValidation{Msg: err.Error()}
	}
	a.accepted = append(a.accepted, file{role: role.String(), version: version, raw: raw})
	return nil
}

// timestamp makes a new timestamp.
func (a *acceptance) timestamp() error {
	role := data.CanonicalTimestampRole
	var previous *data.SignedTimestamp
	if stored, ok := a.server.shelf.latest(a.gun, "timestamp"); ok {
		previous = new(data.SignedTimestamp)
		if err := json.Unmarshal(stored.Raw, previous); err != nil {
			return validation.ErrValidation{Msg: err.Error()}
		}
	}
	raw, version, err := a.builder.GenerateTimestamp(previous)
	if err != nil {
		if keysMissing(err) {
			return validation.ErrBadRoot{Msg: "the timestamp key is not here"}
		}
		return validation.ErrValidation{Msg: err.Error()}
	}
	a.accepted = append(a.accepted, file{role: role.String(), version: version, raw: raw})
	return nil
}

// keysMissing reports whether signing failed for want of keys.
func keysMissing(err error) bool {
	var few signed.ErrInsufficientSignatures
	var none signed.ErrNoKeys
	var threshold signed.ErrRoleThreshold
	return errors.As(err, &few) || errors.As(err, &none) || errors.As(err, &threshold)
}
