//go:build cgo && unix

package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/algorithm"
	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/chain"
	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/config"
	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/fault"
	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/token"
)

// signingKey is a key that may be used: its certificate is its own and Notation
// accepts the chain. It holds the token's session until Close.
type signingKey struct {
	session   *token.Session
	key       *token.Key
	algorithm algorithm.Algorithm
	chain     []*x509.Certificate // leaf..root
}

// prepare does everything but sign. What can be wrong without the token is
// looked at first, so that a mistyped path costs no login.
func (s signer) prepare(keyID string, options map[string]string) (*signingKey, error) {
	c, err := config.Read(keyID, options, s.getenv)
	if err != nil {
		return nil, err
	}
	pin, hasPIN, err := c.PIN.Read(s.getenv)
	if err != nil {
		return nil, err
	}
	file, err := chain.ReadFile(c.CACerts)
	if err != nil {
		return nil, err
	}
	session, err := token.Open(c.Module, c.Key, pin, hasPIN)
	if err != nil {
		return nil, err
	}
	k := &signingKey{session: session}
	if err := k.find(c, file); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

// Close ends the login.
func (k *signingKey) Close() { k.session.Close() }

func (k *signingKey) find(c config.Config, file []*x509.Certificate) error {
	var err error
	if k.key, err = k.session.Key(c.Key); err != nil {
		return err
	}
	beside, err := k.key.Certificates()
	if err != nil {
		return err
	}
	leaf, err := chain.Leaf(beside, file, k.owns)
	if err != nil {
		return err
	}
	if k.algorithm, err = algorithm.Of(leaf.PublicKey); err != nil {
		return fault.Invalid("use another key", "reading the certificate %q: %w", leaf.Subject, err)
	}
	k.chain, err = k.build(leaf, file)
	return err
}

// owns reports whether the certificate is the key's. Where only the curve can be
// compared, an authority's certificate is not mistaken for the leaf.
func (k *signingKey) owns(cert *x509.Certificate) bool {
	return k.key.Belongs(cert.PublicKey) && (k.key.KnowsPublic() || !cert.IsCA)
}

// build completes the chain from ca_certs and, only if that is not enough, from
// all certificates on the token: reading those can take long.
func (k *signingKey) build(leaf *x509.Certificate, file []*x509.Certificate) ([]*x509.Certificate, error) {
	now := time.Now()
	certs, err := chain.Build(leaf, file, now)
	if !errors.Is(err, chain.ErrIncomplete) {
		return certs, err
	}
	onToken, tokenErr := k.session.AllCertificates()
	if tokenErr != nil {
		return nil, tokenErr
	}
	return chain.Build(leaf, append(onToken, file...), now)
}

// agree refuses a request that was made for another key: describe-key's answer
// may be older than the key that is on the token now.
func (k *signingKey) agree(spec plugin.KeySpec, hash plugin.HashAlgorithm) error {
	if spec != k.algorithm.KeySpec {
		return fault.Invalid("the key was exchanged; begin again with describe-key",
			"the request is for a key of spec %q, the key on the token is %q", spec, k.algorithm.KeySpec)
	}
	if hash != k.algorithm.HashName {
		return fault.Invalid("", "the request asks for hash %q, keys of spec %q sign with %q", hash, spec, k.algorithm.HashName)
	}
	return nil
}

// sign returns a signature that the leaf certificate verifies.
func (k *signingKey) sign(payload []byte) ([]byte, error) {
	digest := k.algorithm.Digest(payload)
	signature, err := k.key.Sign(k.algorithm, digest)
	if err != nil {
		return nil, err
	}
	leaf := k.chain[0]
	if err := k.algorithm.Verify(leaf.PublicKey, digest, signature); err != nil {
		return nil, &fault.Fault{
			Code: plugin.ErrorCodeGeneric,
			Hint: "either the certificate belongs to another key, or the token does not sign as it should",
			Cause: fmt.Errorf("checking the token's signature with the certificate %q: %w",
				leaf.Subject, err),
		}
	}
	return signature, nil
}
