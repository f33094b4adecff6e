package notarytest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/docker/go/canonical/json"
	"github.com/theupdateframework/notary/tuf/data"
)

// latestRoot returns the latest root that can be read at all: a forged one may be any bytes,
// and the repository still needs keys to go on with.
func (sh *shelf) latestRoot(gun string) (*data.SignedRoot, bool) {
	roots := sh.readableRoots(gun)
	if len(roots) == 0 {
		return nil, false
	}
	return roots[0], true
}

// readableRoots returns the roots that can be read, the latest first.
func (sh *shelf) readableRoots(gun string) []*data.SignedRoot {
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

// latestTargets returns the latest file of targets or a delegation that can be read at all.
func (sh *shelf) latestTargets(gun string, role data.RoleName) (*data.SignedTargets, bool) {
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

// keysOf returns the public keys that may sign a role: what root says, or for a delegation what
// its parent says. A file that is about to be stored counts already if it is a root.
func (sh *shelf) keysOf(gun string, role data.RoleName, coming file) ([]data.PublicKey, error) {
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

// rootSigners returns the root keys of the latest root and of the one before, because a root
// has to be signed by its predecessor's keys too.
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
