package notation

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"sync"

	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/purpose"
	revocationresult "github.com/notaryproject/notation-core-go/revocation/result"

	"github.com/dct2notation/dct2notation/internal/failure"
)

// revocationOnce asks once for each certificate of a time-stamping authority whether it was revoked, rather than for
// each signature. It asks again after a failure.
type revocationOnce struct {
	validator revocation.Validator
	mu        sync.Mutex
	good      map[string]bool // by thumbprint of the leaf
}

func newRevocationOnce(client *http.Client) (*revocationOnce, error) {
	v, err := revocation.NewWithOptions(revocation.Options{
		OCSPHTTPClient: limitedClient(client, crlTimeout), CRLFetcher: newCRLFetcher(client), CertChainPurpose: purpose.Timestamping,
	})
	if err != nil {
		return nil, fmt.Errorf("preparing to ask for revocation: %w", err)
	}
	return &revocationOnce{validator: v, good: map[string]bool{}}, nil
}

// check returns an error unless it is known that no certificate of the chain was revoked. The chain
// leads to the configured root.
func (r *revocationOnce) check(ctx context.Context, chain []*x509.Certificate) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	leaf := Thumbprint(chain[0])
	if r.good[leaf] {
		return nil
	}
	results, err := r.validator.ValidateContext(askFor(chain, len(chain)-1).in(ctx), revocation.ValidateContextOptions{CertChain: chain})
	if err != nil {
		return fmt.Errorf("asking whether its certificate was revoked: %w", err)
	}
	for i, one := range results {
		switch one.Result {
		case revocationresult.ResultOK, revocationresult.ResultNonRevokable:
		case revocationresult.ResultRevoked:
			return failure.New(failure.Denied, fmt.Errorf("its certificate %s was revoked", chain[i].Subject))
		default:
			return failure.New(failure.Transient, fmt.Errorf("nobody says whether its certificate %s was revoked", chain[i].Subject))
		}
	}
	r.good[leaf] = true
	return nil
}
