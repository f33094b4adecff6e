package dct

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/theupdateframework/notary/tuf/data"
)

// errUnfollowed is for a root that the previous root has not signed, errRolledBack for an older one. Both occur for a
// repository that was initialised again.
var (
	errUnfollowed = errors.New("not signed by the root before")
	errRolledBack = errors.New("rolled back")
)

// otherRoot handles a newest root that was refused because of cause although an earlier root is known. It refuses the
// repository with an error that names both roots, unless the user accepts exactly this root. No program can tell who
// owns the name: whoever deletes a repository's trust data and initialises it again looks the same as its owner.
func (l *loader) otherRoot(known, newest *data.SignedRoot, raw []byte, cause error) (*data.SignedRoot, error) {
	pinned := l.pins.of(l.gun)
	unfollowed := errors.Is(cause, errUnfollowed) || errors.Is(cause, errRolledBack) && !sameKeys(known, newest)
	switch {
	case pinned != nil && !pinned.fits(l.gun, known):
	case unfollowed:
	default:
		return nil, cause // the roots do not conflict
	}
	if l.accepts == "" {
		return nil, l.twoRoots(known, newest, pinned, cause)
	}
	if hint, err := l.mayReplace(newest, pinned); err != nil {
		err = fmt.Errorf("--accept-root: %w; %w", err, l.differ(known, newest, pinned))
		return nil, &Error{GUN: l.gun.String(), Role: "root", Kind: ErrRefused, Err: err, Hint: hint}
	}
	root, err := l.acceptPinned(nil, raw, newest.Signed.Version, true, pinned.only(l.gun, l.accepts))
	if err != nil {
		return nil, err
	}
	l.replaced = &ReplacedRoot{Version: known.Signed.Version, KeyIDs: rootKeyIDs(known), SHA256: sumOf(l.known.Root)}
	l.known.Floors = nil // they belong to the earlier repository of this name
	return root, nil
}

// mayReplace says why a root must not replace the known one although the pin vouches for it, and what to do.
func (l *loader) mayReplace(newest *data.SignedRoot, pinned *pin) (hint string, objection error) {
	if pinned == nil || pinned.only(l.gun, l.accepts) == nil {
		return "pin the key id that the owner of the repository gives you", fmt.Errorf("key id %s is not pinned under the repository's own name", l.accepts)
	}
	found := false
	for _, key := range rootKeys(newest) {
		for _, id := range idsOf(key) {
			// A replaced root would come back: its key may have been withdrawn because others have it, and its
			// targets are old.
			if l.trusted[id] {
				return "ask the owner of the repository: it may be old trust data that comes back. If the owner has initialised it anew with a key that it had before, give it a ledger of its own with --state",
					fmt.Errorf("key %s of the root at the source was trusted before, and is no new one", id)
			}
			found = found || id == l.accepts
		}
	}
	if !found {
		return "compare it with the key id that the owner of the repository gives you; something in between may answer for the server", fmt.Errorf("the root at the source does not have the key %s", l.accepts)
	}
	return "", nil
}

// twoRoots returns the error for a root other than the known one.
func (l *loader) twoRoots(known, newest *data.SignedRoot, pinned *pin, cause error) error {
	hint := "nothing of this repository is signed. Ask its owner: only if it was initialised anew, pin the new key id that the owner gives you under the repository's own name, and accept it with run --accept-root REPOSITORY=KEYID"
	if pinned != nil && pinned.name == l.gun.String() && pinned.fits(l.gun, newest) {
		for _, key := range rootKeys(newest) {
			for _, id := range idsOf(key) {
				if pinned.only(l.gun, id) != nil { // the user's own word: suggest pasting nothing from the source
					hint = "nothing of this repository is signed. Ask its owner: only if it was initialised anew, accept the pinned root with run --accept-root " + l.gun.String() + "=" + id
				}
			}
		}
	}
	if sameKeys(known, newest) {
		hint = "nothing of this repository is signed. Its root is the one that was known before, and only the pin says another: is the pin mistyped, or of another repository? Compare it with the key id that the owner gives you"
	}
	return &Error{GUN: l.gun.String(), Role: "root", Kind: ErrRefused, Err: fmt.Errorf("%w: %w", l.differ(known, newest, pinned), unwrapped(cause)), Hint: hint}
}

// differ names the differing roots.
func (l *loader) differ(known, newest *data.SignedRoot, pinned *pin) error {
	by := l.known.By
	switch {
	case len(l.known.Root) == 0:
		by = "docker's trust directory"
	case by == "":
		by = "an earlier run"
	}
	says := ""
	if pinned != nil {
		says = pinned.String() + ", "
	}
	return fmt.Errorf("%s knows root %s, %sand the source has root %s", by, strings.Join(rootKeyIDs(known), ", "), says, strings.Join(rootKeyIDs(newest), ", "))
}

// unwrapped returns the cause of an error of ours, without the repository's name and the hint.
func unwrapped(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Err != nil {
		return e.Err
	}
	return err
}

func sameKeys(a, b *data.SignedRoot) bool { return slices.Equal(rootKeyIDs(a), rootKeyIDs(b)) }

// trust records the keys of an accepted root.
func (l *loader) trust(root *data.SignedRoot) {
	for _, key := range rootKeys(root) {
		for _, id := range idsOf(key) {
			l.trusted[id] = true
		}
	}
}

// idsOf returns the ids of a root's key: its certificate's, and its public key's, which other certificates may share.
func idsOf(key data.PublicKey) []string {
	ids := []string{key.ID()}
	if public, err := x509.ParsePKIXPublicKey([]byte(sameKey(key))); err == nil {
		if id := publicKeyID(public); id != "" && id != ids[0] {
			ids = append(ids, id)
		}
	}
	return ids
}
