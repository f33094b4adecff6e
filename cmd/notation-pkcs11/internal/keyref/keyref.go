// Package keyref describes which private key on which token to use.
//
// A Ref is a set of conditions; an empty field is no condition. It is written either as the key's CKA_LABEL or as a
// PKCS#11 URI (RFC 7512, a subset). A Ref never holds a PIN: a URI with one is refused, and no error of this package
// quotes the URI, since a refused one may contain it.
package keyref

import (
	"bytes"
	"fmt"
	"strings"
)

// Ref describes a key and the token that holds it.
type Ref struct {
	Token        string // CKA_LABEL of the token, without padding
	Serial       string
	Manufacturer string
	Model        string
	Slot         *uint // slot number; many modules renumber on each start

	Label string // CKA_LABEL of the private key
	ID    []byte // CKA_ID of the private key
}

// Parse parses a key id from Notation's --id: a PKCS#11 URI if it starts with pkcs11:, otherwise a label, used as it
// is.
func Parse(keyID string) (Ref, error) {
	if IsURI(keyID) {
		return parseURI(keyID)
	}
	if keyID == "" {
		return Ref{}, fmt.Errorf("the key id is empty")
	}
	return Ref{Label: keyID}, nil
}

// Merge adds the conditions of other. A field that both set differently is an error: we must not guess which of the
// two keys is the right one.
func (r Ref) Merge(other Ref) (Ref, error) {
	for _, f := range []struct {
		name string
		mine *string
		its  string
	}{
		{"token", &r.Token, other.Token},
		{"serial", &r.Serial, other.Serial},
		{"manufacturer", &r.Manufacturer, other.Manufacturer},
		{"model", &r.Model, other.Model},
		{"label", &r.Label, other.Label},
	} {
		if *f.mine != "" && f.its != "" && *f.mine != f.its {
			return Ref{}, fmt.Errorf("the %s is given twice, as %q and as %q", f.name, *f.mine, f.its)
		}
		if *f.mine == "" {
			*f.mine = f.its
		}
	}
	if r.ID != nil && other.ID != nil && !bytes.Equal(r.ID, other.ID) {
		return Ref{}, fmt.Errorf("the id is given twice, as %x and as %x", r.ID, other.ID)
	}
	if r.ID == nil {
		r.ID = other.ID
	}
	if r.Slot != nil && other.Slot != nil && *r.Slot != *other.Slot {
		return Ref{}, fmt.Errorf("the slot is given twice, as %d and as %d", *r.Slot, *other.Slot)
	}
	if r.Slot == nil {
		r.Slot = other.Slot
	}
	return r, nil
}

// KeyText describes the key's half of a Ref for messages, quoted.
func (r Ref) KeyText() string {
	var parts []string
	if r.Label != "" {
		parts = append(parts, fmt.Sprintf("label %q", r.Label))
	}
	if r.ID != nil {
		parts = append(parts, fmt.Sprintf("id %x", r.ID))
	}
	return strings.Join(parts, " and ")
}

// TokenText describes the token's half of a Ref for messages, quoted; "any" if every token will do.
func (r Ref) TokenText() string {
	var parts []string
	for _, f := range []struct{ name, value string }{
		{"label", r.Token}, {"serial", r.Serial}, {"manufacturer", r.Manufacturer}, {"model", r.Model},
	} {
		if f.value != "" {
			parts = append(parts, fmt.Sprintf("%s %q", f.name, f.value))
		}
	}
	if r.Slot != nil {
		parts = append(parts, fmt.Sprintf("slot %d", *r.Slot))
	}
	if parts == nil {
		return "any"
	}
	return strings.Join(parts, " and ")
}
