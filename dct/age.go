package dct

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/notary/tuf/data"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// What may be allowed to be expired, beside the names of roles.
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

// mayExpire reports whether a role may be past its date.
func (l *loader) mayExpire(role string) bool {
	return slices.Contains(l.allow, role) || strings.HasPrefix(role, "targets/") && slices.Contains(l.allow, Delegations)
}

// age checks the date of a role. Where an old one is allowed, it is remembered for
// everything that rests on it. Where it is not, reading goes on all the same, and ends with
// [loader.tooOld]: whoever has to accept ages, or to have roles published again, wants to know of
// all of them at once.
func (l *loader) age(role string, expires time.Time) {
	switch {
	case l.at.Before(expires) || l.wasSeen(role, expires):
	case l.mayExpire(role):
		l.expired = append(l.expired, role)
	default:
		l.late(role, expires)
	}
}

// late notes that a role is expired and may not be.
func (l *loader) late(role string, since time.Time) {
	if !slices.ContainsFunc(l.overdue, func(e Expiry) bool { return e.Role == role }) {
		l.overdue = append(l.overdue, Expiry{role, since})
	}
}

// tooOld is the error for what is past its date and was not allowed to be; nil: nothing is.
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

// orTooOld is the error of a read that came to no end: what is expired is known, and counts
// more than what could not be found out, as of a server that cannot sign any more because the root
// has expired. What was refused counts more.
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

// ageOf reads the date in a file that was verified.
func ageOf(raw []byte) (time.Time, error) {
	var file struct {
		Signed struct {
			Expires time.Time `json:"expires"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return time.Time{}, err
	}
	return file.Signed.Expires, nil
}
