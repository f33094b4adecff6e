package dct

import (
	"errors"
	"fmt"

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
	var expired signed.ErrExpired
	var checksum data.ErrMismatchedChecksum
	var invalid *trustpinning.ErrValidationFail
	switch {
	case errors.As(err, &expired):
		return &Error{
			GUN: l.gun.String(), Role: role, Kind: ErrExpired, Err: fmt.Errorf("since %s", expired.Expired),
			Hint: "docker refuses it as well; the owner of the repository has to publish it again",
		}
	case errors.As(err, &checksum):
		return &tornError{l.refuse(role, err)}
	case errors.As(err, &invalid):
		return l.explainRoot(role, invalid)
	}
	return l.refuse(role, err)
}

func (l *loader) explainRoot(role string, invalid *trustpinning.ErrValidationFail) error {
	if invalid.Reason == "unable to match any certificates to trust_pinning config" {
		return &Error{
			GUN: l.gun.String(), Role: role, Kind: ErrRefused, Err: errors.New("its certificate is not the pinned one"),
			Hint: "if the owner changed the root key, they can tell you the new key id to pin",
		}
	}
	raw := l.rootCandidate
	if invalid.Reason != "unable to retrieve valid leaf certificates" || raw == nil {
		return l.refuse(role, invalid)
	}
	kind, cause := diagnoseRoot(raw, l.gun)
	hint := "the owner of the repository has to rotate its root key"
	return &Error{GUN: l.gun.String(), Role: role, Kind: kind, Err: cause, Hint: hint}
}
