package migrate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/dct"
)

// Key is one of the keys of an engine, and what it stands for. Each key that stands for a
// target signs its digest: several keys are several items.
type Key struct {
	Signer Signer
	// Roles are those that the key signs for: a role that docker trusts, or a signer's
	// own, such as targets/alice. A signer's key signs what the signer named and docker
	// trusts. None: the two that docker trusts.
	Roles []string
	// In tells whether the key is for a repository; nil: it is for all. Repositories says
	// the same to people.
	In           func(dct.GUN) bool
	Repositories []string
	Metadata     map[string]string // the user's own signed metadata, checked by CheckMetadata
}

// trustedRoles are those whose word docker takes.
var trustedRoles = []string{"targets", "targets/releases"}

// Signs tells whether the key stands for a target.
func (k Key) Signs(t dct.Target) bool {
	if k.In != nil && !k.In(t.GUN()) {
		return false
	}
	roles := k.Roles
	if len(roles) == 0 {
		roles = trustedRoles
	}
	return slices.ContainsFunc(append(t.Signers(), t.Role()), func(role string) bool { return slices.Contains(roles, role) })
}

// keyed says that something is of one key among several.
func (e *Engine) keyed(name string) string {
	if len(e.Keys) < 2 {
		return ""
	}
	return name
}

// covered returns an error unless a key stands for each of the targets: there is no key
// that signs what nobody has assigned.
func (e *Engine) covered(targets []dct.Target) error {
	var tags []string
	var first dct.Target
	for _, t := range targets {
		if !slices.ContainsFunc(e.Keys, func(k Key) bool { return k.Signs(t) }) {
			if len(tags) == 0 {
				first = t
			}
			tags = append(tags, t.Tag())
		}
	}
	if len(tags) == 0 {
		return nil
	}
	roles := append([]string{first.Role()}, first.Signers()...)
	return &Failure{NoKey, fmt.Errorf("%s: no key stands for %d of its tags, such as %s of %s\nhint: give a key in the configuration these roles and this repository, or leave the tags out with --exclude-tags",
		first.GUN(), len(tags), first.Tag(), strings.Join(roles, ", "))}
}

// planKeys shows the keys in a plan.
func (e *Engine) planKeys() []PlanKey {
	var keys []PlanKey
	for _, k := range e.Keys {
		keys = append(keys, PlanKey{k.Signer.Name(), k.Signer.Leaf(), k.Roles, k.Repositories})
	}
	return keys
}
