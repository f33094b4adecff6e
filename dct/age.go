package dct

import (
	"encoding/json"
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

// CheckAllowExpired returns an error unless all names are of roles, RootCert or
// Delegations.
func CheckAllowExpired(names []string) error {
	for _, n := range names {
		role := data.RoleName(n)
		if n != RootCert && n != Delegations && !data.ValidRole(role) {
			return fmt.Errorf("%s is no role: name root-cert, root, timestamp, snapshot, targets, delegations, or a role such as targets/releases", safetext.Safe(n, 64))
		}
	}
	return nil
}

// mayExpire tells whether a role may be past its date.
func (l *loader) mayExpire(role string) bool {
	return slices.Contains(l.allow, role) || strings.HasPrefix(role, "targets/") && slices.Contains(l.allow, Delegations)
}

// age checks the date of a role. Where an old one is allowed, it is remembered for
// everything that rests on it.
func (l *loader) age(role string, expires time.Time) error {
	if l.at.Before(expires) || l.wasSeen(role, expires) {
		return nil
	}
	if l.mayExpire(role) {
		l.expired = append(l.expired, role)
		return nil
	}
	return &Error{
		GUN: l.gun.String(), Role: role, Kind: ErrExpired, Err: fmt.Errorf("since %s", expires.UTC().Format(time.RFC3339)),
		Hint: l.unseen("docker refuses it as well; the owner of the repository has to publish it again, or accept its age with --allow-expired=" + role),
	}
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
