package dct

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
)

// refuse returns the error for what may be an attack.
func (l *loader) refuse(role string, err error) error {
	return &Error{
		GUN: l.gun.String(), Role: role, Kind: ErrRefused, Err: err,
		Hint: "nothing in this repository is signed; ask its owner whether the trust data was tampered with",
	}
}

// explain classifies an error of the notary library; nil stays nil. The library returns some of its errors as values
// and some as pointers.
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

// notPinned returns the error for a root that the pin does not vouch for.
func (l *loader) notPinned(root *data.SignedRoot, pinned *pin) error {
	var public []string
	for _, key := range rootKeys(root) {
		if ids := idsOf(key); len(ids) > 1 {
			public = append(public, ids[1])
		}
	}
	among := func(ids, others []string) bool {
		return slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(others, id) })
	}
	const asked = "if the owner changed the root key, they can tell you the new id"
	what := "its certificate is not the pinned one: it has key ids " + strings.Join(rootKeyIDs(root), ", ")
	hint := "pin certificate ids (as in root.json) under certs, and public key ids (as shown by notary key list) under root-keys. " + strings.ToUpper(asked[:1]) + asked[1:]
	switch {
	case pinned == nil:
	case pinned.ca != "":
		what = "its certificate is not of one of the pinned authorities in " + pinned.ca
		hint = "compare the authority that has issued it with those in the file: has it been renewed or has it expired, and are authorities in between in the root, or in the file?"
	case among(pinned.certs, public):
		hint = "the pinned id is that of its public key, as notary key list shows it: pin it under root-keys, not under certs"
	case len(pinned.keys) > 0:
		what = "its key is not the pinned one: it has public keys " + strings.Join(public, ", ")
		hint = "pin public key ids (as shown by notary key list) under root-keys; " + asked
		if among(pinned.keys, rootKeyIDs(root)) {
			hint = "the pinned id is that of its certificate, as root.json has it: pin it under certs, not under root-keys"
		}
	}
	return &Error{GUN: l.gun.String(), Role: "root", Kind: ErrRefused, Err: errors.New(what), Hint: hint}
}

// errNotPinned is agedRoot's error for a root that the pins do not vouch for.
var errNotPinned = errors.New("none of its certificates is pinned")

// explainRoot classifies an error of the library's root validation, or of agedRoot, and finds out what is behind
// "unable to retrieve valid leaf certificates".
func (l *loader) explainRoot(raw []byte, pinned *pin, err error) error {
	var invalid *trustpinning.ErrValidationFail
	if !errors.As(err, &invalid) && !errors.Is(err, errNotPinned) {
		return l.refuse("root", err)
	}
	root, decodeErr := decodeRoot(raw)
	if decodeErr != nil {
		return l.refuse("root", decodeErr)
	}
	if invalid == nil {
		return l.notPinned(root, pinned)
	}
	switch invalid.Reason {
	case "unable to match any certificates to trust_pinning config":
		return l.notPinned(root, pinned)
	case "could not load root cert from CA path", "invalid CA certs provided":
		if pinned == nil {
			break
		}
		return &Error{
			GUN: l.gun.String(), Role: "root", Kind: ErrRefused, Err: fmt.Errorf("none of the pinned authorities in %s can be used", pinned.ca),
			Hint: "the file has to hold certificates of authorities, in PEM, that have not expired",
		}
	case "unable to retrieve valid leaf certificates":
		kind, cause := diagnoseRoot(root, l.gun)
		hint := "the owner of the repository has to rotate its root key"
		if errors.Is(kind, ErrExpired) {
			hint = l.unseen(hint + ", or you accept its age with --allow-expired=root-cert")
		}
		return &Error{GUN: l.gun.String(), Role: "root", Kind: kind, Err: cause, Hint: hint}
	}
	return l.refuse("root", invalid)
}
