//go:build cgo && unix

package token

import (
	"crypto"
	"fmt"

	"github.com/miekg/pkcs11"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/pin"
	"github.com/dct2notation/dct2notation/internal/rawplugin/algorithm"
	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

var (
	mechanisms = map[crypto.Hash]uint{crypto.SHA256: pkcs11.CKM_SHA256, crypto.SHA384: pkcs11.CKM_SHA384, crypto.SHA512: pkcs11.CKM_SHA512}
	maskings   = map[crypto.Hash]uint{crypto.SHA256: pkcs11.CKG_MGF1_SHA256, crypto.SHA384: pkcs11.CKG_MGF1_SHA384, crypto.SHA512: pkcs11.CKG_MGF1_SHA512}
)

// Sign spends one key operation on the digest and returns the signature in Notation's form. The signature is not
// checked yet.
func (k *Key) Sign(a algorithm.Algorithm, digest []byte) ([]byte, error) {
	raw, err := k.sign(a, digest)
	if err != nil {
		return nil, fmt.Errorf("signing on token %s: %w", k.session.token, err)
	}
	if k.curve != nil {
		return algorithm.PadECDSA(k.curve, raw)
	}
	return raw, nil
}

func (k *Key) sign(a algorithm.Algorithm, digest []byte) ([]byte, error) {
	s := k.session
	asks, err := k.asksEachTime()
	if err != nil {
		return nil, err
	}
	if err := s.module.SignInit(s.handle, []*pkcs11.Mechanism{k.mechanism(a.Hash)}, k.handle); err != nil {
		return nil, explain(err)
	}
	if asks {
		if err := s.loginForKey(); err != nil {
			return nil, err
		}
	}
	signature, err := s.module.Sign(s.handle, digest)
	if err != nil {
		return nil, explain(err)
	}
	return signature, nil
}

// mechanism returns the mechanism that signs a digest computed here: the payload is not sent to the token.
func (k *Key) mechanism(hash crypto.Hash) *pkcs11.Mechanism {
	if k.curve != nil {
		return pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil)
	}
	return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_PSS,
		pkcs11.NewPSSParams(mechanisms[hash], maskings[hash], uint(hash.Size())))
}

// asksEachTime reports whether the key requires the PIN again for every signature.
func (k *Key) asksEachTime() (bool, error) {
	value, err := k.session.attribute(k.handle, pkcs11.CKA_ALWAYS_AUTHENTICATE)
	return len(value) == 1 && value[0] != 0, err
}

// loginForKey gives the PIN once more.
//
// SPEC (PKCS#11 2.40, private key objects): with CKA_ALWAYS_AUTHENTICATE the
// context-specific login comes right after C_SignInit.
func (s *Session) loginForKey() error {
	if !s.hasPIN {
		return fault.Denied("set "+pin.DefaultEnv+", or name a pin_file or pin_env in plugin-config",
			"the key asks for the PIN at each signature and none is configured")
	}
	if err := s.module.Login(s.handle, pkcs11.CKU_CONTEXT_SPECIFIC, s.pin.Reveal()); err != nil {
		return fmt.Errorf("giving the PIN for this signature: %w", explain(err))
	}
	return nil
}
