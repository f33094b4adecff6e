package notation

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/jws"
	notationgo "github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/notaryproject/tspclient-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/tsatest"
	"github.com/dct2notation/dct2notation/internal/transport"
)

func authority(t *testing.T) (*tsatest.TSA, TSAOptions) {
	t.Helper()
	tsa, err := tsatest.Start()
	must(t, err)
	t.Cleanup(tsa.Close)
	root := filepath.Join(t.TempDir(), "root.pem")
	must(t, os.WriteFile(root, tsa.RootPEM(), 0o600))
	rt, err := transport.New(transport.Options{Retries: -1})
	must(t, err)
	return tsa, TSAOptions{URL: tsa.URL(), RootCert: root, Client: transport.Client(rt, nil).Client}
}

func openTSA(t *testing.T, o TSAOptions) *TSA {
	t.Helper()
	tsa, err := OpenTSA(context.Background(), o)
	must(t, err)
	tsa.patience = 0 // a failed request is not repeated
	return tsa
}

// stores is a trust store with a root for each kind.
type stores map[truststore.Type]*x509.Certificate

func (s stores) GetCertificates(_ context.Context, kind truststore.Type, _ string) ([]*x509.Certificate, error) {
	return []*x509.Certificate{s[kind]}, nil
}

// stamped judges a signature by a policy that requires a timestamp, or by one that does not know
// the authority.
func stamped(t *testing.T, ca *pki.Identity, server *tsatest.TSA, asks bool, mediaType string, blob []byte) Verdict {
	t.Helper()
	policy := trustpolicy.TrustPolicy{
		Name: "test", RegistryScopes: []string{"*"}, TrustStores: []string{"ca:test"}, TrustedIdentities: []string{"*"},
		SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: "strict"},
	}
	if asks {
		policy.TrustStores = append(policy.TrustStores, "tsa:test")
	}
	v, err := newVerifier(&trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{policy}},
		stores{truststore.TypeCA: ca.Certificate(), truststore.TypeTSA: server.Root()}, nil, verifier.VerifierOptions{})
	must(t, err)
	got, err := v.Verify(context.Background(), "registry.example.com/app@"+image("a").Digest.String(), image("a"), mediaType, blob)
	must(t, err)
	return got
}

func TestPolicyThatAsksForATimestampIsMet(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"jws", "cose"} {
		server, options := authority(t)
		r := newRig(t, pki.EC256, kmstest.RAW)
		s, err := Open(context.Background(), r.key, Options{Format: format, TSA: openTSA(t, options)})
		must(t, err)
		e, err := s.Sign(context.Background(), image("a"), nil)
		must(t, err)
		if server.Asked() != 2 {
			t.Errorf("got the authority asked %d times, want once before the key and once for the signature", server.Asked())
		}
		if got := stamped(t, r.ca, server, true, e.MediaType, e.Blob); !got.Strict() || time.Since(got.SignedAt) > time.Minute {
			t.Errorf("%s: got %+v, want it trusted, signed now", format, got)
		}
		without, err := r.open(t, format).Sign(context.Background(), image("a"), nil)
		must(t, err)
		if got := stamped(t, r.ca, server, true, without.MediaType, without.Blob); got.Trusted {
			t.Errorf("%s, without a timestamp: got %+v, want it not trusted", format, got)
		}
	}
}

// A countersigned signature is trusted after its certificate has expired, and its time is the
// authority's.
func TestTimestampOutlivesTheCertificate(t *testing.T) {
	t.Parallel()
	server, options := authority(t)
	ca, err := pki.NewAuthority("outlived")
	must(t, err)
	end := time.Now().Add(-24 * time.Hour).Truncate(time.Second)
	old, err := ca.Issue("release", nil, pki.Valid(end.Add(-24*time.Hour), end))
	must(t, err)
	server.SetNow(func() time.Time { return end.Add(-time.Minute) })
	blob := signedBy(t, old, "a", func(r *signature.SignRequest) {
		r.Timestamper, r.TSARootCAs = &stamping{tsa: openTSA(t, options)}, openTSA(t, options).roots
	})
	if got := stamped(t, ca, server, true, jws.MediaTypeEnvelope, blob); !got.Strict() || !got.SignedAt.Equal(end.Add(-time.Minute+time.Second)) {
		t.Errorf("got %+v, want it trusted, signed at %s", got, end.Add(-time.Minute+time.Second))
	}
	if got := stamped(t, ca, server, false, jws.MediaTypeEnvelope, blob); got.Trusted {
		t.Errorf("by a policy that trusts no authority: got %+v, want it not trusted", got)
	}
	server.SetNow(func() time.Time { return end.Add(time.Minute) })
	late := signedBy(t, old, "a", func(r *signature.SignRequest) {
		r.Timestamper, r.TSARootCAs = &stamping{tsa: openTSA(t, options)}, openTSA(t, options).roots
	})
	if got := stamped(t, ca, server, true, jws.MediaTypeEnvelope, late); got.Trusted {
		t.Errorf("countersigned after its certificate had expired: got %+v, want it not trusted", got)
	}
}

func TestSigningTimeIsTheLaterOfBoth(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct{ signed, stamped, want time.Time }{
		"no timestamp":      {now, time.Time{}, now},
		"a later timestamp": {now.AddDate(-5, 0, 0), now, now},
		"an earlier one":    {now, now.AddDate(-5, 0, 0), now},
	} {
		if got := (Contents{SigningTime: c.signed, Stamped: c.stamped}).SignedAt(); !got.Equal(c.want) {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// A faulty authority is found before a key operation is spent.
func TestAuthorityIsCheckedFirst(t *testing.T) {
	t.Parallel()
	_, other := authority(t)
	status := func(code int) func(*tsatest.TSA, *TSAOptions) {
		return func(s *tsatest.TSA, _ *TSAOptions) {
			s.SetFault(func(w http.ResponseWriter) bool { w.WriteHeader(code); return true })
		}
	}
	for name, c := range map[string]struct {
		harm  func(*tsatest.TSA, *TSAOptions)
		class failure.Class
		says  string
	}{
		"no address":      {func(_ *tsatest.TSA, o *TSAOptions) { o.URL = "tsa.example.com" }, failure.Denied, "no http or https address"},
		"another's root":  {func(_ *tsatest.TSA, o *TSAOptions) { o.RootCert = other.RootCert }, failure.Denied, "--timestamp-root-cert"},
		"no root":         {func(_ *tsatest.TSA, o *TSAOptions) { o.RootCert = "nowhere" }, failure.Denied, "nowhere"},
		"it is gone":      {func(s *tsatest.TSA, _ *TSAOptions) { s.Close() }, failure.Transient, "--timestamp-url"},
		"not found":       {status(404), failure.Denied, "404"},
		"busy":            {status(429), failure.Throttled, "429"},
		"out of order":    {status(500), failure.Transient, "500"},
		"a page of HTML":  {func(s *tsatest.TSA, _ *TSAOptions) { s.SetFault(page) }, failure.Denied, "text/html"},
		"junk":            {func(s *tsatest.TSA, _ *TSAOptions) { s.SetFault(junk) }, failure.Denied, "cannot be read"},
		"it rejects":      {func(s *tsatest.TSA, _ *TSAOptions) { s.SetFault(rejection(0x80)) }, failure.Denied, "no timestamp"},
		"its clock fails": {func(s *tsatest.TSA, _ *TSAOptions) { s.SetFault(rejection(0, 0x02)) }, failure.Transient, "no timestamp"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, options := authority(t)
			c.harm(server, &options)
			_, err := OpenTSA(context.Background(), options)
			if err == nil || failure.Of(err) != c.class || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got class %s, error %v, want class %s with %q", failure.Of(err), err, c.class, c.says)
			}
		})
	}
}

func page(w http.ResponseWriter) bool {
	w.Header().Set("Content-Type", "text/html")
	_, _ = w.Write([]byte("<html>"))
	return true
}

func junk(w http.ResponseWriter) bool {
	w.Header().Set("Content-Type", "application/timestamp-reply")
	_, _ = w.Write([]byte("junk"))
	return true
}

// rejection is a reply with status rejection and the given bits of PKIFailureInfo.
func rejection(bits ...byte) func(http.ResponseWriter) bool {
	return func(w http.ResponseWriter) bool {
		info := append([]byte{0x03, byte(len(bits) + 1), 0}, bits...)
		status := append([]byte{0x02, 1, 2}, info...)
		inner := append([]byte{0x30, byte(len(status))}, status...)
		w.Header().Set("Content-Type", "application/timestamp-reply")
		_, _ = w.Write(append([]byte{0x30, byte(len(inner))}, inner...))
		return true
	}
}

// The media type of an answer may have parameters.
func TestAuthorityMayNameACharset(t *testing.T) {
	t.Parallel()
	for _, parameter := range []string{"; charset=utf-8", ";"} {
		_, options := authority(t)
		options.Client = &http.Client{Transport: typed(parameter)}
		if _, err := OpenTSA(context.Background(), options); err != nil {
			t.Errorf("%q: got error %v, want none", parameter, err)
		}
	}
}

// typed appends to the media type of every answer.
type typed string

func (t typed) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		answer.Header.Set("Content-Type", strings.ToUpper(answer.Header.Get("Content-Type"))+string(t))
	}
	return answer, err
}

// A missing timestamp is a failure of its class, and there is no signature without it.
func TestNoSignatureWithoutItsTimestamp(t *testing.T) {
	t.Parallel()
	server, options := authority(t)
	r := newRig(t, pki.EC256, kmstest.RAW)
	plugin, err := Open(context.Background(), r.key, Options{TSA: openTSA(t, options)})
	must(t, err)
	id, err := r.ca.Issue("files", nil)
	must(t, err)
	saved, err := id.Save(t.TempDir(), "files")
	must(t, err)
	files, err := Open(context.Background(), Key{Name: "files", KeyFile: saved.KeyFile, CertFile: saved.ChainFile}, Options{TSA: openTSA(t, options)})
	must(t, err)
	server.SetFault(func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusInternalServerError); return true })
	for name, s := range map[string]*Signer{"plugin": plugin, "files": files} {
		if e, err := s.Sign(context.Background(), image("a"), nil); failure.Of(err) != failure.Permanent || e.Blob != nil {
			t.Errorf("%s: got error %v, %d bytes, want class %s and no envelope", name, err, len(e.Blob), failure.Permanent)
		}
	}
	server.SetFault(nil)
	for name, s := range map[string]*Signer{"plugin": plugin, "files": files} {
		e, err := s.Sign(context.Background(), image("a"), nil)
		must(t, err)
		if c, err := Read(e.MediaType, e.Blob); err != nil || c.Stamped.IsZero() {
			t.Errorf("%s: got error %v, stamped %s, want a timestamp", name, err, c.Stamped)
		}
	}
}

// An authority that fails briefly costs no second key operation.
func TestStumblingAuthorityIsAskedAgain(t *testing.T) {
	t.Parallel()
	server, options := authority(t)
	r := newRig(t, pki.EC256, kmstest.RAW)
	tsa := openTSA(t, options)
	tsa.patience = time.Minute
	s, err := Open(context.Background(), r.key, Options{TSA: tsa})
	must(t, err)
	for i, status := range []int{http.StatusBadGateway, http.StatusTooManyRequests} {
		before := server.Asked()
		server.SetFault(func(w http.ResponseWriter) bool {
			if server.Asked() > before+1 {
				return false
			}
			w.WriteHeader(status)
			return true
		})
		e, err := s.Sign(context.Background(), image("a"), nil)
		must(t, err)
		must(t, s.Check(context.Background(), image("a"), e))
		if calls, _ := r.plugin.Calls(r.command()); len(calls) != 2+i {
			t.Errorf("status %d: got %d key operations, want the proof and %d", status, len(calls), 1+i)
		}
	}
}

// countersigned is a key in files whose signatures take a while and need a timestamp.
type countersigned struct{ operations atomic.Int32 }

func (c *countersigned) Sign(ctx context.Context, _ ocispec.Descriptor, o notationgo.SignerSignOptions) ([]byte, *signature.SignerInfo, error) {
	c.operations.Add(1)
	time.Sleep(60 * time.Millisecond)
	_, err := o.Timestamper.Timestamp(ctx, nil)
	return nil, nil, err
}

// While the authority throttles, no key operation is spent on what could not be finished, however
// long that lasts. What was signed before waits for its timestamp. When the authority is back, so
// is the pace.
func TestThrottlingAuthorityCostsNoKeyOperation(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		quota  quota
		each   int // signatures of a worker
		atOnce int // key operations spent while it throttles, at most
		within time.Duration
	}{
		"for minutes": {&changing{quotas: []quota{&bucket{perSecond: 100, burst: 100}, &fixed{}, &bucket{perSecond: 100, burst: 100}}, each: 5 * time.Minute}, 4000, 8, 13 * time.Minute},
		"50 a second": {&sliding{many: 50, each: time.Second}, 250, 2000, 43 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const workers = 8
				key := &countersigned{}
				var mu sync.Mutex
				began, spent := time.Now(), int32(0)
				tsa := &TSA{pace: newPace(0, nil), patience: stampPatience, once: func(context.Context, *tspclient.Request) (*tspclient.Response, error) {
					time.Sleep(20 * time.Millisecond)
					mu.Lock()
					defer mu.Unlock()
					if !c.quota.takes(time.Now()) {
						if spent == 0 {
							spent = key.operations.Load()
						}
						return nil, failure.New(failure.Throttled, errors.New("429"))
					}
					if over := int(key.operations.Load() - spent); spent > 0 && over > c.atOnce {
						t.Errorf("got %d key operations while the authority throttled, want at most %d", over, c.atOnce)
					}
					spent = 0
					return nil, nil
				}}
				s := &Signer{local: key, pace: newPace(0, nil), tsa: tsa}
				var all sync.WaitGroup
				for range workers {
					all.Go(func() {
						for range c.each {
							if _, _, err := s.envelope(t.Context(), ocispec.Descriptor{}, tsa); err != nil {
								t.Error(err)
							}
						}
					})
				}
				all.Wait()
				if n := int(key.operations.Load()); n != workers*c.each {
					t.Errorf("got %d key operations, want %d", n, workers*c.each)
				}
				if took := time.Since(began); took > c.within {
					t.Errorf("took %s, want at most %s", took, c.within)
				}
			})
		})
	}
}

// An authority that stays away fails the signature, and no other signature is made for it.
func TestAuthorityThatStaysAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := &countersigned{}
		tsa := &TSA{pace: newPace(0, nil), patience: stampPatience, once: func(context.Context, *tspclient.Request) (*tspclient.Response, error) {
			return nil, failure.New(failure.Transient, errors.New("503"))
		}}
		s := &Signer{local: key, pace: newPace(0, nil), tsa: tsa}
		for range 3 {
			if _, _, err := s.envelope(t.Context(), ocispec.Descriptor{}, tsa); failure.Of(err) != failure.Permanent {
				t.Errorf("got %v, want class %s", err, failure.Permanent)
			}
		}
		if n := key.operations.Load(); n != 1 {
			t.Errorf("got %d key operations, want 1", n)
		}
	})
}

// notation-go silently leaves the timestamp out of what such a plugin makes.
func TestEnvelopePluginWithTimestampIsRefused(t *testing.T) {
	t.Parallel()
	_, options := authority(t)
	r := newRig(t, pki.EC256, kmstest.ENVELOPE)
	_, err := Open(context.Background(), r.key, Options{TSA: openTSA(t, options)})
	if err == nil || !strings.Contains(err.Error(), "--timestamp-url") {
		t.Errorf("got error %v, want one that names --timestamp-url", err)
	}
	if calls, _ := r.plugin.Calls(r.command()); len(calls) != 0 {
		t.Errorf("got %d key operations, want 0", len(calls))
	}
}

// A countersignature of something else proves no time.
func TestForeignTimestampTellsNothing(t *testing.T) {
	t.Parallel()
	if !stampedAt([]byte("junk"), nil).IsZero() || !stampedAt(nil, nil).IsZero() {
		t.Error("junk: got a time, want none")
	}
}

func TestRootPoolTakesOneRoot(t *testing.T) {
	t.Parallel()
	server, options := authority(t)
	leaf := issued(t).Chain[0]
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"two":  append(server.RootPEM(), server.RootPEM()...),
		"leaf": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}),
	} {
		file := filepath.Join(dir, name)
		must(t, os.WriteFile(file, content, 0o600))
		options.RootCert = file
		if _, err := OpenTSA(context.Background(), options); failure.Of(err) != failure.Denied || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got class %s, error %v, want class %s and the name", name, failure.Of(err), err, failure.Denied)
		}
	}
	if server.Asked() != 0 {
		t.Errorf("got the authority asked %d times, want 0", server.Asked())
	}
}
