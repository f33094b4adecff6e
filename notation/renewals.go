package notation

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// renewals decides what the name of an identity alone does not, if it is a subject: any certificate with that subject
// counts, so each must be good at the time that an authority attests. It uses the judge of trust policies, with a
// policy that strictly trusts the identity's root and the authority's, and requires a timestamp. It is safe for
// concurrent use.
type renewals struct{ verifier *Verifier }

// judge returns why a signature with the identity's name is not the identity's, or the empty string if it is. An
// error of class transient means that this could not be found out.
func (r *renewals) judge(ctx context.Context, subject ocispec.Descriptor, mediaType string, blob []byte, c Contents) (why string, err error) {
	v, err := r.verifier.Verify(ctx, "identity.invalid/image@"+subject.Digest.String(), subject, mediaType, blob)
	switch {
	case err != nil:
		return "", err
	case v.Strict():
		return "", nil
	case v.Doubt == Unsure:
		return "", failure.WithHint(failure.Transient, fmt.Errorf("whether certificate %s of the key's subject counts could not be found out: %s", Thumbprint(c.Chain[0]), v.Reason), "its revocation servers must be reachable")
	}
	return v.Reason, nil
}

// newRenewals handles a subject under a root, whose signatures an authority with another root stamps.
func newRenewals(root, stampedBy *x509.Certificate, validators verifier.VerifierOptions) (*renewals, error) {
	plugins, err := newPluginManager(nil)
	if err != nil {
		return nil, err
	}
	v, err := newVerifier(&trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{{
		Name: "identity", RegistryScopes: []string{"*"}, TrustedIdentities: []string{"*"}, // the name was compared
		TrustStores:           []string{"ca:identity", "tsa:identity"},
		SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: "strict", VerifyTimestamp: trustpolicy.OptionAlways},
	}}}, roots{truststore.TypeCA: {root}, truststore.TypeTSA: {stampedBy}}, plugins, validators)
	if err != nil {
		return nil, err
	}
	return &renewals{v}, nil
}

// roots is a trust store with one name.
type roots map[truststore.Type][]*x509.Certificate

// GetCertificates implements [truststore.X509TrustStore].
func (r roots) GetCertificates(_ context.Context, kind truststore.Type, _ string) ([]*x509.Certificate, error) {
	return slices.Clone(r[kind]), nil
}

// outlive gives the signer an identity that renews its certificates.
func (s *Signer) outlive(o Options) (err error) {
	if s.identity.kind != kindSubject {
		return nil
	}
	if s.tsa == nil || o.Root == nil || Thumbprint(o.Root) != s.identity.root {
		return errors.New("the identity of a subject needs its root and a time-stamping authority")
	}
	validators, err := revocationValidators(o.Client)
	if err != nil {
		return err
	}
	s.renewals, err = newRenewals(o.Root, s.tsa.root, validators)
	return err
}

// azureUsages is the prefix of the identity usages in Azure's public certificates: its root certifies everybody, and
// only such a usage belongs to one subscriber.
//
// SOURCE (Azure Artifact Signing: the durable identity of its certificates; docs/howto/identities.md).
const azureUsages = "1.3.6.1.4.1.311.97."

// named returns an error unless a throw-away signature has the identity's name, and nobody else has that name.
func (s *Signer) named(c Contents) error {
	if err := s.identity.Matches(c); err != nil {
		hint := "name the root with --key-root, and with --key-subject the subject: " + safetext.Safe(subjectOf(c.Chain[0]), 300)
		if s.identity.kind == kindProfile {
			hint = "the ARN of the profile is --id, and --key-root its root certificate"
		}
		return failure.WithHint(failure.Denied, fmt.Errorf("key %s is not what the configuration says: %w", shown(s.key.Name), err), hint)
	}
	if s.identity.kind != kindSubject {
		return nil
	}
	var shared []string
	for _, oid := range usagesOf(c.Chain[0]) {
		if strings.HasPrefix(oid, azureUsages) && !slices.Contains(strings.Split(s.identity.ekus, "+"), oid) {
			shared = append(shared, oid)
		}
	}
	if len(shared) > 0 && !strings.Contains(s.identity.ekus, azureUsages) {
		return failure.WithHint(failure.Denied, fmt.Errorf("key %s: its root certifies others too, whom the subject alone does not tell apart", shown(s.key.Name)), "name the extended key usage that is yours alone, one of: --key-eku "+strings.Join(shared, ", --key-eku "))
	}
	return nil
}

// fits reports whether a chain from an earlier run has the name of the key's identity, as far as certificates show.
// If the identity renews them, the key may have others by now.
func (s *Signer) fits(known [][]byte) bool {
	if !s.identity.Renews() {
		return true
	}
	chain, err := parseChain(known)
	if err != nil {
		return false
	}
	c := Contents{Chain: chain, Scheme: signature.SigningSchemeX509}
	if s.identity.kind == kindProfile {
		c.Scheme, c.Profile = signature.SigningSchemeX509SigningAuthority, s.identity.profile
	}
	return s.identity.Matches(c) == nil
}

// verifiable returns an error if the envelope requires a plugin for its verification that cannot verify: nobody could
// ever trust such signatures.
func (s *Signer) verifiable(ctx context.Context, c Contents) error {
	if c.Plugin == "" || c.Plugin != s.key.Plugin {
		return nil
	}
	can, err := s.plug.verifies(ctx, s.key.Config)
	if err != nil || can {
		return err
	}
	return failure.WithHint(failure.Denied, fmt.Errorf("plugin %s makes signatures that need plugin %s for verification, which verifies nothing: nobody could trust them", shown(s.key.Plugin), shown(c.Plugin)),
		"the plugin's manual says how it signs without; for venafi-csp that is --plugin-env VENAFI_CSP_NO_VERIFICATION_PLUGIN, with the variable set to 1")
}
