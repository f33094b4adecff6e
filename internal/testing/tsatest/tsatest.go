// Package tsatest is a time-stamping authority (RFC 3161) on 127.0.0.1, for tests: real
// tokens, in CMS, under a root made for it. What goes wrong in the field is switched on.
package tsatest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"

	"github.com/notaryproject/tspclient-go"
)

// TSA is a running authority. Its methods may be called from several goroutines at once.
type TSA struct {
	server *httptest.Server
	key    crypto.Signer
	chain  []*x509.Certificate // leaf first
	asked  atomic.Int64

	mu    sync.Mutex
	now   func() time.Time
	fault func(w http.ResponseWriter) bool
}

// Start makes an authority that answers with the time.
func Start() (*TSA, error) {
	root, rootKey, err := issue("tsatest root", nil, nil)
	if err != nil {
		return nil, err
	}
	leaf, key, err := issue("tsatest", root, rootKey)
	if err != nil {
		return nil, err
	}
	t := &TSA{key: key, chain: []*x509.Certificate{leaf, root}, now: time.Now}
	t.server = httptest.NewServer(t)
	return t, nil
}

// Close ends the server.
func (t *TSA) Close() { t.server.Close() }

// URL is where it answers.
func (t *TSA) URL() string { return t.server.URL }

// RootPEM is the root certificate, as --timestamp-root-cert takes it.
func (t *TSA) RootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: t.chain[1].Raw})
}

// Root is the root certificate.
func (t *TSA) Root() *x509.Certificate { return t.chain[1] }

// Asked counts the requests, those that failed included.
func (t *TSA) Asked() int { return int(t.asked.Load()) }

// SetNow gives it another clock.
func (t *TSA) SetNow(now func() time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = now
}

// SetFault lets a function answer in its place, if it returns true; nil: none does.
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
	_, _ = w.Write(reply) // a client that is gone needs none
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

// issue makes a root, or the certificate of an authority under one.
func issue(cn string, parent *x509.Certificate, parentKey crypto.Signer) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making the key of %s: %w", cn, err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: cn, Organization: []string{"dct2notation test"}, Country: []string{"DE"}, Province: []string{"BE"}},
		NotBefore: time.Now().AddDate(-10, 0, 0), NotAfter: time.Now().AddDate(10, 0, 0), BasicConstraintsValid: true,
	}
	if parent == nil {
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
		parent, parentKey = template, key
	} else {
		template.KeyUsage = x509.KeyUsageDigitalSignature
		// SPEC (RFC 3161, 2.3): the one extended key usage, and critical.
		usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
		if err != nil {
			return nil, nil, err
		}
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, nil, fmt.Errorf("issuing the certificate of %s: %w", cn, err)
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, key, err
}
