//go:build unix

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// A pen signs with a key and shows certificates, which need not belong together. It is notation-core's
// signature.Signer, which takes the certificates as they come.
type pen struct {
	key       *pki.Identity
	chain     []*x509.Certificate
	algorithm pki.Algorithm // of the key that was asked for
	spoil     bool
}

// pen is the right key with its certificates, or what the fault makes of them.
func (j *job) pen() (*pen, error) {
	id, err := j.identity(j.request.KeyID)
	if err != nil {
		return nil, err
	}
	algorithm, err := id.Algorithm()
	if err != nil {
		return nil, err
	}
	p := &pen{key: id, chain: id.Chain, algorithm: algorithm, spoil: j.fault.Kind == kmstest.BadSignature}
	switch j.fault.Kind {
	case kmstest.WrongKey:
		p.key, err = j.substitute(algorithm, nil)
	case kmstest.WrongChain:
		var other *pki.Identity
		if other, err = j.substitute(algorithm, nil); err == nil {
			p.chain = other.Chain
		}
	case kmstest.NewCertificate:
		var one *pki.Identity
		if one, err = pki.SelfSigned("kmstest impostor", id.Key, pki.Valid(time.Now().Add(-time.Minute), time.Now().AddDate(1, 0, 0))); err == nil {
			p.chain = one.Chain
		}
	case kmstest.ExpiredChain:
		var old *pki.Identity
		if old, err = j.substitute(algorithm, id.Key, pki.Valid(time.Now().AddDate(-1, 0, 0), time.Now().AddDate(0, 0, -1))); err == nil {
			p.chain = old.Chain
		}
	}
	return p, err
}

// identity loads a key by its id.
func (j *job) identity(id string) (*pki.Identity, error) {
	key, ok := j.behaviour.Keys[id]
	if !ok {
		return nil, plugin.NewValidationErrorf("no key %q", id)
	}
	return key.Load()
}

// substitute is the key that the fault names, or one made up under an authority nobody trusts.
func (j *job) substitute(a pki.Algorithm, key crypto.Signer, change ...func(*x509.Certificate)) (*pki.Identity, error) {
	if j.fault.With != "" {
		return j.identity(j.fault.With)
	}
	nobody, err := pki.NewAuthority("kmstest impostor root")
	if err == nil && key == nil {
		key, err = pki.NewKey("kmstest impostor", a)
	}
	if err != nil {
		return nil, err
	}
	return nobody.Issue("kmstest impostor", key, change...)
}

// Sign implements signature.Signer.
func (p *pen) Sign(payload []byte) ([]byte, []*x509.Certificate, error) {
	signed, err := sign(p.key, payload)
	if err != nil {
		return nil, nil, err
	}
	if p.spoil {
		signed[len(signed)-1] ^= 1
	}
	return signed, p.chain, nil
}

// sign signs payload as a Notation plugin must: RSASSA-PSS with a salt as long as the hash, or
// ECDSA as r and s side by side.
func sign(id *pki.Identity, payload []byte) ([]byte, error) {
	algorithm, err := id.Algorithm()
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	h := hashes[algorithm].New()
	h.Write(payload)
	digest := h.Sum(nil)
	key, ok := id.Key.(*ecdsa.PrivateKey)
	if !ok {
		return id.Key.Sign(rand.Reader, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hashes[algorithm]})
	}
	r, s, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	size := (key.Curve.Params().BitSize + 7) / 8
	signature := make([]byte, 2*size)
	r.FillBytes(signature[:size])
	s.FillBytes(signature[size:])
	return signature, nil
}

var hashes = map[pki.Algorithm]crypto.Hash{
	pki.RSA2048: crypto.SHA256, pki.RSA3072: crypto.SHA384, pki.RSA4096: crypto.SHA512,
	pki.EC256: crypto.SHA256, pki.EC384: crypto.SHA384, pki.EC521: crypto.SHA512,
}

// KeySpec implements signature.Signer.
func (p *pen) KeySpec() (signature.KeySpec, error) { return signature.ExtractKeySpec(p.chain[0]) }
