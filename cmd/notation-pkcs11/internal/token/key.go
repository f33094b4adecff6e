//go:build cgo && unix

package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"

	"github.com/miekg/pkcs11"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/keyref"
	"github.com/dct2notation/dct2notation/internal/rawplugin/algorithm"
	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

// Key is a private key on the token of an open session.
type Key struct {
	session *Session
	handle  pkcs11.ObjectHandle
	id      []byte           // CKA_ID, nil if it has none
	label   []byte           // CKA_LABEL, nil if it has none
	public  crypto.PublicKey // nil for an EC key whose point the token does not show
	curve   elliptic.Curve   // nil for RSA
}

// Key returns the only private key that ref describes.
func (s *Session) Key(ref keyref.Ref) (*Key, error) {
	search := []*pkcs11.Attribute{class(pkcs11.CKO_PRIVATE_KEY)}
	if ref.Label != "" {
		search = append(search, pkcs11.NewAttribute(pkcs11.CKA_LABEL, ref.Label))
	}
	if ref.ID != nil {
		search = append(search, pkcs11.NewAttribute(pkcs11.CKA_ID, ref.ID))
	}
	found, err := s.find(search...)
	if err != nil {
		return nil, fmt.Errorf("looking for the key with %s: %w", ref.KeyText(), err)
	}
	switch len(found) {
	case 0:
		return nil, fault.Invalid("correct the label or id; `pkcs11-tool --login --list-objects` shows what is there",
			"token %s holds no private key with %s", s.token, ref.KeyText())
	case 1:
	default:
		return nil, fault.Invalid("name the key by its id: plugin-config id=HEX, or id=%HH in a PKCS#11 URI",
			"token %s holds %d private keys with %s", s.token, len(found), ref.KeyText())
	}
	k := &Key{session: s, handle: found[0]}
	if err := k.read(); err != nil {
		return nil, fmt.Errorf("reading the key with %s: %w", ref.KeyText(), err)
	}
	return k, nil
}

func (k *Key) read() error {
	var err error
	if k.id, err = k.session.attribute(k.handle, pkcs11.CKA_ID); err != nil {
		return err
	}
	if k.label, err = k.session.attribute(k.handle, pkcs11.CKA_LABEL); err != nil {
		return err
	}
	value, err := k.session.attribute(k.handle, pkcs11.CKA_KEY_TYPE)
	if err != nil {
		return err
	}
	switch kind, ok := number(value); {
	case ok && kind == pkcs11.CKK_RSA:
		k.public, err = k.publicRSA()
		return err
	case ok && kind == pkcs11.CKK_EC:
		return k.readEC()
	default:
		return fault.Invalid("use another key", "a key of PKCS#11 type %x: %w", value, algorithm.ErrUnsupported)
	}
}

// Belongs reports whether pub can be this key's public part. For an EC key whose point the token does not show, it
// compares only the curve; the check of the signature, which follows every signing, proves the rest.
func (k *Key) Belongs(pub crypto.PublicKey) bool {
	switch own := k.public.(type) {
	case *rsa.PublicKey:
		return own.Equal(pub)
	case *ecdsa.PublicKey:
		return own.Equal(pub)
	default:
		ec, ok := pub.(*ecdsa.PublicKey)
		return ok && ec.Curve == k.curve
	}
}

// KnowsPublic reports whether the token showed the key's public part.
func (k *Key) KnowsPublic() bool { return k.public != nil }
