package notation

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/revocation/purpose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/transport"
)

// A responder serves lists of revoked certificates, and counts the requests.
type responder struct {
	*httptest.Server
	asked  atomic.Int64
	answer atomic.Pointer[http.HandlerFunc]
}

func newResponder(t *testing.T) *responder {
	t.Helper()
	r := &responder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.asked.Add(1)
		if answer := r.answer.Load(); answer != nil {
			(*answer)(w, req)
			return
		}
		http.Error(w, "", http.StatusNotFound)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *responder) with(answer http.HandlerFunc) { r.answer.Store(&answer) }

// named returns its address under another name: the same server, but another host.
func (r *responder) named(name string) string { return strings.Replace(r.URL, "127.0.0.1", name, 1) }

func sends(list []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(list) }
}

// revoked makes a list of revoked certificates; delta is the address of changes to it, if any.
func revoked(t *testing.T, by *pki.Identity, delta string, base int64, certs ...*x509.Certificate) []byte {
	t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(7), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour)}
	for _, c := range certs {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now().Add(-2 * time.Hour)})
	}
	if delta != "" {
		uri := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(delta)}
		full := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: marshal(t, uri)}
		name := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: marshal(t, full)}
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 46}, Value: marshal(t, [][]asn1.RawValue{{name}})})
	}
	if base > 0 {
		template.Number = big.NewInt(8)
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: marshal(t, base)})
	}
	raw, err := x509.CreateRevocationList(rand.Reader, template, by.Certificate(), by.Key)
	must(t, err)
	return raw
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := asn1.Marshal(v)
	must(t, err)
	return raw
}

// asking returns a verifier that checks revocation as the program does.
func asking(t *testing.T, level string, trusted ...*x509.Certificate) *Verifier {
	t.Helper()
	rt, err := transport.New(transport.Options{Retries: -1})
	must(t, err)
	return askingBy(t, transport.Client(rt, nil).Client, level, trusted...)
}

func askingBy(t *testing.T, client *http.Client, level string, trusted ...*x509.Certificate) *Verifier {
	t.Helper()
	validators, err := revocationValidators(client)
	must(t, err)
	v, err := newVerifier(&trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{{
		Name: "test", RegistryScopes: []string{"*"}, TrustStores: []string{"ca:test"}, TrustedIdentities: []string{"*"},
		SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: level},
	}}}, memory(trusted), nil, validators)
	must(t, err)
	return v
}

// at sets a certificate's addresses of revocation lists.
func at(urls ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.CRLDistributionPoints = urls }
}

// What the authority of a trusted certificate says of it counts at every level, and no answer
// leaves it undecided. A stranger's authority is not asked.
func TestRevocationIsAskedOfTrustedAuthorities(t *testing.T) {
	t.Parallel()
	root, stranger := certificate(t, "root", nil, pki.CA), certificate(t, "root", nil, pki.CA)
	server, elsewhere := newResponder(t), newResponder(t)
	leaf := certificate(t, "release", root, at(server.URL+"/crl"))
	blob := signedBy(t, leaf, "a")
	for name, c := range map[string]struct {
		answer    http.HandlerFunc
		more      http.HandlerFunc // of the other server
		want      Doubt
		elsewhere int64
	}{
		"good":                     {sends(revoked(t, root, "", 0)), nil, NoDoubt, 0},
		"revoked":                  {sends(revoked(t, root, "", 0, leaf.Certificate())), nil, Unproven, 0},
		"404":                      {nil, nil, Unsure, 0},
		"junk":                     {sends([]byte("junk")), nil, Unsure, 0},
		"another's list":           {sends(revoked(t, stranger, "", 0)), nil, Unsure, 0},
		"sent elsewhere":           {redirect(elsewhere.named("localhost")), sends(revoked(t, root, "", 0)), Unsure, 0},
		"sent elsewhere, a port":   {redirect(elsewhere.URL), sends(revoked(t, root, "", 0)), Unsure, 0},
		"sent along":               {along(revoked(t, root, "", 0)), nil, NoDoubt, 0},
		"changes":                  {sends(revoked(t, root, elsewhere.URL, 0)), sends(revoked(t, root, "", 7)), NoDoubt, 1},
		"changes, revoked":         {sends(revoked(t, root, elsewhere.URL, 0)), sends(revoked(t, root, "", 7, leaf.Certificate())), Unproven, 1},
		"changes that are nowhere": {sends(revoked(t, root, elsewhere.URL, 0)), nil, Unsure, 1},
		"changes, by another":      {sends(revoked(t, root, elsewhere.URL, 0)), sends(revoked(t, stranger, "", 7)), Unsure, 1},
		"another's list, changes":  {sends(revoked(t, stranger, elsewhere.URL, 0)), sends(revoked(t, root, "", 7)), Unsure, 0},
	} {
		for _, level := range []string{"strict", "permissive", "audit"} {
			server.asked.Store(0)
			elsewhere.asked.Store(0)
			server.answer.Store(nil)
			elsewhere.answer.Store(nil)
			if c.answer != nil {
				server.with(c.answer)
			}
			if c.more != nil {
				elsewhere.with(c.more)
			}
			got := judged(t, asking(t, level, root.Certificate()), blob)
			if got.Doubt != c.want || got.Trusted != (level != "strict" || c.want == NoDoubt) {
				t.Errorf("%s, %s: got %+v, want doubt %q", name, level, got, c.want)
			}
			if server.asked.Load() == 0 || elsewhere.asked.Load() != c.elsewhere {
				t.Errorf("%s, %s: got %d requests to the authority and %d elsewhere, want some and %d", name, level, server.asked.Load(), elsewhere.asked.Load(), c.elsewhere)
			}
			server.asked.Store(0)
			if got := judged(t, asking(t, level, stranger.Certificate()), blob); got.Doubt != Unproven || server.asked.Load() > 0 {
				t.Errorf("%s, %s, not trusted: got %+v and %d requests, want none", name, level, got, server.asked.Load())
			}
		}
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

// along redirects to another path of the same server, and answers there.
func along(list []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/moved" {
			http.Redirect(w, r, "/moved", http.StatusFound)
			return
		}
		_, _ = w.Write(list)
	}
}

// The owner of a certificate below the trusted one can put certificates of his own above it: one
// that he issued for the root's key makes the chain complete. It names no server that is asked.
func TestNobodyAboveTheAnchorNamesAServer(t *testing.T) {
	t.Parallel()
	server, evil := newResponder(t), newResponder(t)
	root := certificate(t, "root", nil, pki.CA)
	between := certificate(t, "between", root, pki.CA, at(server.URL+"/between"))
	leaf := certificate(t, "release", between, at(server.URL+"/leaf"))
	lists := map[string][]byte{"/leaf": revoked(t, between, "", 0), "/between": revoked(t, root, "", 0)}
	server.with(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(lists[r.URL.Path]) })
	evil.with(sends(lists["/between"]))
	attacker := certificate(t, "attacker", nil, pki.CA)
	crossed := certify(t, "root", root.Key, attacker, pki.CA, func(c *x509.Certificate) {
		c.CRLDistributionPoints, c.OCSPServer = []string{evil.URL}, []string{evil.URL}
	})
	chains := map[string]*pki.Identity{
		"honest": leaf, "crossed": {Key: leaf.Key, Chain: append(leaf.Chain[:2:2], crossed.Chain...)},
	}
	for name, id := range chains {
		got := judged(t, asking(t, "strict", between.Certificate()), signedBy(t, id, "a"))
		if want := map[string]Doubt{"honest": NoDoubt, "crossed": Unsure}[name]; got.Doubt != want {
			t.Errorf("%s: got %+v, want doubt %q", name, got, want)
		}
	}
	// A list that he signed, which anybody on the network can substitute for the authority's, leads
	// nowhere either.
	lists["/leaf"] = revoked(t, attacker, evil.URL, 0)
	if got := judged(t, asking(t, "strict", between.Certificate()), signedBy(t, chains["crossed"], "a")); got.Doubt != Unsure {
		t.Errorf("by the attacker's list: got %+v, want doubt %q", got, Unsure)
	}
	if server.asked.Load() == 0 || evil.asked.Load() > 0 {
		t.Errorf("got %d requests to the authority and %d to the attacker's server, want some and none", server.asked.Load(), evil.asked.Load())
	}
	lists["/leaf"] = revoked(t, between, "", 0)
	// The same certificates below a trusted root that names the server.
	if got := judged(t, asking(t, "strict", attacker.Certificate()), signedBy(t, chains["crossed"], "a")); evil.asked.Load() == 0 {
		t.Errorf("of a trusted authority: got %+v and no request, want one", got)
	}
}

// The chain of a timestamp needs two anchors: a trusted signature, and a trusted authority.
func TestTimestampsAreAnchoredToo(t *testing.T) {
	t.Parallel()
	root, tsa, stranger := certificate(t, "root", nil, pki.CA), certificate(t, "tsa", nil, pki.CA), certificate(t, "tsa", nil, pki.CA)
	id := certificate(t, "release", root)
	doc := &trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{{
		Name: "test", RegistryScopes: []string{"*"}, TrustStores: []string{"ca:test", "tsa:test"}, TrustedIdentities: []string{"*"},
		SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: "audit"},
	}}}
	for name, c := range map[string]struct {
		by    *pki.Identity
		chain *pki.Identity
		p     purpose.Purpose
		may   bool
	}{
		"the signature's chain":          {id, nil, purpose.CodeSigning, true},
		"another chain":                  {id, root, purpose.CodeSigning, false},
		"a timestamp's":                  {id, tsa, purpose.Timestamping, true},
		"of another authority":           {id, stranger, purpose.Timestamping, false},
		"a timestamp's, of a stranger's": {certificate(t, "release", stranger), tsa, purpose.Timestamping, false},
	} {
		store := &trustStore{store: stores{truststore.TypeCA: root.Certificate(), truststore.TypeTSA: tsa.Certificate()}}
		ctx, e := gather(context.Background(), &statements{Document: doc}, store, reference, jws.MediaTypeEnvelope, signedBy(t, c.by, "a"))
		chain := c.by.Chain
		if c.chain != nil {
			chain = []*x509.Certificate{c.chain.Certificate()}
		}
		if _, may := e.mayAsk(ctx, c.p, chain); may != c.may {
			t.Errorf("%s: got %t, want %t", name, may, c.may)
		}
	}
	if _, may := (*evidence)(nil).mayAsk(context.Background(), purpose.CodeSigning, id.Chain); may {
		t.Error("without evidence: got true, want false")
	}
}

// What cannot be asked is unknown, in time: a silent or endless server, an address that no
// authority has, and no means to ask at all.
func TestRevocationThatCannotBeAskedIsUnknown(t *testing.T) {
	t.Parallel()
	root := certificate(t, "root", nil, pki.CA)
	server := newResponder(t)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	server.with(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/silent"):
			select {
			case <-release:
			case <-r.Context().Done():
			}
		case strings.HasPrefix(r.URL.Path, "/endless"):
			for chunk := bytes.Repeat([]byte("x"), 1<<20); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}
	})
	for name, change := range map[string]func(*x509.Certificate){
		"silent OCSP":  func(c *x509.Certificate) { c.OCSPServer = []string{server.URL + "/silent"} },
		"endless OCSP": func(c *x509.Certificate) { c.OCSPServer = []string{server.URL + "/endless"} },
		"endless list": at(server.URL + "/endless"),
		"metadata":     at("http://169.254.169.254/latest/meta-data"),
		"file":         at("file:///etc/passwd"),
		"TLS":          at(strings.Replace(server.URL, "http://", "https://", 1)),
		"odd":          at("http://%zz/"),
		"nowhere":      at("http:///crl"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leaf := certificate(t, "release", root, change)
			began := time.Now()
			if got := judged(t, asking(t, "strict", root.Certificate()), signedBy(t, leaf, "a")); got.Trusted || got.Doubt != Unsure {
				t.Errorf("got %+v, want doubt %q", got, Unsure)
			}
			if d := time.Since(began); d > chainLimit {
				t.Errorf("got an answer after %s, want it within %s", d, chainLimit)
			}
			if got := judged(t, askingBy(t, nil, "strict", root.Certificate()), signedBy(t, leaf, "a")); got.Trusted || got.Doubt != Unsure {
				t.Errorf("with nobody to ask: got %+v, want doubt %q", got, Unsure)
			}
		})
	}
}

// An authority's list is fetched once for all its certificates, and again when it has expired.
func TestRevocationListsAreShared(t *testing.T) {
	t.Parallel()
	root := certificate(t, "root", nil, pki.CA)
	server := newResponder(t)
	server.with(sends(revoked(t, root, "", 0)))
	rt, err := transport.New(transport.Options{Retries: -1})
	must(t, err)
	now := time.Now()
	f := &crlFetcher{client: limitedClient(transport.Client(rt, nil).Client, crlTimeout), now: func() time.Time { return now }}
	ctx := askable{issuers: []*x509.Certificate{root.Certificate()}}.with(server.URL).in(context.Background())
	fetch := func(want int64) {
		t.Helper()
		if _, err := f.Fetch(ctx, server.URL+"/crl"); err != nil || server.asked.Load() != want {
			t.Errorf("got %v after %d requests, want %d", err, server.asked.Load(), want)
		}
	}
	fetch(1)
	now = now.Add(goodFor - time.Second)
	fetch(1)
	now = now.Add(time.Second)
	fetch(2)
	for i := range 3 * maxCRLs {
		if _, err := f.Fetch(ctx, fmt.Sprint(server.URL, "/", i)); err != nil || len(f.lists) > maxCRLs {
			t.Errorf("got %v, and %d lists kept, want at most %d", err, len(f.lists), maxCRLs)
		}
	}
}
