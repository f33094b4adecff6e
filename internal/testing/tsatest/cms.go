package tsatest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
)

// Names in CMS (RFC 5652), and of what a timestamp adds to it (RFC 3161, RFC 5816).
var (
	oidSignedData  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidContentType = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidDigest      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidCertificate = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
	oidSHA256      = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidECDSA       = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
)

type contentInfo struct {
	ContentType asn1.ObjectIdentifier
	Content     any `asn1:"explicit,tag:0"`
}

type signedData struct {
	Version          int
	DigestAlgorithms []pkix.AlgorithmIdentifier `asn1:"set"`
	Content          encapsulated
	Certificates     asn1.RawValue
	SignerInfos      []signerInfo `asn1:"set"`
}

type encapsulated struct {
	ContentType asn1.ObjectIdentifier
	Content     []byte `asn1:"explicit,tag:0"`
}

type signerInfo struct {
	Version            int
	Signer             issuerAndSerial
	DigestAlgorithm    pkix.AlgorithmIdentifier
	SignedAttributes   asn1.RawValue
	SignatureAlgorithm pkix.AlgorithmIdentifier
	Signature          []byte
}

type issuerAndSerial struct {
	Issuer asn1.RawValue
	Serial *big.Int
}

type attribute struct {
	Type   asn1.ObjectIdentifier
	Values []any `asn1:"set"`
}

// signingCertificate has one certificate's SHA-256, which is the default of its algorithm.
type signingCertificate struct{ Certificates []struct{ Hash []byte } }

// token signs the content as CMS SignedData.
func (t *TSA) token(content []byte) ([]byte, error) {
	leaf := t.signer.Chain[0]
	sum, thumbprint := sha256.Sum256(content), sha256.Sum256(leaf.Raw)
	attributes, err := sortedSet([]attribute{
		{oidContentType, []any{oidTSTInfo}},
		{oidDigest, []any{sum[:]}},
		{oidCertificate, []any{signingCertificate{[]struct{ Hash []byte }{{thumbprint[:]}}}}},
	})
	if err != nil {
		return nil, err
	}
	// What is signed is the SET; what is sent has the tag of its place.
	signed := sha256.Sum256(wrap(asn1.TagSet|0x20, attributes))
	signature, err := t.signer.Key.Sign(rand.Reader, signed[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var certificates []byte
	for _, c := range t.signer.Chain {
		certificates = append(certificates, c.Raw...)
	}
	digest := pkix.AlgorithmIdentifier{Algorithm: oidSHA256}
	return asn1.Marshal(contentInfo{oidSignedData, signedData{
		Version: 3, DigestAlgorithms: []pkix.AlgorithmIdentifier{digest}, Content: encapsulated{oidTSTInfo, content},
		Certificates: asn1.RawValue{FullBytes: wrap(0xa0, certificates)},
		SignerInfos: []signerInfo{{
			Version: 1, Signer: issuerAndSerial{asn1.RawValue{FullBytes: leaf.RawIssuer}, leaf.SerialNumber},
			DigestAlgorithm: digest, SignedAttributes: asn1.RawValue{FullBytes: wrap(0xa0, attributes)},
			SignatureAlgorithm: pkix.AlgorithmIdentifier{Algorithm: oidECDSA}, Signature: signature,
		}},
	}})
}

// sortedSet encodes attributes in the order that DER asks for.
func sortedSet(attributes []attribute) ([]byte, error) {
	var all [][]byte
	for _, a := range attributes {
		der, err := asn1.Marshal(a)
		if err != nil {
			return nil, err
		}
		all = append(all, der)
	}
	slices.SortFunc(all, bytes.Compare)
	return bytes.Join(all, nil), nil
}

// wrap puts content under a tag.
func wrap(tag byte, content []byte) []byte {
	der, err := asn1.Marshal(asn1.RawValue{Class: int(tag >> 6), IsCompound: true, Tag: int(tag & 0x1f), Bytes: content})
	if err != nil {
		panic(err) // of such a value it cannot be
	}
	return der
}
