package kmstest_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	notationgo "github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/dir"
	notationplugin "github.com/notaryproject/notation-go/plugin"
	"github.com/notaryproject/notation-go/signer"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// startMany runs n processes of generate-signature at once and returns how many answered with each
// code. "" is success.
func startMany(t *testing.T, p *kmstest.Plugin, n int) map[string]int {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	codes := map[string]int{}
	for range n {
		all.Go(func() {
			got := start(t, p, "generate-signature", requestFor(p, "generate-signature"), time.Minute)
			mu.Lock()
			defer mu.Unlock()
			if got.exit == 0 {
				codes[""]++
			} else {
				codes[code(got.stderr)]++
			}
		})
	}
	all.Wait()
	return codes
}

func TestFaultsHitExactlyTheCallsTheyName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ nth, count, hit int }{
		{0, 0, 12}, {0, 2, 2}, {3, 0, 1}, {3, 4, 4}, {11, 5, 2}, {13, 1, 0},
	} {
		t.Run(fmt.Sprintf("nth %d count %d", c.nth, c.count), func(t *testing.T) {
			t.Parallel()
			b := kmstest.Behaviour{Faults: []kmstest.Fault{
				{Command: "generate-signature", Kind: kmstest.AccessDenied, Nth: c.nth, Count: c.count},
			}}
			p := install(t, b)
			if got := startMany(t, p, 12); got["ACCESS_DENIED"] != c.hit || got[""] != 12-c.hit {
				t.Errorf("got codes %v, want %d refused", got, c.hit)
			}
		})
	}
}

func TestFirstFaultThatFitsWins(t *testing.T) {
	t.Parallel()
	b := kmstest.Behaviour{Faults: []kmstest.Fault{
		{Command: "describe-key", Kind: kmstest.Hang},
		{Command: "generate-signature", Kind: kmstest.TimeoutCode, Nth: 2},
		{Command: "generate-signature", Kind: kmstest.AccessDenied, Count: 2},
	}}
	for nth, want := range map[int]kmstest.Kind{1: kmstest.AccessDenied, 2: kmstest.TimeoutCode, 3: ""} {
		if f, ok := b.Fault("generate-signature", nth); f.Kind != want || ok != (want != "") {
			t.Errorf("call %d: got %q, %v, want %q", nth, f.Kind, ok, want)
		}
	}
}

func TestAFaultCanHappenEverySoManyCallsAndIsInTheLog(t *testing.T) {
	t.Parallel()
	p := install(t, kmstest.Behaviour{Faults: []kmstest.Fault{
		{Command: "generate-signature", Kind: kmstest.AccessDenied, Every: 4},
	}})
	if got := startMany(t, p, 12); got["ACCESS_DENIED"] != 3 || got[""] != 9 {
		t.Errorf("got codes %v, want every fourth refused", got)
	}
	calls, err := p.Calls("generate-signature")
	if err != nil {
		t.Fatal(err)
	}
	logged := map[kmstest.Kind]int{}
	for _, c := range calls {
		logged[c.Fault]++
	}
	if logged[kmstest.AccessDenied] != 3 || logged[""] != 9 {
		t.Errorf("got %v logged, want 3 refused, 9 not", logged)
	}
}

func TestSetCountsAnew(t *testing.T) {
	t.Parallel()
	b := kmstest.Behaviour{
		Keys:   map[string]pki.Files{"k": save(t, issue(t, "k", pki.EC256))},
		Faults: []kmstest.Fault{{Command: "generate-signature", Kind: kmstest.AccessDenied, Nth: 2}},
	}
	p := install(t, b)
	for range 2 {
		if got := startMany(t, p, 3); got["ACCESS_DENIED"] != 1 {
			t.Errorf("got codes %v, want 1 refused", got)
		}
		if err := p.Set(b); err != nil {
			t.Fatal(err)
		}
	}
	if calls, err := p.Calls(""); err != nil || len(calls) != 6 {
		t.Errorf("got %d calls in the log, error %v, want all 6", len(calls), err)
	}
}

// At one signature in 1000 s, no machine is slow enough for a second one.
func TestRateIsLimitedOverAllProcesses(t *testing.T) {
	t.Parallel()
	p := install(t, kmstest.Behaviour{MaxPerSecond: 0.001})
	if got := startMany(t, p, 6); got[""] != 1 || got["THROTTLED"] != 5 {
		t.Errorf("at one in 1000 s: got %v, want 1 signed, 5 throttled", got)
	}
	fast := install(t, kmstest.Behaviour{MaxPerSecond: 4})
	begin, signed, throttled := time.Now(), 0, 0
	for signed < 9 { // the first, the fifth and the ninth are a second apart from each other
		got := startMany(t, fast, 3)
		signed, throttled = signed+got[""], throttled+got["THROTTLED"]
	}
	if took := time.Since(begin); took < 2*time.Second || throttled == 0 {
		t.Errorf("at 4 per second: got %d signed in %v, %d throttled, want at least 2s and one", signed, took, throttled)
	}
	calls, err := fast.Calls("generate-signature")
	if err != nil || len(calls) != signed+throttled {
		t.Errorf("got %d calls logged, error %v, want %d", len(calls), err, signed+throttled)
	}
}

// Plugins in the field do not say THROTTLED.
func TestALimitRefusesInTheWordsOfThePlugin(t *testing.T) {
	t.Parallel()
	for kind, want := range map[kmstest.Kind]string{
		kmstest.Throttled: "THROTTLED", kmstest.ThrottledAzure: "Throttled", kmstest.ThrottledText: "ERROR",
	} {
		p := install(t, kmstest.Behaviour{MaxPerSecond: 0.001, Refusal: kind})
		if got := startMany(t, p, 3); got[""] != 1 || got[want] != 2 {
			t.Errorf("%s: got %v, want %s twice", kind, got, want)
		}
	}
}

func TestMetadataIsNotLimited(t *testing.T) {
	t.Parallel()
	p := install(t, kmstest.Behaviour{MaxPerSecond: 0.001})
	for range 3 {
		if got := start(t, p, "get-plugin-metadata", requestFor(p, "get-plugin-metadata"), time.Minute); !answers(got) {
			t.Errorf("got %+v, want an answer", got)
		}
	}
}

func TestCallsTellWhatWasSigned(t *testing.T) {
	t.Parallel()
	p := install(t, kmstest.Behaviour{})
	before := time.Now()
	startMany(t, p, 8)
	start(t, p, "describe-key", requestFor(p, "describe-key"), time.Minute)
	calls, err := p.Calls("generate-signature")
	if err != nil || len(calls) != 8 {
		t.Fatalf("got %d calls, error %v, want 8", len(calls), err)
	}
	sum := sha256.Sum256([]byte("sign me"))
	for _, c := range calls {
		if c.KeyID != "k" || c.Payload != hex.EncodeToString(sum[:]) || c.At().Before(before) || c.At().After(time.Now()) {
			t.Errorf("got call %+v, want key k and the hash %x, now", c, sum)
		}
	}
	if all, err := p.Calls(""); err != nil || len(all) != 9 {
		t.Errorf("got %d calls in all, error %v, want 9", len(all), err)
	}
}

func TestDelayIsPerCommand(t *testing.T) {
	t.Parallel()
	p := install(t, kmstest.Behaviour{Delay: map[string]int{"describe-key": 300}})
	if got := start(t, p, "describe-key", requestFor(p, "describe-key"), time.Minute); got.took < 300*time.Millisecond {
		t.Errorf("got an answer in %v, want it after 300ms", got.took)
	}
}

// A fault that cannot happen would make a test pass without testing anything.
func TestNonsenseIsRefusedWhenOrdered(t *testing.T) {
	t.Parallel()
	p := install(t, kmstest.Behaviour{})
	for name, b := range map[string]kmstest.Behaviour{
		"kind":       {Faults: []kmstest.Fault{{Command: "describe-key", Kind: "explode"}}},
		"command":    {Faults: []kmstest.Fault{{Command: "sign", Kind: kmstest.Hang}}},
		"fit":        {Faults: []kmstest.Fault{{Command: "describe-key", Kind: kmstest.WrongKey}}},
		"key":        {Faults: []kmstest.Fault{{Command: "generate-signature", Kind: kmstest.WrongKey, With: "x"}}},
		"delay":      {Delay: map[string]int{"sign": 1}},
		"capability": {Capability: "raw"},
		"authority":  {Rolling: &kmstest.Rolling{Signatures: 2}},
		"refusal":    {MaxPerSecond: 1, Refusal: kmstest.Hang},
	} {
		if err := p.Set(b); err == nil {
			t.Errorf("a wrong %s: got no error, want one", name)
		}
	}
}

var image = ocispec.Descriptor{
	MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("image"), Size: 5,
}

// sign signs the image through notation-go's own plugin signer and plugin runner.
func sign(t *testing.T, p *kmstest.Plugin, mediaType string) ([]byte, *signer.PluginSigner, error) {
	t.Helper()
	return signWith(t, p, "k", notationgo.SignerSignOptions{SignatureMediaType: mediaType, ExpiryDuration: time.Hour})
}

func signWith(t *testing.T, p *kmstest.Plugin, key string, options notationgo.SignerSignOptions) ([]byte, *signer.PluginSigner, error) {
	t.Helper()
	cli, err := notationplugin.NewCLIPlugin(t.Context(), kmstest.Name, p.Path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := signer.NewPluginSigner(cli, key, p.Config())
	if err != nil {
		t.Fatal(err)
	}
	sealed, _, err := s.Sign(t.Context(), image, options)
	return sealed, s, err
}

func TestHonestPluginSignsForNotation(t *testing.T) {
	t.Parallel()
	for _, capability := range []string{kmstest.RAW, kmstest.ENVELOPE} {
		for _, a := range pki.Algorithms {
			t.Run(capability+" "+string(a), func(t *testing.T) {
				t.Parallel()
				var rolling *kmstest.Rolling
				if a == pki.EC256 {
					rolling = &kmstest.Rolling{Authority: save(t, authority(t)), Signatures: 1, EKUs: []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 311, 97, 1, 0}}}
				}
				p := install(t, kmstest.Behaviour{
					Rolling:     rolling,
					Capability:  capability,
					Keys:        map[string]pki.Files{"k": save(t, issue(t, "k", a))},
					Annotations: map[string]string{"from": "plugin"},
				})
				for _, mediaType := range []string{jws.MediaTypeEnvelope, cose.MediaTypeEnvelope} {
					sealed, s, err := sign(t, p, mediaType)
					if err != nil {
						t.Fatal(err)
					}
					if err := verify(t, sealed, mediaType); err != nil {
						t.Errorf("%s: got error %v, want none", mediaType, err)
					}
					if capability == kmstest.ENVELOPE && !maps.Equal(s.PluginAnnotations(), map[string]string{"from": "plugin"}) {
						t.Errorf("got annotations %v, want from plugin", s.PluginAnnotations())
					}
				}
			})
		}
	}
}

// trust is a trust store with the test root.
type trust struct{ root *x509.Certificate }

func (s trust) GetCertificates(context.Context, truststore.Type, string) ([]*x509.Certificate, error) {
	return []*x509.Certificate{s.root}, nil
}

func policy(store, identity string) *trustpolicy.Document {
	return &trustpolicy.Document{
		Version: "1.0",
		TrustPolicies: []trustpolicy.TrustPolicy{{
			Name: "test", RegistryScopes: []string{"*"},
			SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: "strict"},
			TrustStores:           []string{store}, TrustedIdentities: []string{identity},
		}},
	}
}

// verify verifies under a strict policy and also checks the requested expiry.
func verify(t *testing.T, sealed []byte, mediaType string) error {
	t.Helper()
	v, err := verifier.New(policy("ca:test", "*"), trust{authority(t).Certificate()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := v.Verify(t.Context(), image, sealed, notationgo.VerifierVerifyOptions{
		ArtifactReference: "127.0.0.1:5000/app@" + image.Digest.String(), SignatureMediaType: mediaType,
	})
	if err == nil && outcome.EnvelopeContent.SignerInfo.SignedAttributes.Expiry.IsZero() {
		t.Error("got the expiry lost, want it signed")
	}
	return err
}

const profile = "arn:aws:signer:eu-central-1:111122223333:/signing-profiles/release"

func asAWSSigner(t *testing.T) kmstest.Behaviour {
	t.Helper()
	return kmstest.AWSSigner(map[string]pki.Files{profile: save(t, issue(t, "AWS Signer", pki.EC384))})
}

// TestSigningProfileIsVerifiedByThePlugin has notation-go ask it, as the notation command does.
func TestSigningProfileIsVerifiedByThePlugin(t *testing.T) {
	t.Parallel()
	denied, failing := kmstest.Fault{Command: "verify-signature", Kind: kmstest.AccessDenied}, kmstest.Fault{Command: "verify-signature", Kind: kmstest.GenericError}
	revocation := func(answer string) func(*kmstest.Behaviour) {
		return func(b *kmstest.Behaviour) {
			b.Rejects = map[string]string{string(plugin.CapabilityRevocationCheckVerifier): answer}
		}
	}
	for name, c := range map[string]struct {
		trusted string
		store   string
		change  func(*kmstest.Behaviour) // before verification
		want    string                   // in the error; empty: verified
	}{
		"the profile":             {trusted: profile},
		"the version":             {trusted: profile + "/Vk1a2b3c4d"},
		"another version":         {trusted: profile + "/Vother", want: "not trusted"},
		"a neighbour":             {trusted: profile + "2", want: "not trusted"},
		"a part of it":            {trusted: profile[:len(profile)-1], want: "not trusted"},
		"anything":                {trusted: "*", want: "wildcard"},
		"a store for authorities": {trusted: profile, store: "ca:test", want: "no trusted certificates"},
		"revoked":                 {trusted: profile, change: revocation(kmstest.Revoked), want: "have been revoked"},
		"service away":            {trusted: profile, change: revocation(kmstest.ServiceAway), want: "connection refused"},
		"credentials missing":     {trusted: profile, change: revocation(kmstest.NoCredentials), want: "no EC2 IMDS role found"},
		"denied":                  {trusted: profile, change: func(b *kmstest.Behaviour) { b.Faults = []kmstest.Fault{denied} }, want: "may not use this key"},
		"failing":                 {trusted: profile, change: func(b *kmstest.Behaviour) { b.Faults = []kmstest.Fault{failing} }, want: "went wrong"},
		"a plugin that only signs": {trusted: profile, change: func(b *kmstest.Behaviour) {
			b.Capability = kmstest.ENVELOPE // like venafi-csp
		}, want: "verification capabilities"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := asAWSSigner(t)
			p := install(t, b)
			sealed, _, err := signWith(t, p, profile, notationgo.SignerSignOptions{SignatureMediaType: jws.MediaTypeEnvelope})
			if err != nil {
				t.Fatal(err)
			}
			if c.change != nil {
				c.change(&b)
				if err := p.Set(b); err != nil {
					t.Fatal(err)
				}
			}
			v, err := verifier.New(policy(cmp.Or(c.store, "signingAuthority:test"), c.trusted), trust{authority(t).Certificate()},
				notationplugin.NewCLIManager(dir.NewSysFS(filepath.Dir(filepath.Dir(p.Path)))))
			if err != nil {
				t.Fatal(err)
			}
			outcome, err := v.Verify(t.Context(), image, sealed, notationgo.VerifierVerifyOptions{
				ArtifactReference: "127.0.0.1:5000/app@" + image.Digest.String(), SignatureMediaType: jws.MediaTypeEnvelope, PluginConfig: p.Config(),
			})
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q in it", err, c.want)
			}
			if got := outcome.EnvelopeContent.SignerInfo; got.SignedAttributes.SigningScheme != signature.SigningSchemeX509SigningAuthority || len(got.SignedAttributes.ExtendedAttributes) != 3 {
				t.Errorf("got scheme %s, attributes %v, want that of signing authorities, the profile, the job and the plugin", got.SignedAttributes.SigningScheme, got.SignedAttributes.ExtendedAttributes)
			}
		})
	}
}

func TestSigningProfileHasLimits(t *testing.T) {
	t.Parallel()
	b := asAWSSigner(t)
	p := install(t, b)
	for want, options := range map[string]notationgo.SignerSignOptions{
		"":                               {SignatureMediaType: jws.MediaTypeEnvelope},
		"envelope type application/cose": {SignatureMediaType: cose.MediaTypeEnvelope},
		"the signing profile decides":    {SignatureMediaType: jws.MediaTypeEnvelope, ExpiryDuration: time.Hour},
	} {
		if _, _, err := signWith(t, p, profile, options); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q in it", err, want)
		}
	}
	b.MaxPayload = 100
	if err := p.Set(b); err != nil {
		t.Fatal(err)
	}
	if _, _, err := signWith(t, p, profile, notationgo.SignerSignOptions{SignatureMediaType: jws.MediaTypeEnvelope}); err == nil || !strings.Contains(err.Error(), "more than 100") {
		t.Errorf("got error %v, want too many bytes", err)
	}
}

// TestLiesAreNoticedByNotation runs the faults that notation-go itself checks for.
func TestLiesAreNoticedByNotation(t *testing.T) {
	t.Parallel()
	for _, lie := range []struct {
		kind    kmstest.Kind
		command string
	}{
		{kmstest.WrongKey, "generate-signature"}, {kmstest.WrongKey, "generate-envelope"},
		{kmstest.WrongChain, "generate-signature"}, {kmstest.WrongChain, "generate-envelope"},
		{kmstest.ExpiredChain, "generate-signature"},
		{kmstest.WrongPayload, "generate-signature"}, {kmstest.WrongPayload, "generate-envelope"},
		{kmstest.BadSignature, "generate-signature"}, {kmstest.BadSignature, "generate-envelope"},
		{kmstest.WrongKeyID, "describe-key"}, {kmstest.WrongKeyID, "generate-signature"},
		{kmstest.WrongAlgorithm, "describe-key"},
		{kmstest.WrongEnvelopeType, "generate-envelope"},
		{kmstest.WrongContract, "get-plugin-metadata"}, {kmstest.WrongName, "get-plugin-metadata"},
		{kmstest.NoCapability, "get-plugin-metadata"},
	} {
		t.Run(string(lie.kind)+" "+lie.command, func(t *testing.T) {
			t.Parallel()
			p := install(t, kmstest.Behaviour{
				Capability: capabilityFor(lie.command),
				Faults:     []kmstest.Fault{{Command: lie.command, Kind: lie.kind, Nth: 1}},
			})
			for _, mediaType := range []string{jws.MediaTypeEnvelope, cose.MediaTypeEnvelope} {
				if _, _, err := sign(t, p, mediaType); (err == nil) != (mediaType == cose.MediaTypeEnvelope) {
					t.Errorf("first JWS, which meets the fault, then COSE: got %s with error %v, want it accepted: %t", mediaType, err, mediaType == cose.MediaTypeEnvelope)
				}
			}
		})
	}
}

// With an envelope plugin, an expired certificate is noticed only by a verifier, not while signing.
func TestExpiredEnvelopeIsWellFormed(t *testing.T) {
	t.Parallel()
	for _, mediaType := range []string{jws.MediaTypeEnvelope, cose.MediaTypeEnvelope} {
		p := install(t, kmstest.Behaviour{
			Capability: kmstest.ENVELOPE,
			Faults:     []kmstest.Fault{{Command: "generate-envelope", Kind: kmstest.ExpiredChain}},
		})
		sealed, _, err := sign(t, p, mediaType)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := signature.ParseEnvelope(mediaType, sealed)
		if err != nil {
			t.Fatal(err)
		}
		content, err := parsed.Verify()
		if err != nil {
			t.Fatal(err)
		}
		if last := content.SignerInfo.CertificateChain[0].NotAfter; !last.Before(time.Now()) {
			t.Errorf("got it valid until %v, want it expired", last)
		}
	}
}
