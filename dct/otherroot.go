package dct

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/theupdateframework/notary/tuf/data"
)

// errUnfollowed is of a root that the root before has not signed; errRolledBack of one that is
// older. Both are so of a repository that was initialised anew.
var (
	errUnfollowed = errors.New("not signed by the root before")
	errRolledBack = errors.New("rolled back")
)

// otherRoot decides over a repository whose newest root was refused for cause, though another
// is known from before: it is refused, and the error names both, unless the user accepts just
// this root. To whom the name belongs, no program can tell: whoever deletes the trust data of
// a repository, and initialises it anew, looks the same as its owner.
func (l *loader) otherRoot(known, newest *data.SignedRoot, raw []byte, cause error) (*data.SignedRoot, error) {
	pinned := l.pins.of(l.gun)
	unfollowed := errors.Is(cause, errUnfollowed) || errors.Is(cause, errRolledBack) && !sameKeys(known, newest)
	switch {
	case pinned != nil && !pinned.fits(l.gun, known):
	case unfollowed:
	default:
		return nil, cause // the two do not differ
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
	l.known.Floors = nil // they are of the other repository of this name
	return root, nil
}

// mayReplace says what is against it that a root takes the place of the one that is known, once
// the pin has vouched for it, and what to do.
func (l *loader) mayReplace(newest *data.SignedRoot, pinned *pin) (hint string, objection error) {
	if pinned == nil || pinned.only(l.gun, l.accepts) == nil {
		return "pin the key id that the owner of the repository gives you", fmt.Errorf("key id %s is not pinned under the repository's own name", l.accepts)
	}
	found := false
	for _, key := range rootKeys(newest) {
		for _, id := range idsOf(key) {
			// A root that was replaced would come back: its key may have been taken away because
			// it is in other hands, and its targets are old.
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

// twoRoots is the error for a root that is not the one known before.
func (l *loader) twoRoots(known, newest *data.SignedRoot, pinned *pin, cause error) error {
	hint := "nothing of this repository is signed. Ask its owner: only if it was initialised anew, pin the new key id that the owner gives you under the repository's own name, and accept it with run --accept-root REPOSITORY=KEYID"
	if pinned != nil && pinned.name == l.gun.String() && pinned.fits(l.gun, newest) {
		for _, key := range rootKeys(newest) {
			for _, id := range idsOf(key) {
				if pinned.only(l.gun, id) != nil { // the user's own word: nothing of the source's is to be pasted
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

// differ names the roots that differ.
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

// unwrapped is the cause of an error of ours, without the repository's name and the hint.
func unwrapped(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Err != nil {
		return e.Err
	}
	return err
}

func sameKeys(a, b *data.SignedRoot) bool { return slices.Equal(rootKeyIDs(a), rootKeyIDs(b)) }

// trust notes the keys of a root that was accepted.
func (l *loader) trust(root *data.SignedRoot) {
	for _, key := range rootKeys(root) {
		for _, id := range idsOf(key) {
			l.trusted[id] = true
		}
	}
}

// idsOf are the ids of a root's key: that of its certificate, and that of its public key,
// which other certificates may be of as well.
func idsOf(key data.PublicKey) []string {
	ids := []string{key.ID()}
	if public, err := x509.ParsePKIXPublicKey([]byte(sameKey(key))); err == nil {
		if id := publicKeyID(public); id != "" && id != ids[0] {
			ids = append(ids, id)
		}
	}
	return ids
}
