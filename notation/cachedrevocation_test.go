package notation

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/purpose"
	revocationresult "github.com/notaryproject/notation-core-go/revocation/result"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go/verifier"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// answerer answers each question with the same result.
type answerer struct {
	result revocationresult.Result
	err    error
	asked  atomic.Int64
}

func (a *answerer) ValidateContext(_ context.Context, o revocation.ValidateContextOptions) ([]*revocationresult.CertRevocationResult, error) {
	a.asked.Add(1)
	if a.err != nil {
		return nil, a.err
	}
	results := make([]*revocationresult.CertRevocationResult, len(o.CertChain))
	for i := range results {
		results[i] = &revocationresult.CertRevocationResult{Result: revocationresult.ResultNonRevokable}
	}
	results[0].Result = a.result
	return results, nil
}

func remembering(a *answerer) (*remembered, *time.Time) {
	now := time.Unix(1_000_000, 0)
	return &remembered{validator: a, now: func() time.Time { return now }, chains: map[[sha256.Size]byte]*chainAnswer{}}, &now
}

// An authority that cannot be asked leaves a signature undecided, never good and never refused. A
// lenient policy does not hide what it let pass.
func TestRevocationIsTakenForWhatItIs(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewAuthority("revocation")
	must(t, err)
	id, err := ca.Issue("release", nil, func(c *x509.Certificate) { c.OCSPServer = []string{"http://ocsp.example.com"} })
	must(t, err)
	subject, blob := image("a"), signedBy(t, id, "a")
	for name, c := range map[string]struct {
		level string
		says  revocationresult.Result
		err   error
		want  Verdict
	}{
		"good":                 {"strict", revocationresult.ResultOK, nil, Verdict{Trusted: true}},
		"unknown":              {"strict", revocationresult.ResultUnknown, nil, Verdict{Doubt: Unsure}},
		"unknown, permissive":  {"permissive", revocationresult.ResultUnknown, nil, Verdict{Trusted: true, Doubt: Unsure}},
		"no answer":            {"strict", revocationresult.ResultUnknown, errors.New("down"), Verdict{Doubt: Unsure}},
		"no answer, permitted": {"permissive", revocationresult.ResultUnknown, errors.New("down"), Verdict{Trusted: true, Doubt: Unsure}},
		"revoked":              {"strict", revocationresult.ResultRevoked, nil, Verdict{Doubt: Unproven}},
		"revoked, permissive":  {"permissive", revocationresult.ResultRevoked, nil, Verdict{Trusted: true, Doubt: Unproven}},
	} {
		v := judgingWith(t, c.level, id, func(o *verifier.VerifierOptions) {
			r, _ := remembering(&answerer{result: c.says, err: c.err})
			o.RevocationCodeSigningValidator = &anchoredOnly{r, purpose.CodeSigning}
		})
		got, err := v.Verify(context.Background(), "registry.example.com/app@"+subject.Digest.String(), subject, jws.MediaTypeEnvelope, blob)
		must(t, err)
		if got.Trusted != c.want.Trusted || got.Doubt != c.want.Doubt || got.Strict() != (name == "good") || (got.Reason == "") != (name == "good") {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestRevocationIsAskedOnceForAChain(t *testing.T) {
	t.Parallel()
	id, other := issued(t), issued(t)
	for name, c := range map[string]struct {
		says revocationresult.Result
		keep time.Duration
	}{
		"good":    {revocationresult.ResultOK, goodFor},
		"unknown": {revocationresult.ResultUnknown, otherwise},
		"revoked": {revocationresult.ResultRevoked, otherwise},
	} {
		a := &answerer{result: c.says}
		r, now := remembering(a)
		ask := func(o revocation.ValidateContextOptions, asked int64) {
			t.Helper()
			results, err := r.ValidateContext(context.Background(), o)
			if err != nil || final(results) != c.says || a.asked.Load() != asked {
				t.Errorf("%s: got %v, error %v, asked %d times, want %v, asked %d times", name, final(results), err, a.asked.Load(), c.says, asked)
			}
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				_, _ = r.ValidateContext(context.Background(), revocation.ValidateContextOptions{CertChain: id.Chain})
			})
		}
		all.Wait()
		ask(revocation.ValidateContextOptions{CertChain: id.Chain}, 1)
		ask(revocation.ValidateContextOptions{CertChain: other.Chain}, 2)
		// With another anchor, other servers may be asked.
		if _, err := r.ValidateContext(askFor(id.Chain, 1).in(context.Background()), revocation.ValidateContextOptions{CertChain: id.Chain}); err != nil || a.asked.Load() != 3 {
			t.Errorf("%s, another anchor: got error %v, asked %d times, want no error, asked 3 times", name, err, a.asked.Load())
		}
		a.asked.Store(2)
		*now = now.Add(c.keep - time.Second)
		ask(revocation.ValidateContextOptions{CertChain: id.Chain}, 2)
		// For another signing time, only a result that holds for all times counts.
		again := int64(2)
		if c.says != revocationresult.ResultOK {
			again = 3
		}
		ask(revocation.ValidateContextOptions{CertChain: id.Chain, AuthenticSigningTime: now.Add(-time.Hour)}, again)
		*now = now.Add(c.keep + time.Second)
		ask(revocation.ValidateContextOptions{CertChain: id.Chain, AuthenticSigningTime: now.Add(-time.Hour)}, again+1)
	}
}
