package notation

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/notaryproject/notation-core-go/revocation/crl"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/transport"
)

const (
	ocspTimeout = 2 * time.Second // for one request with all its repetitions, as in notation
	crlTimeout  = 10 * time.Second
	maxCRL      = 32 << 20 // as in notation; the largest known lists have half of it
	maxCRLs     = 8        // lists in the cache
)

// limitedClient sends requests by client, within a time limit, and only to hosts that the context allows, even after
// a redirect: OCSP answers and lists of revoked certificates come without TLS, so anybody could redirect us.
func limitedClient(client *http.Client, timeout time.Duration) *http.Client {
	if client == nil {
		return &http.Client{Transport: allowedOnly{}}
	}
	limited := *client
	limited.Timeout = timeout
	limited.Transport = allowedOnly{client.Transport}
	return &limited
}

// allowedOnly is a transport to the hosts that an [askable] in the context names, or to none without it.
type allowedOnly struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t allowedOnly) RoundTrip(req *http.Request) (*http.Response, error) {
	may, _ := req.Context().Value(askableKey{}).(askable)
	if t.next == nil || !may.hosts[strings.ToLower(req.URL.Host)] {
		if req.Body != nil {
			_ = req.Body.Close() // never read from
		}
		return nil, fmt.Errorf("%s is not asked: no trusted certificate names it", safetext.Safe(transport.RedactText(req.URL.Host), 256))
	}
	return t.next.RoundTrip(req)
}

// crlFetcher fetches lists of revoked certificates and caches a few: a large authority's lists have megabytes, and
// all its certificates share them. Unlike notation-core-go's, it follows the address of a delta list only in a list
// that an issuer of the chain has signed. It is safe for concurrent use.
type crlFetcher struct {
	client *http.Client
	now    func() time.Time

	mu    sync.Mutex
	lists map[string]*keptCRL // guarded by mu
}

type keptCRL struct {
	mu     sync.Mutex // held during the fetch
	bundle *crl.Bundle
	until  time.Time
}

func newCRLFetcher(client *http.Client) *crlFetcher {
	return &crlFetcher{client: limitedClient(client, crlTimeout), now: time.Now}
}

// Fetch implements [crl.Fetcher].
func (f *crlFetcher) Fetch(ctx context.Context, address string) (*crl.Bundle, error) {
	k := f.kept(address)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.bundle != nil && f.now().Before(k.until) {
		return k.bundle, nil
	}
	may, _ := ctx.Value(askableKey{}).(askable)
	base, err := f.list(ctx, address, may)
	if err != nil {
		return nil, err
	}
	bundle := &crl.Bundle{BaseCRL: base}
	until := earliest(f.now().Add(goodFor), base.NextUpdate)
	deltas, err := deltaAddresses(base)
	if err != nil {
		return nil, err
	}
	for _, at := range deltas { // one is enough
		if bundle.DeltaCRL, err = f.list(may.with(at).in(ctx), at, may); err == nil {
			until = earliest(until, bundle.DeltaCRL.NextUpdate)
			break
		}
	}
	if err != nil {
		return nil, err
	}
	k.bundle, k.until = bundle, until
	return bundle, nil
}

func (f *crlFetcher) kept(address string) *keptCRL {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lists[address] == nil {
		if len(f.lists) >= maxCRLs || f.lists == nil {
			f.lists = map[string]*keptCRL{}
		}
		f.lists[address] = &keptCRL{}
	}
	return f.lists[address]
}

// list fetches one list, which must be signed by an issuer of the chain.
func (f *crlFetcher) list(ctx context.Context, address string, may askable) (*x509.RevocationList, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" {
		return nil, errors.New("the address of a list of revoked certificates is not an http address")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, transport.Redact(err)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, transport.Redact(err)
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching a list of revoked certificates: status %d", resp.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxCRL+1))
	if err != nil {
		return nil, transport.Redact(err)
	}
	if len(raw) > maxCRL {
		return nil, fmt.Errorf("fetching a list of revoked certificates: it has more than %d bytes", maxCRL)
	}
	list, err := x509.ParseRevocationList(raw)
	if err != nil {
		return nil, err
	}
	for _, issuer := range may.issuers {
		if list.CheckSignatureFrom(issuer) == nil {
			return list, nil
		}
	}
	return nil, errors.New("no issuer of the certificate has signed the list of revoked certificates")
}

func earliest(a, b time.Time) time.Time {
	if !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// deltaAddresses returns the addresses of the changes since a list, if they are published separately.
//
// SPEC (RFC 5280, 4.2.1.13 and 5.2.6): FreshestCRL ::= CRLDistributionPoints.
func deltaAddresses(list *x509.RevocationList) (addresses []string, err error) {
	type distributionPoint struct {
		Name struct {
			Full []asn1.RawValue `asn1:"optional,tag:0"`
		} `asn1:"optional,tag:0"`
		Reasons asn1.BitString `asn1:"optional,tag:1"`
		Issuer  asn1.RawValue  `asn1:"optional,tag:2"`
	}
	const tagURI = 6
	for _, ext := range list.Extensions {
		if !ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 46}) {
			continue
		}
		var points []distributionPoint
		if _, err := asn1.Unmarshal(ext.Value, &points); err != nil {
			return nil, fmt.Errorf("reading where changes to a list of revoked certificates are: %w", err)
		}
		for _, p := range points {
			for _, name := range p.Name.Full {
				if name.Class == asn1.ClassContextSpecific && name.Tag == tagURI {
					addresses = append(addresses, string(name.Bytes))
				}
			}
		}
	}
	return addresses, nil
}
