// Package algorithm knows the six key specs of the Notary Project and what each implies: the hash, the padding, the
// form of the signature. Its functions are pure.
package algorithm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes that Digest uses
	_ "crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// Algorithm is how a key signs.
//
// SPEC (Notary Project signature specification, algorithm selection): the key
// alone decides the hash; RSA is RSASSA-PSS with MGF1 over the same hash and a
// salt of the hash's size, EC is ECDSA.
type Algorithm struct {
	KeySpec  plugin.KeySpec
	Hash     crypto.Hash
	HashName plugin.HashAlgorithm
	Name     plugin.SignatureAlgorithm
}

// ErrUnsupported is returned for a key that has no Notation key spec.
var ErrUnsupported = errors.New("only RSA keys of 2048, 3072 or 4096 bits and EC keys on P-256, P-384 or P-521 make Notation signatures")

var (
	rsaBySize = map[int]Algorithm{
		2048: {plugin.KeySpecRSA2048, crypto.SHA256, plugin.HashAlgorithmSHA256, plugin.SignatureAlgorithmRSASSA_PSS_SHA256},
		3072: {plugin.KeySpecRSA3072, crypto.SHA384, plugin.HashAlgorithmSHA384, plugin.SignatureAlgorithmRSASSA_PSS_SHA384},
		4096: {plugin.KeySpecRSA4096, crypto.SHA512, plugin.HashAlgorithmSHA512, plugin.SignatureAlgorithmRSASSA_PSS_SHA512},
	}
	ecByCurve = map[elliptic.Curve]Algorithm{
		elliptic.P256(): {plugin.KeySpecEC256, crypto.SHA256, plugin.HashAlgorithmSHA256, plugin.SignatureAlgorithmECDSA_SHA256},
		elliptic.P384(): {plugin.KeySpecEC384, crypto.SHA384, plugin.HashAlgorithmSHA384, plugin.SignatureAlgorithmECDSA_SHA384},
		elliptic.P521(): {plugin.KeySpecEC521, crypto.SHA512, plugin.HashAlgorithmSHA512, plugin.SignatureAlgorithmECDSA_SHA512},
	}
)

// Of returns how the private key of pub signs, or an error that wraps
// ErrUnsupported.
func Of(pub crypto.PublicKey) (Algorithm, error) {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if a, ok := rsaBySize[pub.N.BitLen()]; ok {
			return a, nil
		}
		return Algorithm{}, fmt.Errorf("RSA key of %d bits: %w", pub.N.BitLen(), ErrUnsupported)
	case *ecdsa.PublicKey:
		if a, ok := ecByCurve[pub.Curve]; ok {
			return a, nil
		}
		return Algorithm{}, fmt.Errorf("EC key on %s: %w", pub.Curve.Params().Name, ErrUnsupported)
	default:
		return Algorithm{}, fmt.Errorf("key of type %T: %w", pub, ErrUnsupported)
	}
}

// Digest hashes the payload.
func (a Algorithm) Digest(payload []byte) []byte {
	h := a.Hash.New()
	h.Write(payload)
	return h.Sum(nil)
}

// Verify returns an error unless signature, in Notation's form, is pub's over digest.
func (a Algorithm) Verify(pub crypto.PublicKey, digest, signature []byte) error {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPSS(pub, a.Hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case *ecdsa.PublicKey:
		size := coordinateSize(pub.Curve)
		if len(signature) != 2*size {
			return fmt.Errorf("an ECDSA signature of %d bytes, not %d", len(signature), 2*size)
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		if !ecdsa.Verify(pub, digest, r, s) {
			return errors.New("the ECDSA signature is wrong")
		}
		return nil
	default:
		return fmt.Errorf("key of type %T: %w", pub, ErrUnsupported)
	}
}

// PadECDSA converts a token's r||s to Notation's form: both halves as long as the curve's order. Some tokens leave
// leading zeros out of both halves.
func PadECDSA(curve elliptic.Curve, signature []byte) ([]byte, error) {
	size := coordinateSize(curve)
	if len(signature) == 0 || len(signature)%2 != 0 || len(signature) > 2*size {
		return nil, fmt.Errorf("the token returned an ECDSA signature of %d bytes, r and s of %s are %d each",
			len(signature), curve.Params().Name, size)
	}
	half := len(signature) / 2
	padded := make([]byte, 2*size)
	copy(padded[size-half:size], signature[:half])
	copy(padded[2*size-half:], signature[half:])
	return padded, nil
}

func coordinateSize(curve elliptic.Curve) int { return (curve.Params().N.BitLen() + 7) / 8 }

// RawECDSA converts an ASN.1 signature, as used by services and X.509, to Notation's form.
func RawECDSA(curve elliptic.Curve, der []byte) ([]byte, error) {
	var signature struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &signature)
	if err != nil {
		return nil, fmt.Errorf("reading an ECDSA signature: %w", err)
	}
	size := coordinateSize(curve)
	for _, n := range []*big.Int{signature.R, signature.S} {
		if len(rest) > 0 || n.Sign() <= 0 || n.Cmp(curve.Params().N) >= 0 {
			return nil, fmt.Errorf("the ECDSA signature is no r and s of %s", curve.Params().Name)
		}
	}
	raw := make([]byte, 2*size)
	signature.R.FillBytes(raw[:size])
	signature.S.FillBytes(raw[size:])
	return raw, nil
}
