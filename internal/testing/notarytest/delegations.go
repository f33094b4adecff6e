package notarytest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/theupdateframework/notary/client/changelist"
	"github.com/theupdateframework/notary/tuf/data"
)

// releases is the role that docker believes first.
const releases data.RoleName = "targets/releases"

// A delegation is a direct child of targets, where docker signs.
type delegation struct {
	name  data.RoleName
	paths []string
}

// AddSigner does what "docker trust signer add" does: a new key may sign targets/<name> and
// targets/releases, any tag. It is published at once; the two roles get
// files only when something is signed into them.
func (r *Repository) AddSigner(name string) error {
	role := data.RoleName("targets/" + name)
	err := r.delegate([]string{""}, role, releases)
	if err != nil {
		return fmt.Errorf("adding signer %s to %s: %w", name, r.gun, err)
	}
	return nil
}

// AddDelegation adds a role with a key of its own, at any depth below targets, for tags that
// begin with one of the paths ("" is any). If the role exists, it gains the key and
// the paths. It is published at once.
func (r *Repository) AddDelegation(role string, paths []string) error {
	if err := r.delegate(paths, data.RoleName(role)); err != nil {
		return fmt.Errorf("adding delegation %s to %s: %w", role, r.gun, err)
	}
	return nil
}

// delegate gives roles one new key and publishes that, without what is staged.
func (r *Repository) delegate(paths []string, roles ...data.RoleName) error {
	if len(paths) == 0 {
		return errors.New("a delegation without paths could sign nothing")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key, err := r.server.signerKeys.Create(roles[0], data.GUN(r.gun), data.ECDSAKey)
	if err != nil {
		return err
	}
	c, err := r.client(changelist.NewMemChangelist())
	if err != nil {
		return err
	}
	for _, role := range roles {
		if err := c.AddDelegation(role, []data.PublicKey{key}, paths); err != nil {
			return err
		}
	}
	if err := c.Publish(); err != nil {
		return err
	}
	for _, role := range roles {
		r.remember(role, paths)
	}
	return nil
}

// remember keeps a direct delegation for rolesFor; the caller holds mu.
func (r *Repository) remember(role data.RoleName, paths []string) {
	if role.Parent() != data.CanonicalTargetsRole {
		return
	}
	at := slices.IndexFunc(r.delegations, func(d delegation) bool { return d.name == role })
	if at < 0 {
		r.delegations = append(r.delegations, delegation{role, slices.Clone(paths)})
		return
	}
	r.delegations[at].paths = append(r.delegations[at].paths, paths...)
}

// rolesFor returns the roles that were named or else docker's choice; the caller holds mu.
func (r *Repository) rolesFor(tag string, named []string) ([]data.RoleName, error) {
	if len(named) > 0 {
		return data.NewRoleList(named), nil
	}
	if len(r.delegations) == 0 {
		return []data.RoleName{data.CanonicalTargetsRole}, nil
	}
	var roles []data.RoleName
	for _, d := range r.delegations {
		if (data.Role{Name: d.name, Paths: d.paths}).CheckPaths(tag) {
			roles = append(roles, d.name)
		}
	}
	if len(roles) == 0 {
		// Not targets: docker never signs there once there are delegations.
		return nil, errors.New("no delegation admits this tag")
	}
	return roles, nil
}
