package dct

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/theupdateframework/notary/tuf"
	"github.com/theupdateframework/notary/tuf/data"
)

// Docker's rule for the trusted digest of a tag (docker/cli 28.5.1,
// cli/command/image/trust.go): look in the subtree of targets/releases, then in the
// subtree of targets; the first entry found counts, and only if its role is exactly
// targets/releases or targets.

var (
	releasesRole = data.RoleName("targets/releases")
	targetsRole  = data.CanonicalTargetsRole
)

// IsTargetsRole reports whether a name is that of a role that can name targets: targets, or
// one below it.
func IsTargetsRole(name string) bool {
	role := data.RoleName(name)
	return role == targetsRole || data.IsDelegation(role)
}

// tagPattern is the grammar of tags (OCI distribution specification, "Pulling
// manifests").
var tagPattern = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// IsTag reports whether a tag can have that name.
func IsTag(name string) bool { return tagPattern.MatchString(name) }

// entry is what one role says about one target name.
type entry struct {
	role data.RoleName
	meta data.FileMeta
}

// pick applies docker's rule to all names in a verified repository.
func pick(p *proof, repo *tuf.Repo) ([]Target, []Finding, error) {
	releases, err := firstOf(repo, releasesRole)
	if err != nil {
		return nil, nil, err
	}
	plain, err := firstOf(repo, targetsRole, releasesRole)
	if err != nil {
		return nil, nil, err
	}
	all, err := everyEntry(repo)
	if err != nil {
		return nil, nil, err
	}
	delegated := len(repo.Targets[targetsRole].Signed.Delegations.Roles) > 0
	targets := make([]Target, 0, len(all))
	var findings []Finding
	for name, entries := range all {
		first, ok := releases[name]
		if !ok {
			first, ok = plain[name]
		}
		if f, bad := reject(name, first, ok, entries); bad {
			findings = append(findings, f)
			continue
		}
		targets = append(targets, target(p, name, first, entries, delegated))
	}
	slices.SortFunc(targets, func(a, b Target) int { return cmp.Compare(a.tag, b.tag) })
	slices.SortFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Role, b.Role))
	})
	return targets, findings, nil
}

// reject says why a name has no trusted target, and reports whether that is so. found says whether docker's walk
// finds the name at all.
func reject(name string, first entry, found bool, entries []entry) (Finding, bool) {
	if !found {
		return Finding{Tag: name, Role: entries[0].role.String(), Class: UnreachableTarget, Detail: "the role's paths do not allow this name"}, true
	}
	finding := func(class, detail string) (Finding, bool) {
		return Finding{Tag: name, Role: first.role.String(), Class: class, Detail: detail}, true
	}
	switch {
	case first.role != releasesRole && first.role != targetsRole:
		if inRole(entries, targetsRole) {
			return finding(Shadowed, "it hides the entry in targets, and docker trusts neither")
		}
		return finding(SignerOnly, "neither targets/releases nor targets names it, so docker does not trust it")
	case !IsTag(name):
		return finding(InvalidTarget, "its name is no tag")
	case len(first.meta.Hashes["sha256"]) != 32:
		return finding(InvalidTarget, "it has no SHA-256 digest")
	case first.meta.Length <= 0:
		f, _ := finding(InvalidTarget, fmt.Sprintf("its length is %d", first.meta.Length))
		f.Digest = sha256Digest(first.meta) // docker ignores the length
		return f, true
	}
	return Finding{}, false
}

func inRole(entries []entry, role data.RoleName) bool {
	return slices.ContainsFunc(entries, func(e entry) bool { return e.role == role })
}

func target(p *proof, name string, first entry, entries []entry, delegated bool) Target {
	sum := first.meta.Hashes["sha256"]
	t := Target{
		proof: p, tag: name, role: first.role.String(), size: first.meta.Length,
		digest: sha256Digest(first.meta),
	}
	if first.role == targetsRole && delegated {
		t.flags = append(t.flags, FlagLegacyTargets)
	}
	if p.unpublished {
		t.flags = append(t.flags, FlagDegraded)
	}
	for _, e := range entries {
		same := string(e.meta.Hashes["sha256"]) == string(sum)
		if !same {
			other := Named{Role: e.role.String()}
			if len(e.meta.Hashes["sha256"]) == len(sum) {
				other.Digest = sha256Digest(e.meta)
			}
			t.others = append(t.others, other)
		}
		if same && e.role != releasesRole && e.role != targetsRole {
			t.signers = append(t.signers, e.role.String())
		}
	}
	if len(t.others) > 0 {
		t.flags = append(t.flags, FlagRolesDisagree)
	}
	slices.Sort(t.signers)
	slices.SortFunc(t.others, func(a, b Named) int { return cmp.Compare(a.Role, b.Role) })
	return t
}

func sha256Digest(meta data.FileMeta) digest.Digest {
	return digest.Digest(hex.AppendEncode([]byte("sha256:"), meta.Hashes["sha256"]))
}

// firstOf returns, for each name, the first entry that the notary client's walk below a role finds, leaving out the
// subtrees of the skipped roles.
func firstOf(repo *tuf.Repo, from data.RoleName, skip ...data.RoleName) (map[string]entry, error) {
	found := make(map[string]entry)
	err := repo.WalkTargets("", from, func(file *data.SignedTargets, role data.DelegationRole) any {
		for name, meta := range file.Signed.Targets {
			if _, ok := found[name]; !ok && role.CheckPaths(name) {
				found[name] = entry{role.Name, meta}
			}
		}
		return nil
	}, skip...)
	return found, err
}

// everyEntry returns all entries of each name that the roles' paths allow. For a name that no role may contain it
// returns one entry that shows where it is.
func everyEntry(repo *tuf.Repo) (map[string][]entry, error) {
	allowed := make(map[string][]entry)
	stray := make(map[string][]entry)
	err := repo.WalkTargets("", "", func(file *data.SignedTargets, role data.DelegationRole) any {
		for name, meta := range file.Signed.Targets {
			if role.CheckPaths(name) {
				allowed[name] = append(allowed[name], entry{role.Name, meta})
			} else {
				stray[name] = append(stray[name], entry{role.Name, meta})
			}
		}
		return nil
	})
	for name, entries := range stray {
		if _, ok := allowed[name]; !ok {
			allowed[name] = entries
		}
	}
	return allowed, err
}
