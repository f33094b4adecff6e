package dct

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/notary/tuf/data"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// What may be allowed to be expired, besides the names of roles.
const (
	// RootCert is the certificate in the root's keys. It expires long before the root.
	RootCert = "root-cert"
	// Delegations are all roles below targets.
	Delegations = "delegations"
)

// Everything lists all roles that can be allowed to be expired.
func Everything() []string {
	return []string{RootCert, "root", "timestamp", "snapshot", "targets", Delegations}
}

// CheckAllowExpired returns an error unless all names are of roles, RootCert or
// Delegations.
func CheckAllowExpired(names []string) error {
	for _, n := range names {
		role := data.RoleName(n)
		if n != RootCert && n != Delegations && !data.ValidRole(role) {
			return fmt.Errorf("%s is not a role: use root-cert, root, timestamp, snapshot, targets, delegations, or a role such as targets/releases", safetext.Safe(n, 64))
		}
	}
	return nil
}

// mayExpire reports whether a role may be expired.
func (l *loader) mayExpire(role string) bool {
	return slices.Contains(l.allow, role) || strings.HasPrefix(role, "targets/") && slices.Contains(l.allow, Delegations)
}

// age checks the expiry date of a role. If an expired role is allowed, everything that rests on it records that. If
// not, reading still goes on, and ends with [loader.tooOld]: whoever has to accept expired roles, or have them
// published again, needs to know all of them at once.
func (l *loader) age(role string, expires time.Time) {
	switch {
	case l.at.Before(expires) || l.wasSeen(role, expires):
	case l.mayExpire(role):
		l.expired = append(l.expired, role)
	default:
		l.late(role, expires)
	}
}

// late records that a role is expired and must not be.
func (l *loader) late(role string, since time.Time) {
	if !slices.ContainsFunc(l.overdue, func(e Expiry) bool { return e.Role == role }) {
		l.overdue = append(l.overdue, Expiry{role, since})
	}
}

// tooOld returns the error for what is expired without being allowed to be, or nil.
func (l *loader) tooOld() error {
	if len(l.overdue) == 0 {
		return nil
	}
	var roles, since []string
	for _, e := range l.overdue {
		roles = append(roles, e.Role)
		since = append(since, e.Role+" since "+e.At.UTC().Format(time.RFC3339))
	}
	e := &Error{
		GUN: l.gun.String(), Kind: ErrExpired, Err: errors.New(strings.Join(since, ", ")),
		Hint: "docker refuses it as well; the owner of the repository has to publish it again, or accept its age with --allow-expired=",
	}
	if len(roles) == 1 {
		e.Role, e.Err = roles[0], fmt.Errorf("since %s", l.overdue[0].At.UTC().Format(time.RFC3339))
	}
	if slices.Equal(roles, []string{RootCert}) {
		e.Role, e.Err = "root", fmt.Errorf("root certificate expired %s", l.overdue[0].At.UTC().Format(time.DateOnly))
		e.Hint = "the owner of the repository has to rotate its root key, or you accept its age with --allow-expired="
	}
	e.Hint = l.unseen(e.Hint + strings.Join(roles, ","))
	return e
}

// orTooOld returns the error of a read that could not be completed. What is known to be expired is more telling than
// a failed request, as to a server that can no longer sign because the root has expired. A refusal is more telling
// still.
func (l *loader) orTooOld(ctx context.Context, err error) error {
	old := l.tooOld()
	var torn *tornError
	switch {
	case old == nil || ctx.Err() != nil || errors.Is(err, ErrRefused):
		return err
	case errors.As(err, &torn):
		return &tornError{old}
	}
	return old
}

// expires returns the expiry date of a verified role below the root.
func (l *loader) expires(role data.RoleName) time.Time {
	switch role {
	case data.CanonicalTimestampRole:
		return l.repo.Timestamp.Signed.Expires
	case data.CanonicalSnapshotRole:
		return l.repo.Snapshot.Signed.Expires
	}
	return l.repo.Targets[role].Signed.Expires
}
