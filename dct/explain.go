package dct

import (
	"errors"
	"fmt"
	"strings"

	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
)

// refuse makes the error for what may be an attack.
func (l *loader) refuse(role string, err error) error {
	return &Error{
		GUN: l.gun.String(), Role: role, Kind: ErrRefused, Err: err,
		Hint: "nothing of this repository is signed; ask its owner whether the trust data was damaged before you suspect less",
	}
}

// explain sorts an error of the notary library into our kinds; nil stays nil. The
// library returns some of its errors as values and some as pointers.
func (l *loader) explain(role string, err error) error {
	if err == nil {
		return nil
	}
	var checksum data.ErrMismatchedChecksum
	if errors.As(err, &checksum) {
		return &tornError{l.refuse(role, err)}
	}
	var unmet signed.ErrRoleThreshold
	if errors.As(err, &unmet) && data.IsDelegation(data.RoleName(role)) {
		return &Error{
			GUN: l.gun.String(), Role: role, Kind: ErrRefused, Err: err,
			Hint: "nothing of this repository is signed; ask its owner. Where a key was taken away from the role, notary leaves it like this until the role is signed anew (notary witness) or removed",
		}
	}
	return l.refuse(role, err)
}

// foundKeys names the key ids of a root that is not the pinned one.
func (l *loader) foundKeys(raw []byte) string {
	root, err := decodeRoot(raw)
	if err != nil {
		return ""
	}
	return ": it has key ids " + strings.Join(rootKeyIDs(root), ", ")
}

// explainRoot sorts an error of the library's root validation, and finds out what it
// folds into "unable to retrieve valid leaf certificates".
func (l *loader) explainRoot(raw []byte, err error) error {
	var invalid *trustpinning.ErrValidationFail
	if !errors.As(err, &invalid) {
		return l.refuse("root", err)
	}
	switch invalid.Reason {
	case "unable to match any certificates to trust_pinning config":
		return &Error{
			GUN: l.gun.String(), Role: "root", Kind: ErrRefused, Err: fmt.Errorf("its certificate is not the pinned one%s", l.foundKeys(raw)),
			Hint: "pins are the ids that root.json has, of certificates, and not those of notary key list; if the owner changed the root key, they can tell you the new id",
		}
	case "unable to retrieve valid leaf certificates":
		root, decodeErr := decodeRoot(raw)
		if decodeErr != nil {
			return l.refuse("root", decodeErr)
		}
		kind, cause := diagnoseRoot(root, l.gun)
		hint := "the owner of the repository has to rotate its root key"
		if kind == ErrExpired {
			hint = l.unseen(hint + ", or you accept its age with --allow-expired=root-cert")
		}
		return &Error{GUN: l.gun.String(), Role: "root", Kind: kind, Err: cause, Hint: hint}
	}
	return l.refuse("root", invalid)
}
