package dct

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/notary/tuf"
	"github.com/theupdateframework/notary/tuf/data"

	"github.com/dct2notation/dct2notation/internal/lookup"
)

// loader verifies one repository, one file after the other, from the root down.
type loader struct {
	source Source
	pins   Pins
	gun    GUN
	known  Known

	left  int64 // bytes its files may still have
	keeps bool  // whether to keep files for a cache

	listing Listing // what lists the repository

	repo     *tuf.Repo // filled by builder
	builder  tuf.RepoBuilder
	role     string // the role at work, for errors
	rootRaw  []byte
	offered  []byte            // root to try before asking the source; nil: none
	kept     map[string][]byte // files of an earlier read, by SHA-256 in hex
	files    [][]byte          // verified files, the root first
	pinnedBy string
	accepts  string          // key of a root that may replace the known one
	replaced *ReplacedRoot   // the root it replaced
	trusted  map[string]bool // ids of all trusted roots' keys, and of their public keys
	seen     map[string]Floor
	declared []string // delegations

	degraded    bool     // whether an unpublished targets/releases is accepted
	unpublished []string // roles declared but not published

	allow   []string  // may be expired
	at      time.Time // time at which expiry is judged
	expired []string  // expired and allowed to be
	overdue []Expiry  // expired and not allowed to be; all are named in the end

	validAt func() ValidAt // the time attestation; called if something is expired
	judged  []string       // expired now, but not when seen
}

func (l *loader) timestamp(ctx context.Context) error {
	raw, err := l.fetch(ctx, "timestamp", "timestamp", maxTimestamp)
	if err != nil {
		return err
	}
	return l.load(data.CanonicalTimestampRole, raw)
}

func (l *loader) snapshot(ctx context.Context) error {
	raw, err := l.fetchListed(ctx, data.CanonicalSnapshotRole, maxSnapshot)
	if err != nil {
		return err
	}
	if err := l.load(data.CanonicalSnapshotRole, raw); err != nil {
		return err
	}
	return l.rootIsListed(raw)
}

// rootIsListed checks that the snapshot lists the accepted root by its hash.
func (l *loader) rootIsListed(snapshot []byte) error {
	var file struct {
		Signed struct {
			Meta map[string]data.FileMeta `json:"meta"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(snapshot, &file); err != nil {
		return l.refuse("snapshot", err)
	}
	meta := file.Signed.Meta[data.CanonicalRootRole.String()]
	if len(meta.Hashes["sha256"]) == 0 {
		return l.refuse("snapshot", errors.New("it lists no SHA-256 of the root"))
	}
	if err := data.CheckHashes(l.rootRaw, "root", meta.Hashes); err != nil {
		return l.explain("root", err)
	}
	return nil
}

// targets loads the targets role and, breadth first, each delegation that a loaded role declares and the snapshot
// role lists. All of them must verify: without one, an older digest in another role could win.
func (l *loader) targets(ctx context.Context) error {
	const maxRoles = 1000
	queue := []data.RoleName{data.CanonicalTargetsRole}
	for len(queue) > 0 {
		role := queue[0]
		queue = queue[1:]
		if role != data.CanonicalTargetsRole && !l.builder.GetConsistentInfo(role).ChecksumKnown() {
			if floor, ok := l.known.Floors[role.String()]; ok {
				return l.refuse(role.String(), fmt.Errorf("version %d was published, and now the snapshot leaves the role out", floor.Version))
			}
			l.unpublished = append(l.unpublished, role.String())
			continue // declared but never published, as after docker trust signer add
		}
		raw, err := l.fetchListed(ctx, role, maxTargets)
		if err != nil {
			return err
		}
		if err := l.load(role, raw); err != nil {
			return err
		}
		children, err := l.delegations(role)
		if err != nil {
			return l.refuse(role.String(), err)
		}
		if len(l.declared)+len(children) > maxRoles {
			return l.refuse(role.String(), fmt.Errorf("more than %d roles", maxRoles))
		}
		for _, child := range children {
			if slices.Contains(l.declared, child.String()) {
				return l.refuse(child.String(), errors.New("declared twice"))
			}
			l.declared = append(l.declared, child.String())
		}
		queue = append(queue, children...)
	}
	return nil
}

// delegations lists the roles that verified targets metadata declares.
func (l *loader) delegations(parent data.RoleName) ([]data.RoleName, error) {
	var names []data.RoleName
	for _, role := range l.repo.Targets[parent].Signed.Delegations.Roles {
		if role == nil {
			return nil, errors.New("a delegation is null")
		}
		names = append(names, role.Name)
	}
	return names, nil
}

// load verifies the file of a role against its signers, the hashes of its parent, its expiry and the last version
// seen.
func (l *loader) load(role data.RoleName, raw []byte) error {
	l.role = role.String()
	floor := l.known.Floors[role.String()]
	if err := l.builder.Load(role, raw, max(floor.Version, 1), true); err != nil {
		return l.explain(role.String(), err)
	}
	signers, err := l.signers(role)
	if err == nil {
		err = enough(raw, signers)
	}
	if err != nil {
		return l.refuse(role.String(), err)
	}
	l.age(role.String(), l.expires(role))
	return l.remember(role.String(), l.builder.GetLoadedVersion(role), raw)
}

// signers returns the keys of a role, and how many of them must sign.
func (l *loader) signers(role data.RoleName) (data.BaseRole, error) {
	if !data.IsDelegation(role) {
		return l.repo.Root.BuildBaseRole(role)
	}
	delegation, err := l.repo.GetDelegationRole(role)
	return delegation.BaseRole, err
}

// remember records the version of a role, and refuses two files of one version.
func (l *loader) remember(role string, version int, raw []byte) error {
	now := Floor{version, sumOf(raw)}
	if floor, ok := l.known.Floors[role]; ok && floor.Version == now.Version && floor.SHA256 != now.SHA256 {
		return l.refuse(role, fmt.Errorf("version %d has other bytes than when it was read last", version))
	}
	l.seen[role] = now
	if l.keeps {
		l.files = append(l.files, raw)
	}
	return nil
}

// fetchListed fetches the file of a role under the hash that its parent lists.
func (l *loader) fetchListed(ctx context.Context, role data.RoleName, limit int64) ([]byte, error) {
	info := l.builder.GetConsistentInfo(role)
	if !info.ChecksumKnown() || info.ConsistentName() == role.String() {
		return nil, l.refuse(role.String(), errors.New("its parent lists no SHA-256 of it"))
	}
	return l.fetch(ctx, role.String(), info.ConsistentName(), min(limit, info.Length()))
}

// fetch fetches one file and passes it through the gate.
func (l *loader) fetch(ctx context.Context, role, name string, limit int64) ([]byte, error) {
	l.role = role
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	raw, err := l.spend(ctx, name, limit)
	switch {
	case lookup.IsAbsent(err) && name == "root":
		return nil, l.missingRoot(err)
	case lookup.IsAbsent(err):
		missing := errors.New("its file is listed and missing")
		if name == "timestamp" {
			missing = errors.New("there is a root, and its file is missing")
		}
		return nil, &tornError{&Error{
			GUN: l.gun.String(), Role: role, Kind: ErrIncomplete, Err: missing,
			Hint: "the repository's publisher has to publish the role again, or its administrator to restore the server's database",
		}}
	case err != nil:
		return nil, err
	}
	if err := gate(raw); err != nil {
		return nil, l.refuse(role, err)
	}
	return raw, nil
}

// spend fetches a file within what the repository's files may still have in total.
func (l *loader) spend(ctx context.Context, name string, limit int64) ([]byte, error) {
	raw, err := l.file(ctx, name, limit)
	if l.left -= int64(len(raw)); err == nil && l.left < 0 {
		return nil, &Error{
			GUN: l.gun.String(), Role: roleOf(name), Kind: ErrTooLarge, Err: errors.New("its files have more bytes together than allowed"),
			Hint: "if its owner has published so much, allow it with --max-trust-data",
		}
	}
	return raw, err
}

// file returns a file from the source, unless it is already here: the root to try first, or a file with the hash that
// a verified parent lists.
func (l *loader) file(ctx context.Context, name string, limit int64) ([]byte, error) {
	if name == "root" && l.offered != nil {
		return l.offered, nil
	}
	if at := strings.LastIndexByte(name, '.'); at >= 0 {
		if raw, ok := l.kept[name[at+1:]]; ok && int64(len(raw)) <= limit {
			return raw, nil
		}
	}
	return l.source.File(ctx, l.gun, name, limit)
}

// missingRoot says what a missing root means: no trust data, or trust data that is gone. Only a repository that
// nothing lists and no earlier read has seen is unsigned.
func (l *loader) missingRoot(absent error) error {
	fail := func(kind, err error, hint string) error {
		return &Error{GUN: l.gun.String(), Kind: kind, Err: err, Hint: hint}
	}
	switch {
	case l.listing.Deleted:
		return fail(ErrUnsigned, fmt.Errorf("%w, as %s says: %w", ErrDeleted, l.listing.By, absent), "")
	case l.listing.By != "":
		return fail(ErrIncomplete, fmt.Errorf("%s lists it, and %w", l.listing.By, absent),
			"run again: it may have been deleted meanwhile; if it stays so, the server has lost it, or something in between answers for the server")
	case len(l.known.Root) > 0:
		return fail(ErrIncomplete, fmt.Errorf("it had trust data before, and %w", absent), "was the repository deleted from Notary, or is this another server?")
	}
	return fail(ErrUnsigned, absent, "is the name right, and was the repository signed with DCT? docker trust inspect shows that")
}
