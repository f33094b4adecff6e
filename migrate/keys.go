package migrate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/state"
)

// Key is one of the keys of an engine, with the targets it signs for. Each key that signs for a target signs its
// digest: several keys are several items.
type Key struct {
	Signer Signer
	// Roles are those that the key signs for: a role that docker trusts, or a signer's own, such as targets/alice. A
	// signer's key signs what that signer named and docker trusts. Empty: the two roles that docker trusts.
	Roles []string
	// In reports whether the key is for a repository; nil: it is for all. Repositories shows the same to people.
	In           func(dct.GUN) bool
	Repositories []string
	Metadata     map[string]string // the user's own signed metadata, checked by CheckMetadata

	// Identity is what makes a signature the key's, as Signature.By has it; empty: its leaf.
	Identity string
	// Renews reports whether the identity outlives its certificates.
	Renews bool
	// Accepted are further identities that the configuration names; their signatures count as the key's.
	Accepted []string
	// Earlier are identities that were accepted before, by the ledger. An item that the ledger has as done by one of
	// them stays done while that signature verifies. They count for nothing else, because a ledger adds no authority.
	// They include no certificates if Renews.
	Earlier []string
	// Prove returns an error unless the key is known to have its identity: from the configuration, or because it has
	// signed in this process. It spends at most one key operation on that; nil: the identity is known.
	Prove func(context.Context) error
	// Proofs returns how many signatures were requested to see the key's certificate, and whether the key needs none
	// any more; nil: it never needs one. Rate is the user's limit in operations per second; 0: none. Both are for the
	// plan's cost.
	Proofs func() (made int, proven bool)
	Rate   float64
	// Expiry and Timestamped say how the key signs now; see lacks.
	Expiry      time.Duration
	Timestamped bool
}

// identity returns the identity by which a signature counts as the key's.
func (k Key) identity() string { return cmp.Or(k.Identity, k.Signer.Leaf()) }

// accepts reports whether, by the configuration, signatures of an identity count as the key's.
func (k Key) accepts(identity string) bool {
	return identity == k.identity() || slices.Contains(k.Accepted, identity)
}

// formerly reports whether, by the ledger, an identity was accepted for the key before.
func (k Key) formerly(identity string) bool { return slices.Contains(k.Earlier, identity) }

// lacks returns what a signature lacks compared with how the key signs now; empty: nothing.
func (k Key) lacks(by state.SignedBy) string {
	switch {
	case k.Timestamped && !by.Timestamped:
		return "it has no timestamp"
	case k.Expiry > 0 && by.Expiry != int64(k.Expiry/time.Second) && by.Expiry == 0:
		return "it has no expiry"
	case k.Expiry > 0 && by.Expiry != int64(k.Expiry/time.Second):
		return fmt.Sprintf("its expiry is %s after signing", time.Duration(by.Expiry)*time.Second)
	}
	return ""
}

// current reports whether the key would make a signature like this one today.
func (k Key) current(by state.SignedBy) bool {
	return by.Identity == k.identity() && k.lacks(by) == ""
}

// trustedRoles are the roles that docker trusts.
var trustedRoles = []string{"targets", "targets/releases"}

// Signs reports whether the key signs for a target.
func (k Key) Signs(t dct.Target) bool {
	if k.In != nil && !k.In(t.GUN()) {
		return false
	}
	roles := k.Roles
	if len(roles) == 0 {
		roles = trustedRoles
	}
	return slices.Contains(roles, t.Role()) || slices.ContainsFunc(t.Signers(), func(role string) bool { return slices.Contains(roles, role) })
}

// among returns those of the targets that the key signs for. If it signs for all, that is the same slice.
func (k Key) among(targets []dct.Target) []dct.Target {
	if !slices.ContainsFunc(targets, func(t dct.Target) bool { return !k.Signs(t) }) {
		return targets
	}
	return slices.DeleteFunc(slices.Clone(targets), func(t dct.Target) bool { return !k.Signs(t) })
}

// keyed returns the key's name if there are several keys, else nothing.
func keyed(keys []Key, name string) string {
	if len(keys) < 2 {
		return ""
	}
	return name
}

// covered returns an error unless a key signs for each of the targets: no key signs what nobody has assigned to it.
func covered(keys []Key, targets []dct.Target) error {
	var tags []string
	var first dct.Target
	for _, t := range targets {
		if !slices.ContainsFunc(keys, func(k Key) bool { return k.Signs(t) }) {
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
	return failure.New(failure.NoKey, fmt.Errorf("%s: no key is configured for %d of its tags, such as %s of %s\nhint: give a key in the configuration these roles and this repository, or leave the tags out with --exclude-tags",
		first.GUN(), len(tags), first.Tag(), strings.Join(roles, ", ")))
}

// planKeys describes the keys for a plan.
func planKeys(keys []Key) []PlanKey {
	var all []PlanKey
	for _, k := range keys {
		p := PlanKey{Name: k.Signer.Name(), Leaf: k.Signer.Leaf(), Roles: k.Roles, Repositories: k.Repositories}
		if k.Renews {
			p.Identity = k.identity()
		}
		all = append(all, p)
	}
	return all
}
