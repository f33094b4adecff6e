package dct

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/notary/tuf"
	"github.com/theupdateframework/notary/tuf/data"
)

// Reader reads and verifies trust data of repositories. It is safe for concurrent use if
// its Source is.
type Reader struct {
	Source Source
	Pins   Pins
	// AllowExpired names what may be past its date: roles, RootCert, Delegations. Every
	// target that rests on it says so. Nothing else is overridden by it.
	AllowExpired []string
	// AllowDegraded accepts a repository that declares targets/releases, does not publish
	// it, and has tags in targets. It may never have been published, or the server holds
	// it back so that older digests count: nothing in the data tells which.
	AllowDegraded bool
	// At is the time at which ages are judged; zero: now.
	At time.Time
	// Witness may say that trust data past its date was seen before; nil: nobody does.
	Witness Witness
}

// Read returns the verified trust data of a repository as the source has it now, or an
// [*Error]. What is known from the read before makes it refuse older versions, other
// roots and roles that have vanished; the zero Known knows nothing.
//
// A repository that is being published while it is read can look torn; so one mismatch
// between its files is read again before it counts.
func (r *Reader) Read(ctx context.Context, gun GUN, known Known) (*Repository, error) {
	repository, err := r.read(ctx, gun, known)
	var torn *tornError
	if errors.As(err, &torn) {
		repository, err = r.read(ctx, gun, known)
	}
	return repository, err
}

// tornError marks a mismatch between two files that a publication in between explains.
type tornError struct{ err error }

func (e *tornError) Error() string { return e.err.Error() }
func (e *tornError) Unwrap() error { return e.err }

func (r *Reader) read(ctx context.Context, gun GUN, known Known) (_ *Repository, err error) {
	l := &loader{source: r.Source, pins: r.Pins, gun: gun, known: known, seen: map[string]Floor{}, allow: r.AllowExpired, degraded: r.AllowDegraded, at: r.At, sight: r.witnessOf(ctx, gun)}
	if l.at.IsZero() {
		l.at = time.Now()
	}
	// The notary library panics on several malformed files. Whatever made it do so is
	// not to be trusted.
	defer func() {
		if p := recover(); p != nil {
			err = l.refuse(l.role, fmt.Errorf("the notary library panicked: %v", p))
		}
	}()
	for _, step := range []func(context.Context) error{l.root, l.timestamp, l.snapshot, l.targets} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	repo, _, err := l.builder.Finish()
	if err != nil {
		return nil, l.refuse("", err)
	}
	return l.repository(repo)
}

// loader verifies one repository, one file after the other, from the root down.
type loader struct {
	source Source
	pins   Pins
	gun    GUN
	known  Known

	builder  tuf.RepoBuilder
	role     string // the role at work, for errors
	rootRaw  []byte
	pinnedBy string
	seen     map[string]Floor
	declared []string // delegations

	degraded    bool     // whether an unpublished targets/releases is accepted
	unpublished []string // roles that are declared and not published

	allow   []string  // what may be expired
	at      time.Time // when that is judged
	expired []string  // what is expired and was allowed to be

	sight  func() Sight // what a witness says; asked where something is expired
	judged []string     // what is expired, and was not when it was seen
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

// rootIsListed checks that the snapshot lists the root that was accepted, by its hash.
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

// targets loads the targets role and, breadth first, each delegation that is declared by
// a loaded role and listed in the snapshot. All of them must verify: leaving one out
// would let an older digest in another role win.
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
			continue // declared and never published, as after docker trust signer add
		}
		raw, err := l.fetchListed(ctx, role, maxTargets)
		if err != nil {
			return err
		}
		if err := l.load(role, raw); err != nil {
			return err
		}
		children, err := delegations(raw)
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

// delegations lists the roles that verified targets metadata declares. The gate has seen
// the bytes, so this decoding reads what the notary library read.
func delegations(raw []byte) ([]data.RoleName, error) {
	var file struct {
		Signed struct {
			Delegations struct {
				Roles []*struct {
					Name data.RoleName `json:"name"`
				} `json:"roles"`
			} `json:"delegations"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, err
	}
	var names []data.RoleName
	for _, role := range file.Signed.Delegations.Roles {
		if role == nil {
			return nil, errors.New("a delegation is null")
		}
		names = append(names, role.Name)
	}
	return names, nil
}

// load verifies the file of a role against its signers, the hashes of its parent, its
// expiry and the version that was seen last.
func (l *loader) load(role data.RoleName, raw []byte) error {
	l.role = role.String()
	floor := l.known.Floors[role.String()]
	if err := l.builder.Load(role, raw, max(floor.Version, 1), true); err != nil {
		return l.explain(role.String(), err)
	}
	expires, err := ageOf(raw)
	if err != nil {
		return l.refuse(role.String(), err)
	}
	if err := l.age(role.String(), expires); err != nil {
		return err
	}
	return l.remember(role.String(), l.builder.GetLoadedVersion(role), raw)
}

// remember notes the version of a role, and refuses two files of one version.
func (l *loader) remember(role string, version int, raw []byte) error {
	sum := sha256.Sum256(raw)
	now := Floor{version, hex.EncodeToString(sum[:])}
	if floor, ok := l.known.Floors[role]; ok && floor.Version == now.Version && floor.SHA256 != now.SHA256 {
		return l.refuse(role, fmt.Errorf("version %d has other bytes than when it was read last", version))
	}
	l.seen[role] = now
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

// fetch gets one file and passes it through the gate.
func (l *loader) fetch(ctx context.Context, role, name string, limit int64) ([]byte, error) {
	l.role = role
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	raw, err := l.source.File(ctx, l.gun, name, limit)
	switch {
	case errors.Is(err, ErrNotFound) && name == "root":
		return nil, l.missingRoot()
	case errors.Is(err, ErrNotFound):
		return nil, &tornError{&Error{
			GUN: l.gun.String(), Role: role, Kind: ErrIncomplete,
			Err:  errors.New("its file is listed and missing"),
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

// missingRoot tells an unsigned repository from one whose trust data is gone.
func (l *loader) missingRoot() error {
	if len(l.known.Root) > 0 {
		return &Error{
			GUN: l.gun.String(), Kind: ErrIncomplete, Err: errors.New("it had trust data before, and the source has none now"),
			Hint: "was the repository deleted from Notary, or is this another server?",
		}
	}
	return &Error{GUN: l.gun.String(), Kind: ErrUnsigned}
}

// repository picks the trusted targets and gathers what the caller wants to know.
func (l *loader) repository(repo *tuf.Repo) (*Repository, error) {
	expiries := expiriesOf(repo)
	if err := l.releasesArePublished(repo); err != nil {
		return nil, err
	}
	slices.Sort(l.expired)
	versions := make(map[string]int, len(l.seen))
	for role, floor := range l.seen {
		versions[role] = floor.Version
	}
	p := &proof{gun: l.gun, validUntil: l.validUntil(expiries), versions: versions, expired: l.expired, judged: l.judgement()}
	p.unpublished = l.unpublishedReleases() != ""
	targets, findings, err := pick(p, repo)
	if err != nil {
		return nil, l.refuse("targets", err)
	}
	// A delegation that is declared no longer has no floor any more: it may come back.
	return &Repository{
		proof: p, targets: targets, findings: findings, expiries: expiries,
		known:    Known{Root: l.rootRaw, Floors: maps.Clone(l.seen)},
		pinnedBy: l.pinnedBy,
		rootKeys: rootKeyIDs(repo.Root),
	}, nil
}

// releasesArePublished refuses the repository whose tags in targets would count only
// because targets/releases, which it declares, is not there.
func (l *loader) releasesArePublished(repo *tuf.Repo) error {
	missing := l.unpublishedReleases()
	if l.degraded || missing == "" || len(repo.Targets[targetsRole].Signed.Targets) == 0 {
		return nil
	}
	return &Error{
		GUN: l.gun.String(), Role: missing, Kind: ErrIncomplete,
		Err:  errors.New("declared and not published, so that older digests in targets would count"),
		Hint: "ask the owner whether anything was signed since the signers were added: if not, --allow-degraded accepts it; if so, the server holds it back",
	}
}

// unpublishedReleases is a role that decides over tags, targets/releases or one below it,
// and is declared and not published; empty: none is.
func (l *loader) unpublishedReleases() string {
	for _, role := range l.unpublished {
		if role == releasesRole.String() || strings.HasPrefix(role, releasesRole.String()+"/") {
			return role
		}
	}
	return ""
}

// validUntil is when the first of the roles expires that has not yet.
func (l *loader) validUntil(expiries []Expiry) time.Time {
	var first time.Time
	for _, e := range expiries {
		if !slices.Contains(l.expired, e.Role) && !slices.Contains(l.judged, e.Role) && (first.IsZero() || e.At.Before(first)) {
			first = e.At
		}
	}
	return first
}

func expiriesOf(repo *tuf.Repo) []Expiry {
	expiries := []Expiry{
		{"root", repo.Root.Signed.Expires},
		{"timestamp", repo.Timestamp.Signed.Expires},
		{"snapshot", repo.Snapshot.Signed.Expires},
	}
	for role, file := range repo.Targets {
		expiries = append(expiries, Expiry{role.String(), file.Signed.Expires})
	}
	if at, ok := rootCertExpiry(repo.Root); ok {
		expiries = append(expiries, Expiry{"root-cert", at})
	}
	slices.SortFunc(expiries, func(a, b Expiry) int {
		if a.Role < b.Role {
			return -1
		}
		return 1
	})
	return expiries
}

// rootCertExpiry is when the last of the root's certificates expires: as long as one is
// valid the notary library accepts the root.
func rootCertExpiry(root *data.SignedRoot) (latest time.Time, ok bool) {
	for _, cert := range rootCerts(root) {
		if cert.NotAfter.After(latest) {
			latest, ok = cert.NotAfter, true
		}
	}
	return latest, ok
}
