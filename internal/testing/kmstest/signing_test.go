package kmstest_test

import (
	"context"
	"crypto/x509"
	"maps"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	notationgo "github.com/notaryproject/notation-go"
	notationplugin "github.com/notaryproject/notation-go/plugin"
	"github.com/notaryproject/notation-go/signer"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

var image = ocispec.Descriptor{
	MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("image"), Size: 5,
}

// sign signs the image through notation-go's own plugin signer and plugin runner.
func sign(t *testing.T, p *kmstest.Plugin, mediaType string) ([]byte, *signer.PluginSigner, error) {
	t.Helper()
	cli, err := notationplugin.NewCLIPlugin(t.Context(), kmstest.Name, p.Path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := signer.NewPluginSigner(cli, "k", p.Config())
	if err != nil {
		t.Fatal(err)
	}
	sealed, _, err := s.Sign(t.Context(), image, notationgo.SignerSignOptions{SignatureMediaType: mediaType, ExpiryDuration: time.Hour})
	return sealed, s, err
}

func TestHonestPluginSignsForNotation(t *testing.T) {
	t.Parallel()
	for _, capability := range []string{kmstest.RAW, kmstest.ENVELOPE} {
		for _, a := range pki.Algorithms {
			t.Run(capability+" "+string(a), func(t *testing.T) {
				t.Parallel()
				p := install(t, kmstest.Behaviour{
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
						t.Errorf("%s: %v", mediaType, err)
					}
					if capability == kmstest.ENVELOPE && !maps.Equal(s.PluginAnnotations(), map[string]string{"from": "plugin"}) {
						t.Errorf("annotations %v", s.PluginAnnotations())
					}
				}
			})
		}
	}
}

// trust is a trust store that holds the test root.
type trust struct{ root *x509.Certificate }

func (s trust) GetCertificates(context.Context, truststore.Type, string) ([]*x509.Certificate, error) {
	return []*x509.Certificate{s.root}, nil
}

// verify verifies under a strict policy and also wants the expiry that was asked for.
func verify(t *testing.T, sealed []byte, mediaType string) error {
	t.Helper()
	v, err := verifier.New(&trustpolicy.Document{
		Version: "1.0",
		TrustPolicies: []trustpolicy.TrustPolicy{{
			Name: "test", RegistryScopes: []string{"*"},
			SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: "strict"},
			TrustStores:           []string{"ca:test"}, TrustedIdentities: []string{"*"},
		}},
	}, trust{authority(t).Certificate()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := v.Verify(t.Context(), image, sealed, notationgo.VerifierVerifyOptions{
		ArtifactReference: "127.0.0.1:5000/app@" + image.Digest.String(), SignatureMediaType: mediaType,
	})
	if err == nil && outcome.EnvelopeContent.SignerInfo.SignedAttributes.Expiry.IsZero() {
		t.Error("the expiry was lost")
	}
	return err
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
					t.Errorf("first JWS, which meets the fault, then COSE: %s: %v", mediaType, err)
				}
			}
		})
	}
}

// TestExpiredEnvelopeIsWellFormed: with an envelope plugin an expired certificate is not noticed while
// signing, only by a verifier.
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
			t.Errorf("valid until %v", last)
		}
	}
}
