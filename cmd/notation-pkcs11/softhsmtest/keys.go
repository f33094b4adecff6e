//go:build cgo && unix

package softhsmtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"
)

// idSize is the size of the random CKA_ID of every key made here.
const idSize = 8

var ecCurves = map[string]struct {
	oid   asn1.ObjectIdentifier
	curve elliptic.Curve
}{
	"P-224": {asn1.ObjectIdentifier{1, 3, 132, 0, 33}, elliptic.P224()},
	"P-256": {asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, elliptic.P256()},
	"P-384": {asn1.ObjectIdentifier{1, 3, 132, 0, 34}, elliptic.P384()},
	"P-521": {asn1.ObjectIdentifier{1, 3, 132, 0, 35}, elliptic.P521()},
}

// rsa makes a key pair and returns its public key in PKIX form.
func (d desk) rsa(o order) ([]byte, error) {
	public, err := d.generate(o, pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN,
		pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, o.Bits),
		pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}))
	if err != nil {
		return nil, err
	}
	modulus, err := d.read(public, pkcs11.CKA_MODULUS)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 65537})
}

func (d desk) ec(o order) ([]byte, error) {
	c, ok := ecCurves[o.Curve]
	if !ok {
		return nil, fmt.Errorf("unknown curve %q", o.Curve)
	}
	params, err := asn1.Marshal(c.oid)
	if err != nil {
		return nil, err
	}
	public, err := d.generate(o, pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, params))
	if err != nil {
		return nil, err
	}
	wrapped, err := d.read(public, pkcs11.CKA_EC_POINT)
	if err != nil {
		return nil, err
	}
	var point []byte
	if _, err := asn1.Unmarshal(wrapped, &point); err != nil {
		return nil, err
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(c.curve, point)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKIXPublicKey(pub)
}

// generate makes the pair as an HSM's owner would: the private key signs, is
// sensitive and cannot be exported.
func (d desk) generate(o order, mechanism uint, kind ...*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	id := make([]byte, idSize)
	rand.Read(id)
	common := func() []*pkcs11.Attribute {
		return []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
			pkcs11.NewAttribute(pkcs11.CKA_LABEL, o.Label),
			pkcs11.NewAttribute(pkcs11.CKA_ID, id),
		}
	}
	private := append(common(),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false))
	if o.AlwaysAuthenticate {
		private = append(private, pkcs11.NewAttribute(pkcs11.CKA_ALWAYS_AUTHENTICATE, true))
	}
	public := append(append(common(), pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true)), kind...)
	handle, _, err := d.module.GenerateKeyPair(d.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, public, private)
	return handle, err
}

func (d desk) importCertificate(o order) error {
	cert, err := x509.ParseCertificate(o.Value)
	if err != nil {
		return err
	}
	attributes := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE),
		pkcs11.NewAttribute(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, o.Label),
		pkcs11.NewAttribute(pkcs11.CKA_SUBJECT, cert.RawSubject),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE, cert.Raw),
	}
	id, err := d.ids(o.Label)
	if err != nil {
		return err
	}
	if len(id) == idSize { // exactly one key
		attributes = append(attributes, pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	}
	_, err = d.module.CreateObject(d.session, attributes)
	return err
}

// ids returns the ids of the private keys with that label, concatenated.
func (d desk) ids(label string) ([]byte, error) {
	keys, err := d.find(pkcs11.CKO_PRIVATE_KEY, label)
	if err != nil {
		return nil, err
	}
	var joined []byte
	for _, key := range keys {
		id, err := d.read(key, pkcs11.CKA_ID)
		if err != nil {
			return nil, err
		}
		joined = append(joined, id...)
	}
	return joined, nil
}

func (d desk) deletePublic(label string) error {
	keys, err := d.find(pkcs11.CKO_PUBLIC_KEY, label)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := d.module.DestroyObject(d.session, key); err != nil {
			return err
		}
	}
	return nil
}

func (d desk) find(class uint, label string) ([]pkcs11.ObjectHandle, error) {
	err := d.module.FindObjectsInit(d.session, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label)})
	if err != nil {
		return nil, err
	}
	defer d.module.FindObjectsFinal(d.session)
	found, _, err := d.module.FindObjects(d.session, 100)
	return found, err
}

func (d desk) read(object pkcs11.ObjectHandle, kind uint) ([]byte, error) {
	values, err := d.module.GetAttributeValue(d.session, object, []*pkcs11.Attribute{pkcs11.NewAttribute(kind, nil)})
	if err != nil {
		return nil, err
	}
	return values[0].Value, nil
}
