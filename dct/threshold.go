package dct

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
)

// The notary library counts key ids. A bare key has one id, and each of its certificates another, so the holder of
// one key could meet a threshold of two.
//
// SPEC (TUF 1.0.34, 5.3.4 and elsewhere): a threshold counts unique keys.

// enough checks that as many distinct keys as a role's threshold signed. The library has accepted the signatures;
// role holds the keys that it may have counted.
func enough(raw []byte, role data.BaseRole) error {
	keys := map[string]string{}
	distinct := map[string]bool{}
	for id, key := range role.Keys {
		keys[id] = sameKey(key)
		distinct[keys[id]] = true
	}
	if len(distinct) == len(role.Keys) {
		return nil // the library's count is right
	}
	s, err := decodeSigned(raw)
	if err != nil {
		return err
	}
	signers := map[string]bool{}
	for _, sig := range s.Signatures {
		key, ok := role.Keys[sig.KeyID]
		if !ok {
			continue
		}
		one := data.Signed{Signed: s.Signed, Signatures: []data.Signature{sig}}
		if signed.VerifySignatures(&one, data.BaseRole{Name: role.Name, Keys: data.Keys{sig.KeyID: key}, Threshold: 1}) == nil {
			signers[keys[sig.KeyID]] = true
		}
	}
	if len(signers) < role.Threshold {
		return fmt.Errorf("its threshold is %d keys, but only %d signed, some under more than one id", role.Threshold, len(signers))
	}
	return nil
}

// enoughForRoot does the same for an accepted root: for its own threshold, and for the previous root's if there is
// one. s is what was verified, with the library's marks on the signatures that it counted.
func enoughForRoot(prev, root *data.SignedRoot, s *data.Signed, raw []byte, gun data.GUN) error {
	role, err := root.BuildBaseRole(data.CanonicalRootRole)
	if err != nil {
		return err
	}
	counted := data.Keys{}
	for _, sig := range s.Signatures {
		if key, ok := role.Keys[sig.KeyID]; ok && sig.IsValid {
			counted[sig.KeyID] = key
		}
	}
	if err := enough(raw, data.BaseRole{Name: role.Name, Keys: counted, Threshold: role.Threshold}); err != nil || prev == nil {
		return err
	}
	before, err := certifiedRole(prev, gun)
	if err == nil {
		err = enough(raw, before)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUnfollowed, err)
	}
	return nil
}

// sameKey returns equal strings for ids of one key, bare or in a certificate, DER or PEM: the library's verifiers
// take the first PEM block, whatever its type. An unreadable key verifies nothing, so its id is good enough.
func sameKey(key data.PublicKey) string {
	der := key.Public()
	if block, _ := pem.Decode(der); block != nil {
		der = block.Bytes
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if cert, certErr := x509.ParseCertificate(der); certErr == nil {
		public, err = cert.PublicKey, nil
	}
	if err == nil {
		der, err = x509.MarshalPKIXPublicKey(public)
	}
	if err != nil {
		return key.ID()
	}
	return string(der)
}
