package notation

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"testing"

	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// shaky is a trust store that fails a few times first, and counts its reads.
type shaky struct {
	memory
	fails []error
	reads int
}

func (s *shaky) GetCertificates(ctx context.Context, kind truststore.Type, name string) ([]*x509.Certificate, error) {
	s.reads++
	if len(s.fails) > 0 {
		err := s.fails[0]
		s.fails = s.fails[1:]
		return nil, truststore.TrustStoreError{InnerError: err, Msg: "no store"}
	}
	return s.memory.GetCertificates(ctx, kind, name)
}

// A trust store that cannot be read says nothing about a signature. It is tried again, and then
// read once, however many signatures there are. A store that does not exist trusts nobody.
func TestATrustStoreThatCannotBeReadLeavesItOpen(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewAuthority("test")
	must(t, err)
	id, err := ca.Issue("release", nil)
	must(t, err)
	s := &shaky{memory: memory{ca.Certificate()}, fails: []error{errors.New("too many open files"), fs.ErrNotExist}}
	policy := &trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{{
		Name: "test", RegistryScopes: []string{"*"}, SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: "strict"},
		TrustStores: []string{"ca:test"}, TrustedIdentities: []string{"*"},
	}}}
	v, err := newVerifier(policy, s, nil, verifier.VerifierOptions{})
	must(t, err)
	for i, want := range []Doubt{Unsure, Unproven, NoDoubt, NoDoubt, NoDoubt} {
		got, err := v.Verify(context.Background(), "registry.example.com/app@"+image("a").Digest.String(), image("a"), jws.MediaTypeEnvelope, signedBy(t, id, "a"))
		must(t, err)
		if got.Doubt != want || got.Trusted != (want == NoDoubt) || (got.Reason == "") != got.Trusted {
			t.Errorf("signature %d: got %+v, want doubt %q", i, got, want)
		}
	}
	if s.reads != 3 {
		t.Errorf("got it read %d times, want 3", s.reads)
	}
}
