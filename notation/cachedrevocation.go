package notation

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/purpose"
	revocationresult "github.com/notaryproject/notation-core-go/revocation/result"
	"github.com/notaryproject/notation-go/verifier"
)

// Ten thousand images are signed with one certificate. Ask its authority about revocation only now and then, not for
// each image.
const (
	goodFor    = 10 * time.Minute // lifetime of the answer that nothing was revoked
	otherwise  = 30 * time.Second // lifetime of any other answer: an authority that was down may be back
	chainLimit = 30 * time.Second // for all requests about one chain
	maxChains  = 4096             // chains remembered
)

// revocationValidators returns notation-core-go's own validators. client sends their requests. Each answers from
// memory if it can, and none is called for a chain without an anchor. With a nil client nobody is asked.
func revocationValidators(client *http.Client) (o verifier.VerifierOptions, err error) {
	ocsp := limitedClient(client, ocspTimeout)
	fetcher := newCRLFetcher(client)
	for _, one := range []struct {
		purpose purpose.Purpose
		to      *revocation.Validator
	}{{purpose.CodeSigning, &o.RevocationCodeSigningValidator}, {purpose.Timestamping, &o.RevocationTimestampingValidator}} {
		v, err := revocation.NewWithOptions(revocation.Options{OCSPHTTPClient: ocsp, CRLFetcher: fetcher, CertChainPurpose: one.purpose})
		if err != nil {
			return o, fmt.Errorf("preparing to ask for revocation: %w", err)
		}
		*one.to = &anchoredOnly{&remembered{validator: v, now: time.Now, chains: map[[sha256.Size]byte]*chainAnswer{}}, one.purpose}
	}
	return o, nil
}

// anchoredOnly passes on only anchored chains, at any level of the trust policy: notation-go also checks revocation
// if a lenient level lets a stranger's certificate pass.
type anchoredOnly struct {
	validator revocation.Validator
	purpose   purpose.Purpose
}

// ValidateContext implements [revocation.Validator].
func (a *anchoredOnly) ValidateContext(ctx context.Context, o revocation.ValidateContextOptions) ([]*revocationresult.CertRevocationResult, error) {
	if namesNobody(o.CertChain) { // there is nobody to ask: notation lets it pass
		results := make([]*revocationresult.CertRevocationResult, len(o.CertChain))
		for i := range results {
			results[i] = &revocationresult.CertRevocationResult{Result: revocationresult.ResultNonRevokable}
		}
		return results, nil
	}
	e := evidenceOf(ctx)
	may, ok := e.mayAsk(ctx, a.purpose, o.CertChain)
	if !ok {
		e.heard(a.purpose, revocationresult.ResultUnknown)
		return nil, errNotAnchored
	}
	results, err := a.validator.ValidateContext(may.in(ctx), o)
	e.heard(a.purpose, final(results))
	return results, err
}

// namesNobody reports whether no certificate of a chain names a revocation server.
func namesNobody(chain []*x509.Certificate) bool {
	return !slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return len(c.OCSPServer)+len(c.CRLDistributionPoints) > 0 })
}

// remembered calls a validator once for each chain. It is safe for concurrent use: concurrent calls for one chain
// share one answer.
type remembered struct {
	validator revocation.Validator
	now       func() time.Time

	mu     sync.Mutex
	chains map[[sha256.Size]byte]*chainAnswer
}

// chainAnswer is what is known of one chain.
type chainAnswer struct {
	mu      sync.Mutex
	results []*revocationresult.CertRevocationResult
	err     error
	signed  time.Time // the signing time asked for
	until   time.Time
}

// ValidateContext implements [revocation.Validator].
func (r *remembered) ValidateContext(ctx context.Context, o revocation.ValidateContextOptions) ([]*revocationresult.CertRevocationResult, error) {
	a := r.chain(ctx, o.CertChain)
	a.mu.Lock()
	defer a.mu.Unlock()
	// That nothing was revoked holds for any signing time. A certificate revoked later may have been good at another
	// time.
	if !r.now().Before(a.until) || final(a.results) != revocationresult.ResultOK && !a.signed.Equal(o.AuthenticSigningTime) {
		limited, cancel := context.WithTimeout(ctx, chainLimit)
		defer cancel()
		results, err := r.validator.ValidateContext(limited, o)
		if ctx.Err() != nil {
			return results, err // we ended it ourselves
		}
		a.results, a.err, a.signed, a.until = results, err, o.AuthenticSigningTime, r.now().Add(otherwise)
		if err == nil && final(results) == revocationresult.ResultOK {
			a.until = r.now().Add(goodFor)
		}
	}
	return a.results, a.err
}

// chain returns what is known of a chain with that anchor: with another anchor, other servers are asked.
func (r *remembered) chain(ctx context.Context, certs []*x509.Certificate) *chainAnswer {
	may, _ := ctx.Value(askableKey{}).(askable)
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(may.anchor)))
	for _, c := range certs {
		sum := sha256.Sum256(c.Raw)
		h.Write(sum[:])
	}
	var key [sha256.Size]byte
	h.Sum(key[:0])
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.chains[key] == nil {
		if len(r.chains) >= maxChains {
			clear(r.chains) // a signer with that many costs us time, not memory
		}
		r.chains[key] = &chainAnswer{}
	}
	return r.chains[key]
}

// final returns the overall result: revoked is worse than unknown, and no results are unknown.
func final(results []*revocationresult.CertRevocationResult) revocationresult.Result {
	worst := revocationresult.ResultOK
	if len(results) == 0 {
		worst = revocationresult.ResultUnknown
	}
	for _, one := range results {
		switch one.Result {
		case revocationresult.ResultRevoked:
			return revocationresult.ResultRevoked
		case revocationresult.ResultOK, revocationresult.ResultNonRevokable:
		default:
			worst = revocationresult.ResultUnknown
		}
	}
	return worst
}
