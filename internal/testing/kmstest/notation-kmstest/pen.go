//go:build unix

package main

import (
	"crypto/x509"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

// A pen signs with a key and shows certificates, which need not belong together. It is notation-core's
// signature.Signer, which takes the certificates as they come.
type pen struct {
	key       *kmstest.Identity
	chain     []*x509.Certificate
	algorithm kmstest.Algorithm // of the key that was asked for
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
		p.key, err = j.substitute(algorithm, kmstest.IssueOptions{})
	case kmstest.WrongChain:
		var other *kmstest.Identity
		if other, err = j.substitute(algorithm, kmstest.IssueOptions{}); err == nil {
			p.chain = other.Chain
		}
	case kmstest.NewCertificate:
		var one *kmstest.Identity
		if one, err = j.substitute(algorithm, kmstest.IssueOptions{Key: id.Key, NotBefore: time.Now().Add(-time.Minute), Self: true}); err == nil {
			p.chain = one.Chain
		}
	case kmstest.ExpiredChain:
		var old *kmstest.Identity
		past := kmstest.IssueOptions{
			Key:       id.Key,
			NotBefore: time.Now().AddDate(-1, 0, 0),
			NotAfter:  time.Now().AddDate(0, 0, -1),
		}
		if old, err = j.substitute(algorithm, past); err == nil {
			p.chain = old.Chain
		}
	}
	return p, err
}

// identity loads a key by its id.
func (j *job) identity(id string) (*kmstest.Identity, error) {
	key, ok := j.behaviour.Keys[id]
	if !ok {
		return nil, plugin.NewValidationErrorf("no key %q", id)
	}
	return key.Load()
}

// substitute is the key that the fault names, or one made up under an authority nobody trusts.
func (j *job) substitute(a kmstest.Algorithm, o kmstest.IssueOptions) (*kmstest.Identity, error) {
	if j.fault.With != "" {
		return j.identity(j.fault.With)
	}
	nobody, err := kmstest.NewAuthority("kmstest impostor root")
	if err != nil {
		return nil, err
	}
	return nobody.Issue("kmstest impostor", a, o)
}

// Sign implements signature.Signer.
func (p *pen) Sign(payload []byte) ([]byte, []*x509.Certificate, error) {
	signed, err := p.key.Sign(payload)
	if err != nil {
		return nil, nil, err
	}
	if p.spoil {
		signed[len(signed)-1] ^= 1
	}
	return signed, p.chain, nil
}

// KeySpec implements signature.Signer.
func (p *pen) KeySpec() (signature.KeySpec, error) { return signature.ExtractKeySpec(p.chain[0]) }
