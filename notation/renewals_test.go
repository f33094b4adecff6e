package notation

import (
	"context"
	"crypto/x509"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/revocation/purpose"
	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go/verifier"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

const release = "C=US, ST=WA, O=dct2notation test, CN=release"

// Whose a signature is when certificates are renewed: each part of the subject must match. The
// time that the configured authority attests, and revocation, decide the rest.
func TestSubjectIsMoreThanItsName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, rand.New(rand.NewPCG(1, 2)))
	root := w.stores["ca:main"][0]
	identity, err := SubjectIdentity(root, release, nil)
	must(t, err)
	signer := func(stampedBy string) *Signer {
		answers := &revocations{says: w.says}
		r, err := newRenewals(root, w.stores["tsa:"+stampedBy][0], verifier.VerifierOptions{
			RevocationCodeSigningValidator:  &anchoredOnly{answers, purpose.CodeSigning},
			RevocationTimestampingValidator: &anchoredOnly{answers, purpose.Timestamping},
		})
		must(t, err)
		return &Signer{identity: identity, renewals: r, now: time.Now}
	}
	main, past := signer("main"), signer("past")
	for name, c := range map[string]struct {
		letter  letter
		by      *Signer
		ours    bool
		unknown bool
	}{
		"as it should be": {letter: letter{signer: "main release", stamp: "main"}, ours: true},
		"with another certificate of the same subject":       {letter: letter{signer: "main long", stamp: "main"}, ours: true},
		"with an expiry to come":                             {letter: letter{signer: "main release", stamp: "main", expiry: "future"}, ours: true},
		"expired certificates, stamped while they were good": {letter: letter{signer: "main old", stamp: "past"}, by: past, ours: true},
		"without a timestamp":                                {letter: letter{signer: "main release"}},
		"stamped by another authority":                       {letter: letter{signer: "main release", stamp: "other"}},
		"stamped while they were good by another authority":  {letter: letter{signer: "main old", stamp: "past"}},
		"stamped before the certificates were made":          {letter: letter{signer: "main release", stamp: "past"}, by: past},
		"another root of the same name":                      {letter: letter{signer: "other release", stamp: "main"}},
		"another subject under the root":                     {letter: letter{signer: "main intruder", stamp: "main"}},
		"revoked":                                            {letter: letter{signer: "main revoked", stamp: "main"}},
		"revocation not found out":                           {letter: letter{signer: "main silent", stamp: "main"}, unknown: true},
		"past its expiry":                                    {letter: letter{signer: "main release", stamp: "main", expiry: "past"}},
		"over another image":                                 {letter: letter{signer: "main release", stamp: "main", target: "b"}},
		"by another scheme":                                  {letter: letter{signer: "main release", scheme: "authority"}},
	} {
		by := c.by
		if by == nil {
			by = main
		}
		for _, mediaType := range []string{jws.MediaTypeEnvelope, cose.MediaTypeEnvelope} {
			l := c.letter
			l.mediaType = mediaType
			if l.scheme == "" {
				l.scheme = "x509"
			}
			if l.target == "" {
				l.target = "a"
			}
			blob := w.sign(l)
			if blob == nil {
				if c.ours || c.unknown {
					t.Fatalf("%s, %s: got nothing signed, want a signature", name, mediaType)
				}
				continue // nobody could make it
			}
			_, _, ours, err := by.Recognise(context.Background(), image("a"), mediaType, blob)
			if ours != c.ours || (err != nil) != c.unknown || err != nil && failure.Of(err) != failure.Transient {
				t.Errorf("%s, %s: got ours %t, error %v, want %t, unknown %t", name, mediaType, ours, err, c.ours, c.unknown)
			}
		}
	}
}

func TestIdentitiesThatRenewAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewAuthority("root")
	must(t, err)
	root := ca.Certificate()
	subject, err := SubjectIdentity(root, release, nil)
	must(t, err)
	shuffled, err := SubjectIdentity(root, "CN=release,O=dct2notation test,S=WA,2.5.4.6=US", nil)
	must(t, err)
	if !subject.Equal(shuffled) {
		t.Errorf("in another order: got %s, want %s", shuffled, subject)
	}
	usages, err := SubjectIdentity(root, release, []string{"1.3.6.1.4.1.311.97.2", "1.3.6.1.4.1.311.97.1"})
	must(t, err)
	odd, err := SubjectIdentity(root, `C=US, ST=WA, O=A\, B: C%2C \+ D, CN=release`, nil)
	must(t, err)
	profile, err := ProfileIdentity(root, "arn:aws:signer:eu-west-1:111122223333:/signing-profiles/release")
	must(t, err)
	all := []Identity{subject, usages, odd, profile, IdentityOf(root)}
	for i, id := range all {
		got, err := ParseIdentity(id.String())
		if err != nil || got != id || strings.ContainsAny(id.String(), ", ") {
			t.Errorf("%s: got %s, error %v, want the same, without comma or space", id, got, err)
		}
		if slices.ContainsFunc(all[i+1:], id.Equal) {
			t.Errorf("%s: got it equal to another, want each by itself", id)
		}
	}
	leaf, err := ca.Issue("release", nil)
	must(t, err)
	for _, text := range []string{"", "CN", "CN=", "=x", "FOO=x"} {
		if id, err := SubjectIdentity(root, text, nil); err == nil && text != "CN=" {
			t.Errorf("subject %q: got %s, want an error", text, id)
		}
	}
	if id, err := SubjectIdentity(leaf.Certificate(), release, nil); err == nil {
		t.Errorf("a leaf for a root: got %s, want an error", id)
	}
	if id, err := SubjectIdentity(root, release, []string{"codeSigning"}); err == nil {
		t.Errorf("an extended key usage by name: got %s, want an error", id)
	}
	for _, arn := range []string{"", "release", "arn:aws:kms:eu-west-1:111122223333:key/x", "arn:aws:signer:eu-west-1:1:/signing-profiles/release", profile.profile + "/v1/x"} {
		if id, err := ProfileIdentity(root, arn); err == nil {
			t.Errorf("ARN %q: got %s, want an error", arn, id)
		}
	}
}

// A profile is the signed attribute under the root, by the signing-authority scheme, and nothing
// similar.
func TestProfileIsTheSignedAttribute(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewAuthority("service")
	must(t, err)
	stranger, err := pki.NewAuthority("service")
	must(t, err)
	const arn = "arn:aws:signer:eu-west-1:111122223333:/signing-profiles/release"
	id, err := ProfileIdentity(ca.Certificate(), arn)
	must(t, err)
	versioned, err := ProfileIdentity(ca.Certificate(), arn+"/v1")
	must(t, err)
	chain := func(by *pki.Identity) []*x509.Certificate {
		leaf, err := by.Issue("AWS Signer", nil)
		must(t, err)
		return leaf.Chain
	}
	good := Contents{Chain: chain(ca), Scheme: signature.SigningSchemeX509SigningAuthority, Profile: arn + "/v1"}
	subject, err := SubjectIdentity(ca.Certificate(), strings.Replace(release, "release", "AWS Signer", 1), nil)
	must(t, err)
	if err := subject.Matches(good); err == nil {
		t.Error("the subject by the scheme of signing authorities: got a match, want none")
	}
	for name, c := range map[string]struct {
		change    func(*Contents)
		is, exact bool
	}{
		"as it should be":                {func(*Contents) {}, true, true},
		"another version":                {func(c *Contents) { c.Profile = arn + "/v2" }, true, false},
		"without a version":              {func(c *Contents) { c.Profile = arn }, true, false},
		"a profile whose name begins so": {func(c *Contents) { c.Profile = arn + "2/v1" }, false, false},
		"another account":                {func(c *Contents) { c.Profile = strings.Replace(c.Profile, "1111", "2222", 1) }, false, false},
		"none":                           {func(c *Contents) { c.Profile = "" }, false, false},
		"another scheme":                 {func(c *Contents) { c.Scheme = signature.SigningSchemeX509 }, false, false},
		"another root of the same name":  {func(c *Contents) { c.Chain = chain(stranger) }, false, false},
		"the root as the leaf's issuer alone": {func(c *Contents) {
			c.Chain = append(slices.Clone(c.Chain), chain(stranger)[1])
		}, false, false},
	} {
		got := good
		c.change(&got)
		if err := id.Matches(got); (err == nil) != c.is {
			t.Errorf("%s: got %v, want a match: %t", name, err, c.is)
		}
		if err := versioned.Matches(got); (err == nil) != c.exact {
			t.Errorf("%s, of one version: got %v, want a match: %t", name, err, c.exact)
		}
	}
}

// The profile is in one signed attribute, the one that the service's own verification plugin
// compares. No other is read, whatever its name and value.
func TestProfileIsInOneAttribute(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewAuthority("service")
	must(t, err)
	leaf, err := ca.Issue("AWS Signer", nil)
	must(t, err)
	const own, other = "arn:aws:signer:eu-west-1:111122223333:/signing-profiles/release", "arn:aws:signer:eu-west-1:111122223333:/signing-profiles/other"
	id, err := ProfileIdentity(ca.Certificate(), own)
	must(t, err)
	const service = "com.amazonaws.signer."
	for name, c := range map[string]struct {
		attributes map[string]any
		is         bool
	}{
		"that one":                       {map[string]any{service + "signingProfileVersion": own + "/v1"}, true},
		"and what else there may be":     {map[string]any{service + "signingProfileVersion": own + "/v1", service + "signingProfileAlias": other, service + "signingJob": "arn"}, true},
		"others alone":                   {map[string]any{service + "signingProfileAlias": own, service + "signingProfile": own, service + "signingJob": own}, false},
		"others, beside another profile": {map[string]any{service + "signingProfileVersion": other + "/v1", service + "signingProfileAlias": own}, false},
		"in other letters":               {map[string]any{"com.amazonaws.Signer.signingProfileVersion": own + "/v1"}, false},
		"a list":                         {map[string]any{service + "signingProfileVersion": []string{own + "/v1"}}, false},
	} {
		got, err := Read(jws.MediaTypeEnvelope, signedBy(t, leaf, "a", func(r *signature.SignRequest) {
			r.SigningScheme = signature.SigningSchemeX509SigningAuthority
			for key, value := range c.attributes {
				r.ExtendedSignedAttributes = append(r.ExtendedSignedAttributes, signature.Attribute{Key: key, Critical: true, Value: value})
			}
		}))
		must(t, err)
		if err := id.Matches(got); (err == nil) != c.is {
			t.Errorf("%s: got %v, want a match: %t", name, err, c.is)
		}
	}
}

// If two answers cross, the one from before the renewal reverts nothing and reports nothing.
func TestALateAnswerUndoesNoRenewal(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewAuthority("root")
	must(t, err)
	issued := func(ago time.Duration) []*x509.Certificate {
		leaf, err := ca.Issue("release", nil, pki.Valid(time.Now().Add(-ago), time.Now().Add(time.Hour)))
		must(t, err)
		return leaf.Chain
	}
	before, after := issued(2*time.Hour), issued(time.Hour)
	told := 0
	s := &Signer{chain: before}
	s.OnRenewed(func([][]byte) { told++ })
	for _, chain := range [][]*x509.Certificate{before, after, before, after} {
		s.renewed(chain)
	}
	if got, want := s.Leaf(), Thumbprint(after[0]); got != want || told != 1 {
		t.Errorf("got leaf %s and %d renewals told, want %s and 1", got, told, want)
	}
}
