//go:build cgo && unix

package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/asn1"
	"fmt"

	"github.com/dct2notation/dct2notation/internal/rawplugin/algorithm"
	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

var curves = []struct {
	oid   asn1.ObjectIdentifier
	curve elliptic.Curve
}{
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, elliptic.P256()},
	{asn1.ObjectIdentifier{1, 3, 132, 0, 34}, elliptic.P384()},
	{asn1.ObjectIdentifier{1, 3, 132, 0, 35}, elliptic.P521()},
}

// curveOf reads CKA_EC_PARAMS, which must name one of Notation's curves by its
// object identifier.
func curveOf(params []byte) (elliptic.Curve, error) {
	var oid asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(params, &oid); err != nil || len(rest) != 0 {
		return nil, fault.Invalid("use a key on a named curve", "the EC key's parameters name no curve: %w", algorithm.ErrUnsupported)
	}
	for _, c := range curves {
		if c.oid.Equal(oid) {
			return c.curve, nil
		}
	}
	return nil, fault.Invalid("use another key", "EC key on curve %v: %w", oid, algorithm.ErrUnsupported)
}

// publicEC reads CKA_EC_POINT.
//
// SPEC (PKCS#11 2.40, EC public key objects): the point is DER-encoded as an
// OCTET STRING. Older modules leave that wrapping out.
func publicEC(curve elliptic.Curve, value []byte) (*ecdsa.PublicKey, error) {
	var point []byte
	if rest, err := asn1.Unmarshal(value, &point); err == nil && len(rest) == 0 {
		if pub, err := ecdsa.ParseUncompressedPublicKey(curve, point); err == nil {
			return pub, nil
		}
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(curve, value)
	if err != nil {
		return nil, fmt.Errorf("reading the key's EC point: %w", err)
	}
	return pub, nil
}
