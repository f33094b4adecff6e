package notation

import (
	"context"
	"crypto/x509"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	corex509 "github.com/notaryproject/notation-core-go/x509"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/notaryproject/tspclient-go"
)

// Soon is how long before its end a certificate should have been renewed.
const Soon = 30 * 24 * time.Hour

// SigningEnds returns when a chain must stop signing: when its first certificate expires. The chain is not empty.
func SigningEnds(chain []*x509.Certificate) time.Time {
	at := chain[0].NotAfter
	for _, c := range chain {
		if c.NotAfter.Before(at) {
			at = c.NotAfter
		}
	}
	return at
}

// VerifiesUntil returns until when a signature verifies: its own expiry, or the first end of its chain unless its
// time is attested. The zero time means no end. expiry is zero if the signature has none.
//
// SPEC (Notary Project, trust-store-trust-policy, signature verification): expiry, and authentic
// timestamp.
func VerifiesUntil(expiry time.Time, chain []*x509.Certificate, attested bool) time.Time {
	if attested {
		return expiry
	}
	if end := SigningEnds(chain); expiry.IsZero() || end.Before(expiry) {
		return end
	}
	return expiry
}

// verifiesUntil is [VerifiesUntil] for the signature, under the matching statement. The envelope is intact.
func (e *evidence) verifiesUntil(ctx context.Context) time.Time {
	signer := e.content.SignerInfo
	return VerifiesUntil(signer.SignedAttributes.Expiry, signer.CertificateChain, e.attested(ctx))
}

// attested reports whether the statement trusts the signature's time, so that it outlives its certificates. While
// these are valid, notation-go may ignore a timestamp. So attested checks it as notation-go does when it needs it,
// except for the authority's revocation, which cannot be known in advance.
func (e *evidence) attested(ctx context.Context) bool {
	signer := e.content.SignerInfo
	if signer.SignedAttributes.SigningScheme == signature.SigningSchemeX509SigningAuthority {
		return true // by the authority that signs
	}
	token, err := tspclient.ParseSignedToken(signer.UnsignedAttributes.TimestampSignature)
	if err != nil {
		return false
	}
	info, err := token.Info()
	if err != nil {
		return false
	}
	at, err := info.Validate(signer.Signature)
	if err != nil {
		return false
	}
	roots := x509.NewCertPool()
	for _, named := range e.statement.TrustStores {
		if kind, name, ok := strings.Cut(named, ":"); ok && truststore.Type(kind) == truststore.TypeTSA {
			certs, err := e.store.GetCertificates(ctx, truststore.TypeTSA, name)
			if err != nil {
				return false
			}
			for _, c := range certs {
				roots.AddCert(c)
			}
		}
	}
	chain, err := token.Verify(ctx, x509.VerifyOptions{CurrentTime: at.Value, Roots: roots})
	if err != nil || corex509.ValidateTimestampingCertChain(chain) != nil {
		return false
	}
	for _, c := range signer.CertificateChain {
		if !at.BoundedAfter(c.NotBefore) || !at.BoundedBefore(c.NotAfter) {
			return false
		}
	}
	return true
}
