package notarytest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/docker/go/canonical/json"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
	"github.com/theupdateframework/notary/tuf/utils"
)

// A document is a file taken apart for forging: its signed part as plain JSON values, so that
// an edit may also make what notary's types could not hold.
type document struct {
	signed     map[string]any
	signatures []data.Signature
}

func parseDocument(raw []byte) (document, error) {
	var outer data.Signed
	if err := json.Unmarshal(raw, &outer); err != nil {
		return document{}, err
	}
	if outer.Signed == nil {
		return document{}, errors.New("no signed part")
	}
	d := document{signatures: outer.Signatures}
	err := json.Unmarshal(*outer.Signed, &d.signed)
	return d, err
}

// version returns the version number, 0 if there is none.
func (d document) version() int {
	switch v := d.signed["version"].(type) {
	case float64: // as decoded
		return int(v)
	case int: // as edited
		return v
	}
	return 0
}

// bump makes the document the next version of itself.
func (d document) bump() { d.signed["version"] = d.version() + 1 }

// sign replaces the signatures by those of all keys whose private halves are in the rings,
// whatever the threshold.
func (d *document) sign(keys []data.PublicKey, rings ...signed.CryptoService) error {
	message, err := json.MarshalCanonical(d.signed)
	if err != nil {
		return err
	}
	d.signatures = nil
	for _, key := range keys {
		private, err := privateKey(key, rings)
		if err != nil {
			return err
		}
		signature, err := private.Sign(rand.Reader, message, nil)
		if err != nil {
			return err
		}
		d.signatures = append(d.signatures, data.Signature{
			KeyID: key.ID(), Method: private.SignatureAlgorithm(), Signature: signature,
		})
	}
	return nil
}

// privateKey finds the private half of a key, which may be a certificate.
func privateKey(key data.PublicKey, rings []signed.CryptoService) (data.PrivateKey, error) {
	id, err := utils.CanonicalKeyID(key)
	if err != nil {
		return nil, err
	}
	for _, ring := range rings {
		if private, _, err := ring.GetPrivateKey(id); err == nil {
			return private, nil
		}
	}
	return nil, fmt.Errorf("private key %s is not here", id)
}

// spoil makes every signature wrong. They keep their length and their key ID.
func (d *document) spoil() {
	spoilt := make([]data.Signature, len(d.signatures))
	for i, s := range d.signatures {
		s.Signature = bytes.Clone(s.Signature)
		if len(s.Signature) > 0 {
			s.Signature[len(s.Signature)-1] ^= 0x01
		}
		spoilt[i] = s
	}
	d.signatures = spoilt
}

// encode writes the file in notary's own form.
func (d document) encode() ([]byte, error) {
	message, err := json.MarshalCanonical(d.signed)
	if err != nil {
		return nil, err
	}
	part := json.RawMessage(message)
	return json.Marshal(data.Signed{Signed: &part, Signatures: d.signatures})
}
