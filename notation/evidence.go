package notation

import (
	"context"
	"crypto/x509"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/notaryproject/notation-core-go/revocation/purpose"
	revocationresult "github.com/notaryproject/notation-core-go/revocation/result"
	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
)

// evidence is what we find out about one signature in addition to notation-go. Above all, it says whether the
// signature's chain is anchored: whether one of its certificates is in the trust store that the matching statement of
// the trust policy names. notation-go looks for plugins before it knows that, and checks revocation at lenient levels
// even if the chain is not anchored. So its callbacks (plugin manager, revocation validators, trust store) check here
// first. The evidence travels in the context, since nothing else in those calls identifies the signature. Without
// evidence nothing is anchored.
type evidence struct {
	store     truststore.X509TrustStore
	statement *trustpolicy.TrustPolicy // nil: none matches
	mediaType string
	blob      []byte

	looked  sync.Once                  // guards content and anchor
	content *signature.EnvelopeContent // nil: the envelope is not intact
	// anchor is the index of the highest certificate of the chain that is in the trust store, or -1 if none is. The
	// trust store's owner did not choose the certificates above it.
	anchor int

	mu        sync.Mutex
	stores    map[storeName]storeAnswer
	unread    bool                    // a trust store exists but could not be read
	plugin    bool                    // the envelope names a plugin, and notation-go looked for it
	code, tsa revocationresult.Result // results of the validators; notation-go keeps only a sentence
}

type storeAnswer struct {
	certs []*x509.Certificate
	err   error
}

type evidenceKey struct{}

func evidenceOf(ctx context.Context) *evidence {
	e, _ := ctx.Value(evidenceKey{}).(*evidence)
	return e
}

// gather begins the evidence for an envelope. It sends no request and starts no program.
func gather(ctx context.Context, doc *statements, store truststore.X509TrustStore, reference, mediaType string, blob []byte) (context.Context, *evidence) {
	e := &evidence{
		store: store, mediaType: mediaType, blob: blob, anchor: -1, stores: map[storeName]storeAnswer{},
		code: revocationresult.ResultOK, tsa: revocationresult.ResultOK,
	}
	e.statement, _ = doc.of(reference) // without one there is no anchor
	return context.WithValue(ctx, evidenceKey{}, e), e
}

// look finds the anchor of the envelope's chain, once. verified is the content of an envelope whose integrity someone
// else has checked. Without it, look checks the integrity, which costs as much as everything else.
func (e *evidence) look(ctx context.Context, verified *signature.EnvelopeContent) {
	e.looked.Do(func() {
		if e.statement == nil {
			return
		}
		if e.content = verified; verified == nil {
			env, err := signature.ParseEnvelope(e.mediaType, e.blob)
			if err != nil {
				return
			}
			if e.content, err = env.Verify(); err != nil {
				e.content = nil
				return
			}
		}
		kind := truststore.TypeCA
		if e.content.SignerInfo.SignedAttributes.SigningScheme == signature.SigningSchemeX509SigningAuthority {
			kind = truststore.TypeSigningAuthority
		}
		e.anchor = e.anchorOf(ctx, kind, e.content.SignerInfo.CertificateChain)
	})
}

// anchorOf returns the index of the highest certificate of a chain that is in one of the statement's stores of a
// kind, or -1. As in notation-go, a single unreadable store leaves the chain without an anchor.
func (e *evidence) anchorOf(ctx context.Context, kind truststore.Type, chain []*x509.Certificate) int {
	var trusted []*x509.Certificate
	for _, named := range e.statement.TrustStores {
		if of, name, ok := strings.Cut(named, ":"); ok && truststore.Type(of) == kind {
			certs, err := e.store.GetCertificates(ctx, kind, name)
			if err != nil {
				return -1
			}
			trusted = append(trusted, certs...)
		}
	}
	for i := len(chain) - 1; i >= 0; i-- {
		if slices.ContainsFunc(trusted, chain[i].Equal) {
			return i
		}
	}
	return -1
}

// anchored reports whether the chain of the signature is anchored. ctx carries the evidence.
func (e *evidence) anchored(ctx context.Context) bool {
	if e == nil {
		return false
	}
	e.look(ctx, nil)
	return e.anchor >= 0
}

// mayAsk returns who may be asked about the revocation of a chain, or false for nobody. Only certificates up to the
// anchor count: anyone could have made those above it.
func (e *evidence) mayAsk(ctx context.Context, p purpose.Purpose, chain []*x509.Certificate) (askable, bool) {
	if !e.anchored(ctx) {
		return askable{}, false
	}
	anchor := e.anchor
	if p == purpose.Timestamping {
		anchor = e.anchorOf(ctx, truststore.TypeTSA, chain)
	} else if !slices.EqualFunc(chain, e.content.SignerInfo.CertificateChain, (*x509.Certificate).Equal) {
		anchor = -1
	}
	if anchor < 0 {
		return askable{}, false
	}
	return askFor(chain, anchor), true
}

// askFor returns whose revocation servers may be asked about a chain with that anchor.
func askFor(chain []*x509.Certificate, anchor int) askable {
	may := askable{anchor: anchor, issuers: chain[:min(anchor+2, len(chain))]}
	for _, c := range chain[:anchor+1] {
		may = may.with(c.OCSPServer...).with(c.CRLDistributionPoints...)
	}
	return may
}

// askable says who may be asked about the revocation of one chain.
type askable struct {
	anchor  int
	hosts   map[string]bool     // host[:port], as in the addresses in the certificates
	issuers []*x509.Certificate // who may have signed a list of revoked certificates
}

type askableKey struct{}

// with returns a copy with the hosts of these addresses added.
func (a askable) with(addresses ...string) askable {
	hosts := map[string]bool{}
	maps.Copy(hosts, a.hosts)
	for _, address := range addresses {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			hosts[strings.ToLower(u.Host)] = true
		}
	}
	a.hosts = hosts
	return a
}

func (a askable) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, askableKey{}, a)
}

// heard records a validator's result.
func (e *evidence) heard(p purpose.Purpose, r revocationresult.Result) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if p == purpose.Timestamping {
		e.tsa = r
		return
	}
	e.code = r
}

// once reads each trust store once per signature, even one that cannot be read. So the anchor and notation-go's own
// comparison rest on the same answer.
func (e *evidence) once(key storeName, read func() ([]*x509.Certificate, error)) ([]*x509.Certificate, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, ok := e.stores[key]
	if !ok {
		a.certs, a.err = read()
		e.stores[key] = a
		e.unread = e.unread || a.err != nil && !missing(a.err)
	}
	return slices.Clone(a.certs), a.err
}

// named records that the envelope names a plugin.
func (e *evidence) named() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.plugin = true
}

// doubt returns the doubt that a failed verification step causes. Revocation does not matter if the signature is for
// another image.
func (e *evidence) doubt(step trustpolicy.ValidationType, sameTarget bool) Doubt {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case step == trustpolicy.TypeExpiry:
		return Dated
	case (step == trustpolicy.TypeAuthenticity || step == trustpolicy.TypeAuthenticTimestamp) && e.unread:
		return Unsure
	case step == trustpolicy.TypeAuthenticTimestamp && e.tsa == revocationresult.ResultUnknown,
		step == trustpolicy.TypeRevocation && e.code == revocationresult.ResultUnknown && sameTarget:
		return Unsure
	case step == trustpolicy.TypeAuthenticTimestamp && e.tsa != revocationresult.ResultRevoked:
		return Dated
	}
	return Unproven
}

// unfinished returns the doubt for an error outside any step: the verification could not be completed. If the
// envelope names a plugin, which its signer chooses, it is unknown what the plugin would have said. Any other error
// counts against the signature.
func (e *evidence) unfinished(sameTarget bool) Doubt {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.plugin && sameTarget && (e.anchor >= 0 || e.unread) {
		return Unsure
	}
	return Unproven
}
