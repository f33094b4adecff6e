// Package tsatest is a time-stamping authority (RFC 3161) on 127.0.0.1, for tests: it issues real tokens, in CMS,
// under a root made for it. Failures can be injected.
package tsatest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/notaryproject/tspclient-go"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// TSA is a running authority. Its methods may be called from several goroutines at once.
type TSA struct {
	signer *pki.Identity
	server *httptest.Server
	asked  atomic.Int64

	mu    sync.Mutex
	now   func() time.Time
	fault func(w http.ResponseWriter) bool
}

// Start makes an authority that answers with the current time.
func Start() (*TSA, error) {
	root, err := pki.NewAuthority("tsatest root")
	if err != nil {
		return nil, err
	}
	// SPEC (RFC 3161, 2.3): this is the only extended key usage, and critical.
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		return nil, err
	}
	signer, err := root.Issue("tsatest", nil, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter, c.ExtKeyUsage = root.Certificate().NotBefore, root.Certificate().NotAfter, nil
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}
	})
	if err != nil {
		return nil, err
	}
	t := &TSA{signer: signer, now: time.Now}
	t.server = httptest.NewServer(t)
	return t, nil
}

// Close ends the server.
func (t *TSA) Close() { t.server.Close() }

// URL returns the authority's address.
func (t *TSA) URL() string { return t.server.URL }

// RootPEM returns the root certificate, as --timestamp-root-cert accepts it.
func (t *TSA) RootPEM() []byte {
	return pki.PEM(t.Root())
}

// Root returns the root certificate.
func (t *TSA) Root() *x509.Certificate { return t.signer.Chain[1] }

// Asked counts the requests, including failed ones.
func (t *TSA) Asked() int { return int(t.asked.Load()) }

// SetNow sets the authority's clock.
func (t *TSA) SetNow(now func() time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = now
}

// SetFault makes fault answer requests instead, if it returns true; nil: none does.
func (t *TSA) SetFault(fault func(w http.ResponseWriter) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault = fault
}

// ServeHTTP answers a query.
func (t *TSA) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.asked.Add(1)
	t.mu.Lock()
	now, fault := t.now, t.fault
	t.mu.Unlock()
	if fault != nil && fault(w) {
		return
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	var query tspclient.Request
	if err == nil {
		err = query.UnmarshalBinary(raw)
	}
	if err != nil || r.Header.Get("Content-Type") != tspclient.MediaTypeTimestampQuery {
		http.Error(w, "no query", http.StatusBadRequest)
		return
	}
	reply, err := t.reply(&query, now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", tspclient.MediaTypeTimestampReply)
	_, _ = w.Write(reply) // a client that is gone needs no answer
}

func (t *TSA) reply(query *tspclient.Request, now time.Time) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	info, err := asn1.Marshal(tspclient.TSTInfo{
		Version: 1, Policy: asn1.ObjectIdentifier{1, 2, 3, 4, 1}, MessageImprint: query.MessageImprint,
		SerialNumber: serial, GenTime: now.UTC().Truncate(time.Second), Accuracy: tspclient.Accuracy{Seconds: 1}, Nonce: query.Nonce,
	})
	if err != nil {
		return nil, err
	}
	token, err := t.token(info)
	if err != nil {
		return nil, err
	}
	return (&tspclient.Response{TimestampToken: asn1.RawValue{FullBytes: token}}).MarshalBinary()
}

// Names in CMS (RFC 5652), and of what a timestamp adds to it (RFC 3161, RFC 5816).
var (
	oidSignedData  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidContentType = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidDigest      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidCertificate = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
	oidSHA256      = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidECDSA       = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
)

type contentInfo struct {
	ContentType asn1.ObjectIdentifier
	Content     any `asn1:"explicit,tag:0"`
}

type signedData struct {
	Version          int
	DigestAlgorithms []pkix.AlgorithmIdentifier `asn1:"set"`
	Content          encapsulated
	Certificates     asn1.RawValue
	SignerInfos      []signerInfo `asn1:"set"`
}

type encapsulated struct {
	ContentType asn1.ObjectIdentifier
	Content     []byte `asn1:"explicit,tag:0"`
}

type signerInfo struct {
	Version            int
	Signer             issuerAndSerial
	DigestAlgorithm    pkix.AlgorithmIdentifier
	SignedAttributes   asn1.RawValue
	SignatureAlgorithm pkix.AlgorithmIdentifier
	Signature          []byte
}

type issuerAndSerial struct {
	Issuer asn1.RawValue
	Serial *big.Int
}

type attribute struct {
	Type   asn1.ObjectIdentifier
	Values []any `asn1:"set"`
}

// signingCertificate has one certificate's SHA-256, which is the default algorithm.
type signingCertificate struct{ Certificates []struct{ Hash []byte } }

// token signs the content as CMS SignedData.
func (t *TSA) token(content []byte) ([]byte, error) {
	leaf := t.signer.Chain[0]
	sum, thumbprint := sha256.Sum256(content), sha256.Sum256(leaf.Raw)
	attributes, err := sortedSet([]attribute{
		{oidContentType, []any{oidTSTInfo}},
		{oidDigest, []any{sum[:]}},
		{oidCertificate, []any{signingCertificate{[]struct{ Hash []byte }{{thumbprint[:]}}}}},
	})
	if err != nil {
		return nil, err
	}
	// The signature is over the SET; what is sent has the tag of its position.
	signed := sha256.Sum256(wrap(asn1.TagSet|0x20, attributes))
	signature, err := t.signer.Key.Sign(rand.Reader, signed[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var certificates []byte
	for _, c := range t.signer.Chain {
		certificates = append(certificates, c.Raw...)
	}
	digest := pkix.AlgorithmIdentifier{Algorithm: oidSHA256}
	return asn1.Marshal(contentInfo{oidSignedData, signedData{
		Version: 3, DigestAlgorithms: []pkix.AlgorithmIdentifier{digest}, Content: encapsulated{oidTSTInfo, content},
		Certificates: asn1.RawValue{FullBytes: wrap(0xa0, certificates)},
		SignerInfos: []signerInfo{{
			Version: 1, Signer: issuerAndSerial{asn1.RawValue{FullBytes: leaf.RawIssuer}, leaf.SerialNumber},
			DigestAlgorithm: digest, SignedAttributes: asn1.RawValue{FullBytes: wrap(0xa0, attributes)},
			SignatureAlgorithm: pkix.AlgorithmIdentifier{Algorithm: oidECDSA}, Signature: signature,
		}},
	}})
}

// sortedSet encodes attributes in the order that DER requires.
func sortedSet(attributes []attribute) ([]byte, error) {
	var all [][]byte
	for _, a := range attributes {
		der, err := asn1.Marshal(a)
		if err != nil {
			return nil, err
		}
		all = append(all, der)
	}
	slices.SortFunc(all, bytes.Compare)
	return bytes.Join(all, nil), nil
}

// wrap puts content under a tag.
func wrap(tag byte, content []byte) []byte {
	der, err := asn1.Marshal(asn1.RawValue{Class: int(tag >> 6), IsCompound: true, Tag: int(tag & 0x1f), Bytes: content})
	if err != nil {
		panic(err) // it cannot fail for such a value
	}
	return der
}
