package notation

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// memory is a trust store with one authority.
type memory []*x509.Certificate

func (m memory) GetCertificates(context.Context, truststore.Type, string) ([]*x509.Certificate, error) {
	return m, nil
}

// judging makes a verifier that trusts one authority for registry.example.com/app.
func judging(t *testing.T, level string, trusted *pki.Identity) *Verifier {
	t.Helper()
	return judgingWith(t, level, trusted, func(*verifier.VerifierOptions) {})
}

func judgingWith(t *testing.T, level string, trusted *pki.Identity, change func(*verifier.VerifierOptions)) *Verifier {
	t.Helper()
	var options verifier.VerifierOptions
	change(&options)
	policy := trustpolicy.TrustPolicy{
		Name: "test", RegistryScopes: []string{"registry.example.com/app"},
		SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: level},
	}
	if level != "skip" {
		policy.TrustStores, policy.TrustedIdentities = []string{"ca:test"}, []string{"*"}
	}
	v, err := newVerifier(&trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{policy}}, memory(trusted.Chain[len(trusted.Chain)-1:]), nil, options)
	must(t, err)
	return v
}

// signedBy makes an envelope over an image, as an hour before the certificate ends or now.
func signedBy(t *testing.T, id *pki.Identity, name string, more ...func(*signature.SignRequest)) []byte {
	t.Helper()
	at := time.Now()
	if end := id.Chain[0].NotAfter; end.Before(at) {
		at = end.Add(-time.Hour)
	}
	target := image(name)
	target.Annotations = map[string]string{Prefix + "tag.v1": "targets"}
	payload, err := json.Marshal(map[string]any{"targetArtifact": target})
	must(t, err)
	signer, err := signature.NewLocalSigner(id.Chain, id.Key)
	must(t, err)
	env, err := signature.NewEnvelope(jws.MediaTypeEnvelope)
	must(t, err)
	request := &signature.SignRequest{
		Payload: signature.Payload{ContentType: payloadType, Content: payload},
		Signer:  signer, SigningTime: at, SigningScheme: signature.SigningSchemeX509,
	}
	for _, change := range more {
		change(request)
	}
	blob, err := env.Sign(request)
	must(t, err)
	return blob
}

// Promise 6: the verdict is the trust policy's. Each case differs from a trusted signature
// in one way.
func TestVerdictIsTheTrustPolicys(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewAuthority("verdict")
	must(t, err)
	good, err := ca.Issue("release", nil)
	must(t, err)
	old, err := ca.Issue("release", nil, pki.Valid(time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)))
	must(t, err)
	blob := signedBy(t, good, "a")
	for name, c := range map[string]struct {
		level, repository string
		trusted           *pki.Identity
		blob              []byte
		want              Verdict // Trusted and Doubt count
		reason            string
	}{
		"trusted":                     {"strict", "app", good, blob, Verdict{Trusted: true}, ""},
		"another authority":           {"strict", "app", issued(t), blob, Verdict{Doubt: Unproven}, "trusted"},
		"another image's":             {"strict", "app", good, signedBy(t, good, "b"), Verdict{Doubt: Unproven}, "mismatch"},
		"broken":                      {"strict", "app", good, blob[1:], Verdict{Doubt: Unproven}, "signature"},
		"a repository without policy": {"strict", "other", good, blob, Verdict{Doubt: Unproven}, "polic"},
		"a policy that skips":         {"skip", "app", good, blob, Verdict{Doubt: Unproven}, "skip"},
		"past its date":               {"strict", "app", good, signedBy(t, old, "a"), Verdict{Doubt: Dated}, "expired"},
		"past its date, permitted":    {"permissive", "app", good, signedBy(t, old, "a"), Verdict{Trusted: true, Doubt: Dated}, "lenient"},
		"another image's, past its date, permitted": {"permissive", "app", good, signedBy(t, old, "b"), Verdict{Doubt: Unproven}, "mismatch"},
		"another authority, audited":                {"audit", "app", issued(t), blob, Verdict{Trusted: true, Doubt: Unproven}, "lenient"},
		"another image's, audited":                  {"audit", "app", good, signedBy(t, good, "b"), Verdict{Doubt: Unproven}, "mismatch"},
		"untrusted, permissive":                     {"permissive", "app", issued(t), blob, Verdict{Doubt: Unproven}, "trusted"},
	} {
		v := judging(t, c.level, c.trusted)
		subject := image("a")
		got, err := v.Verify(context.Background(), "registry.example.com/"+c.repository+"@"+subject.Digest.String(), subject, jws.MediaTypeEnvelope, c.blob)
		must(t, err)
		if got.Trusted != c.want.Trusted || got.Doubt != c.want.Doubt || !strings.Contains(got.Reason, c.reason) || (got.Reason == "") != (c.reason == "") {
			t.Errorf("%s: %+v", name, got)
		}
		if got.Strict() != (name == "trusted") {
			t.Errorf("%s: strict is %t", name, got.Strict())
		}
		if name == "trusted" && (got.Leaf != Thumbprint(good.Chain[0]) || got.Metadata[Prefix+"tag.v1"] != "targets" || !got.NotAfter.Equal(good.Chain[0].NotAfter)) {
			t.Errorf("%+v", got)
		}
	}
}

// TestNoVerifierWithoutAPolicy: what it is to judge by must be there and be read.
func TestNoVerifierWithoutAPolicy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	const policy = `{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["*"],"signatureVerification":{"level":"skip"}}]}`
	whole := file("whole.json", policy)
	for name, o := range map[string]VerifierOptions{
		"no file":             {Policy: filepath.Join(dir, "none.json")},
		"a folder":            {Policy: dir},
		"no JSON":             {Policy: file("half.json", policy[:40])},
		"another version":     {Policy: file("other.json", strings.Replace(policy, "1.0", "9.0", 1))},
		"a plugin's odd name": {Policy: whole, Plugins: []VerificationPlugin{{Name: "../x"}}},
	} {
		if v, err := OpenVerifier(o); err == nil || v != nil {
			t.Errorf("%s: got %v, %v, want an error", name, v, err)
		}
	}
	if v, err := OpenVerifier(VerifierOptions{Policy: whole}); err != nil || v == nil {
		t.Errorf("a whole one: %v", err)
	}
}

func TestVerifierEndsWithItsContext(t *testing.T) {
	t.Parallel()
	id := issued(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	subject := image("a")
	if got, err := judging(t, "strict", id).Verify(ctx, "registry.example.com/app@"+digest.FromString("a").String(), subject, jws.MediaTypeEnvelope, signedBy(t, id, "a")); err == nil || got.Trusted {
		t.Errorf("%+v, %v", got, err)
	}
}
