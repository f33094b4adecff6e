package notation

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/purpose"
	revocationresult "github.com/notaryproject/notation-core-go/revocation/result"
	"github.com/notaryproject/notation-go/verifier"
)

// Ten thousand images are signed with one certificate. Its authority is asked once in a
// while whether it was revoked, and not for each image.
const (
	goodFor    = 10 * time.Minute // how long the answer counts that nothing was revoked
	otherwise  = 30 * time.Second // and any other: an authority that is down may be back
	askTimeout = 2 * time.Second  // of one request, as in notation
	maxChains  = 4096             // chains remembered
)

// askedOnce are notation-go's own validators, each behind a memory.
func askedOnce() (o verifier.VerifierOptions, err error) {
	for _, one := range []struct {
		purpose purpose.Purpose
		to      *revocation.Validator
	}{{purpose.CodeSigning, &o.RevocationCodeSigningValidator}, {purpose.Timestamping, &o.RevocationTimestampingValidator}} {
		v, err := revocation.NewWithOptions(revocation.Options{OCSPHTTPClient: &http.Client{Timeout: askTimeout}, CertChainPurpose: one.purpose})
		if err != nil {
			return o, fmt.Errorf("preparing to ask for revocation: %w", err)
		}
		*one.to = &remembered{validator: v, purpose: one.purpose, now: time.Now, chains: map[[sha256.Size]byte]*chainAnswer{}}
	}
	return o, nil
}

// remembered asks a validator once for each chain. It is safe for concurrent use: who asks
// for a chain that another is asking for waits for that answer.
type remembered struct {
	validator revocation.Validator
	purpose   purpose.Purpose
	now       func() time.Time

	mu     sync.Mutex
	chains map[[sha256.Size]byte]*chainAnswer
}

// chainAnswer is what is known of one chain.
type chainAnswer struct {
	mu      sync.Mutex
	results []*revocationresult.CertRevocationResult
	err     error
	signed  time.Time // the signing time that was asked for
	until   time.Time
}

// ValidateContext is [revocation.Validator]'s.
func (r *remembered) ValidateContext(ctx context.Context, o revocation.ValidateContextOptions) ([]*revocationresult.CertRevocationResult, error) {
	a := r.chain(o.CertChain)
	a.mu.Lock()
	defer a.mu.Unlock()
	// That nothing was revoked holds for any time of signing; what was revoked later may
	// have been good at another.
	if !r.now().Before(a.until) || final(a.results) != revocationresult.ResultOK && !a.signed.Equal(o.AuthenticSigningTime) {
		results, err := r.validator.ValidateContext(ctx, o)
		if ctx.Err() != nil {
			return results, err // it was us who ended it
		}
		a.results, a.err, a.signed, a.until = results, err, o.AuthenticSigningTime, r.now().Add(otherwise)
		if err == nil && final(results) == revocationresult.ResultOK {
			a.until = r.now().Add(goodFor)
		}
	}
	if h, ok := ctx.Value(hearingKey{}).(*hearing); ok {
		h.hear(r.purpose, final(a.results))
	}
	return a.results, a.err
}

func (r *remembered) chain(certs []*x509.Certificate) *chainAnswer {
	h := sha256.New()
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
			clear(r.chains) // whoever signs with so many costs us time, not memory
		}
		r.chains[key] = &chainAnswer{}
	}
	return r.chains[key]
}

// final is what the results come to: one that was revoked is worse than one that is not
// known, and no results are not known.
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

// hearing takes down what the validators said while one signature was verified:
// notation-go keeps only a sentence of it.
type hearing struct {
	mu        sync.Mutex
	code, tsa revocationresult.Result
	unread    bool // a trust store is there and could not be read
}

type hearingKey struct{}

func (h *hearing) in(ctx context.Context) context.Context {
	h.code, h.tsa = revocationresult.ResultOK, revocationresult.ResultOK
	return context.WithValue(ctx, hearingKey{}, h)
}

func (h *hearing) hear(p purpose.Purpose, r revocationresult.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p == purpose.Timestamping {
		h.tsa = r
		return
	}
	h.code = r
}

func (h *hearing) missStore() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unread = true
}

func (h *hearing) storesRead() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.unread
}

func (h *hearing) said() (code, tsa revocationresult.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.code, h.tsa
}
