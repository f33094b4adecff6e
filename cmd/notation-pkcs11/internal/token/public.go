//go:build cgo && unix

package token

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"math/big"

	"github.com/miekg/pkcs11"
)

// publicRSA reads the modulus from the private key or its public object, one of which must have it, and the exponent
// from wherever it is.
func (k *Key) publicRSA() (*rsa.PublicKey, error) {
	modulus, err := k.ownOrPublic(pkcs11.CKA_MODULUS)
	if err != nil {
		return nil, err
	}
	if modulus == nil {
		return nil, errors.New("the token does not show the modulus of the RSA key")
	}
	exponent, err := k.ownOrPublic(pkcs11.CKA_PUBLIC_EXPONENT)
	if err != nil {
		return nil, err
	}
	e := new(big.Int).SetBytes(exponent)
	switch {
	case exponent == nil:
		e.SetInt64(65537) // the usual exponent; a wrong guess fails to match the certificate
	case e.BitLen() > 31:
		return nil, errors.New("the exponent of the RSA key is too large")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(e.Int64())}, nil
}

// readEC sets the curve, and the public key if the token shows its point.
func (k *Key) readEC() error {
	params, err := k.ownOrPublic(pkcs11.CKA_EC_PARAMS)
	if err != nil {
		return err
	}
	if k.curve, err = curveOf(params); err != nil {
		return err
	}
	point, err := k.ownOrPublic(pkcs11.CKA_EC_POINT)
	if err != nil || point == nil {
		return err
	}
	var pub *ecdsa.PublicKey
	if pub, err = publicEC(k.curve, point); err != nil {
		return err
	}
	k.public = pub
	return nil
}

// ownOrPublic reads an attribute from the private key or, if it is not there,
// from the public key object beside it. It returns nil if neither shows it.
func (k *Key) ownOrPublic(kind uint) ([]byte, error) {
	value, err := k.session.attribute(k.handle, kind)
	if err != nil || value != nil {
		return value, err
	}
	twins, err := k.publicObjects()
	if err != nil || len(twins) != 1 {
		return nil, err // with several public keys, none is known to be ours
	}
	return k.session.attribute(twins[0], kind)
}

// publicObjects finds public keys under the key's id or, failing that, its label.
func (k *Key) publicObjects() ([]pkcs11.ObjectHandle, error) {
	for _, name := range k.names() {
		found, err := k.session.find(class(pkcs11.CKO_PUBLIC_KEY), name)
		if err != nil || len(found) > 0 {
			return found, err
		}
	}
	return nil, nil
}

// names returns the two attributes by which PKCS#11 objects belong together.
func (k *Key) names() []*pkcs11.Attribute {
	var names []*pkcs11.Attribute
	if k.id != nil {
		names = append(names, pkcs11.NewAttribute(pkcs11.CKA_ID, k.id))
	}
	if k.label != nil {
		names = append(names, pkcs11.NewAttribute(pkcs11.CKA_LABEL, k.label))
	}
	return names
}
