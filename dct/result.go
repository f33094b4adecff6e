package dct

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/notary/tuf"
	"github.com/theupdateframework/notary/tuf/data"
)

// repository picks the trusted targets and collects what the caller wants to know.
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
	// A delegation that is no longer declared has no floor any more: it may come back.
	return &Repository{
		proof: p, targets: targets, findings: findings, expiries: expiries,
		known:    Known{Root: l.rootRaw, Floors: maps.Clone(l.seen), RootKeys: slices.Sorted(maps.Keys(l.trusted)), By: l.known.By},
		pinnedBy: l.pinnedBy,
		rootKeys: rootKeyIDs(repo.Root),
		roles:    l.roles(expiries),
		replaced: l.replaced,
	}, nil
}

// releasesArePublished refuses a repository whose tags in targets would count only because targets/releases is
// declared but missing.
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

// unpublishedReleases returns a role that decides about tags, targets/releases or one below it, that is declared but
// not published. It is empty if there is none.
func (l *loader) unpublishedReleases() string {
	for _, role := range l.unpublished {
		if role == releasesRole.String() || strings.HasPrefix(role, releasesRole.String()+"/") {
			return role
		}
	}
	return ""
}

// validUntil returns when the first of the unexpired roles expires.
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

// rootCertExpiry returns when the last of the root's certificates expires: the notary library accepts the root as
// long as one is valid.
func rootCertExpiry(root *data.SignedRoot) (latest time.Time, ok bool) {
	for _, cert := range rootCerts(root) {
		if cert.NotAfter.After(latest) {
			latest, ok = cert.NotAfter, true
		}
	}
	return latest, ok
}
