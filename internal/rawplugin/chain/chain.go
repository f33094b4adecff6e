// Package chain finds the certificate of a key and builds its chain to a root.
//
// The chain it returns has passed Notation's own rules for signing certificates. Notation checks them too, but only
// after the key has been used.
package chain

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	corex509 "github.com/notaryproject/notation-core-go/x509"

	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

// maxDepth bounds a chain, maxTries the search for one: cross-signed certificates can make the number of chains
// explode.
const (
	maxDepth = 10
	maxTries = 1000
)

// ErrIncomplete is returned by Build if no chain reaches a self-signed root. More certificates may help.
var ErrIncomplete = errors.New("the certificate chain does not reach a self-signed root")

// Leaf chooses the key's certificate among those that the token stores with it and those of ca_certs; belongs reports
// whether a certificate is the key's. After a renewal there may be several; then Leaf takes the one in ca_certs.
func Leaf(onToken, inFile []*x509.Certificate, belongs func(*x509.Certificate) bool) (*x509.Certificate, error) {
	own := distinct(slices.Concat(onToken, inFile), belongs)
	if len(own) > 1 {
		if named := distinct(inFile, belongs); len(named) > 0 {
			own = named
		}
	}
	switch {
	case len(own) == 1:
		return own[0], nil
	case len(own) > 1:
		return nil, fault.Invalid("put the one to sign with, and no other, into ca_certs or remove the old ones",
			"the key has %d certificates", len(own))
	case len(onToken) > 0:
		return nil, fault.Invalid("have the certificate issued for this key, or correct the label or id",
			"the certificate %q on the token is not the certificate of this key", onToken[0].Subject)
	case len(inFile) > 0:
		return nil, fault.Invalid("put the key's own certificate first into ca_certs, or on the token under the key's label or id",
			"none of the %d certificates in ca_certs is the certificate of this key", len(inFile))
	default:
		return nil, fault.Invalid("put the key's certificate on the token under the key's label or id, or name a PEM file in ca_certs",
			"the token holds no certificate for this key")
	}
}

func distinct(certs []*x509.Certificate, belongs func(*x509.Certificate) bool) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range certs {
		if belongs(c) && !slices.ContainsFunc(out, c.Equal) {
			out = append(out, c)
		}
	}
	return out
}

// Build orders certificates of pool behind leaf, up to a self-signed root, into a chain that Notation accepts at now.
// It leaves out certificates that the chain does not need. Its errors are faults; one wraps ErrIncomplete.
func Build(leaf *x509.Certificate, pool []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	s := search{pool: pool, now: now}
	if s.extend([]*x509.Certificate{leaf}) {
		return s.found, nil
	}
	if s.refused != nil {
		return nil, fault.Invalid("Notation accepts no signature made with it; have it issued anew",
			"checking the certificate chain of %q: %w", leaf.Subject, s.refused)
	}
	return nil, fault.Invalid("add the missing issuers, root included, to ca_certs",
		"%w: the certificate of %q is missing", ErrIncomplete, s.lacking.Issuer)
}

// search looks depth first for a chain that passes.
type search struct {
	pool    []*x509.Certificate
	now     time.Time
	tries   int
	found   []*x509.Certificate
	refused error             // why the first complete chain did not pass
	lacking *x509.Certificate // the first certificate without an issuer
}

func (s *search) extend(chain []*x509.Certificate) bool {
	last := chain[len(chain)-1]
	if selfSigned(last) {
		return s.accept(chain)
	}
	dead := true
	for _, issuer := range s.pool {
		if s.tries++; s.tries > maxTries || len(chain) == maxDepth {
			break
		}
		if slices.ContainsFunc(chain, issuer.Equal) || !issued(issuer, last) {
			continue
		}
		dead = false
		if s.extend(append(slices.Clone(chain), issuer)) {
			return true
		}
	}
	if dead && s.lacking == nil {
		s.lacking = last
	}
	return false
}

func (s *search) accept(chain []*x509.Certificate) bool {
	if err := corex509.ValidateCodeSigningCertChain(chain, &s.now); err != nil {
		if s.refused == nil {
			s.refused = err
		}
		return false
	}
	s.found = chain
	return true
}

func issued(issuer, cert *x509.Certificate) bool {
	return bytes.Equal(issuer.RawSubject, cert.RawIssuer) && cert.CheckSignatureFrom(issuer) == nil
}

// selfSigned does not require a CA: one signing certificate may stand alone.
func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) &&
		c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// Raw returns the chain in the protocol's form: DER, leaf first.
func Raw(chain []*x509.Certificate) [][]byte {
	out := make([][]byte, len(chain))
	for i, c := range chain {
		out[i] = c.Raw
	}
	return out
}
