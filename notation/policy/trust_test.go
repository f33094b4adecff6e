package policy_test

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/notation/policy"
)

// An issuer is an authority that issues certificates of any subject.
type issuer struct{ *pki.Identity }

func newIssuer(t *testing.T) issuer {
	t.Helper()
	ca, err := pki.NewAuthority("issuer", pki.Bare)
	must(t, err)
	return issuer{ca}
}

func (i issuer) issue(t *testing.T, cn, unit string, change ...func(*x509.Certificate)) *pki.Identity {
	t.Helper()
	id, err := i.Issue(cn, nil, append([]func(*x509.Certificate){func(c *x509.Certificate) {
		c.Subject.Organization, c.ExtKeyUsage = []string{"Example"}, nil
		if unit != "" {
			c.Subject.OrganizationalUnit = []string{unit}
		}
	}}, change...)...)
	must(t, err)
	return id
}

// two is a trust in one key for one repository, and in another key for another.
func two(release, alice *pki.Identity) policy.Trust {
	return policy.Trust{Name: "migrated", Stage: policy.Enforce, Namespace: "apps", Statements: policy.Group("migrated",
		map[string][]string{app: {"release"}, "registry.example.com/team/web": {"alice"}},
		map[string][]policy.Key{"release": {{Name: "release", Chain: release.Chain}}, "alice": {{Name: "alice", Chain: alice.Chain}}})}
}

// A key is good in the repositories that it signed, and in no others. If a trust policy could not
// tell them apart, none is written.
func TestKeyOfAnotherRepositoryDoesNotPass(t *testing.T) {
	t.Parallel()
	ca := newIssuer(t)
	release := ca.issue(t, "release", "")
	for name, c := range map[string]struct {
		alice *pki.Identity
		apart bool
	}{
		"another CN":              {ca.issue(t, "alice", ""), true},
		"the same subject":        {ca.issue(t, "release", ""), false},
		"a unit besides":          {ca.issue(t, "release", "evil"), false},
		"the same, elsewhere":     {newIssuer(t).issue(t, "release", ""), true},
		"a unit that is not ours": {ca.issue(t, "alice", "release"), true},
	} {
		trust := two(release, c.alice)
		for _, j := range judges {
			o, err := j.write(trust)
			if !c.apart && j.byScope {
				refused(t, err, "does not tell them apart")
				continue
			}
			must(t, err)
			if o.Consumer.Name == "flux" || !j.byScope {
				continue // they have an object for each statement; judge looks at the first
			}
			judge := j.judge(t, o)
			if err := judge(t, newShelf(t, release), app); err != nil {
				t.Errorf("%s, %s, of release: got error %v, want none", name, j.name, err)
			}
			if judge(t, newShelf(t, c.alice), app) == nil {
				t.Errorf("%s, %s: got alice passed for release, want her refused", name, j.name)
			}
		}
		if _, err := policy.RatifyV2.Write(trust); (err == nil) != c.apart {
			t.Errorf("%s, Ratify v2: got error %v, want it accepted: %t", name, err, c.apart)
		}
	}
}

// An authority that issued two keys of the migration is dedicated to neither, whatever is
// configured.
func TestDedicatedAuthorityWithTwoKeysIsRefused(t *testing.T) {
	t.Parallel()
	ca := newIssuer(t)
	trust := two(ca.issue(t, "release", ""), ca.issue(t, "alice", ""))
	for i, s := range trust.Statements {
		if s.Keys[0].Name == "release" {
			trust.Statements[i].Keys[0].Dedicated = true
		}
	}
	for _, c := range policy.Consumers() {
		_, err := c.Write(trust)
		refused(t, err, "not dedicated to the one")
	}
}

// Without a CN, a subject matches everything that the authority issues to an organisation.
func TestSubjectOfTheWholeOrganisationIsRefused(t *testing.T) {
	t.Parallel()
	trust := trusting(newIssuer(t).issue(t, "", ""))
	for _, c := range policy.Consumers() {
		_, err := c.Write(trust)
		if c.Name == "kyverno" || c.Name == "connaisseur" { // the certificate is pinned
			must(t, err)
			continue
		}
		refused(t, err, "has no CN")
	}
	trust.Statements[0].Keys[0].Dedicated = true
	_, err := policy.Notation.Write(trust)
	must(t, err)
}

// If a certificate for TLS was given by mistake, nothing that it signs would pass.
func TestCertificateForOtherEndsIsRefused(t *testing.T) {
	t.Parallel()
	ca := newIssuer(t)
	for name, change := range map[string]func(*x509.Certificate){
		"TLS":            func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"time-stamping":  func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping} },
		"key encryption": func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment },
	} {
		t.Run(name, func(t *testing.T) {
			trust := trusting(ca.issue(t, "release", "", change))
			for _, c := range policy.Consumers() {
				_, err := c.Write(trust)
				refused(t, err, "not for signing code")
			}
		})
	}
	_, err := policy.Notation.Write(trusting(ca.issue(t, "release", "", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} })))
	must(t, err)
}

// A statement is named after its keys. Their names are used as they are if that makes a DNS label;
// otherwise a hash keeps it apart.
func TestStatementsAreCalledByTheirKeys(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"az09": "migrated-az09", "0": "migrated-0", "9-a": "migrated-9-a",
		strings.Repeat("k", 31): "migrated-" + strings.Repeat("k", 31), // 40 characters
		strings.Repeat("k", 32): "migrated-" + strings.Repeat("k", 22) + "-<hash>",
		"A":                     "migrated-<hash>", "a--b": "migrated-a-b-<hash>", "a-": "migrated-a-<hash>", "a/b": "migrated-a-b-<hash>", "a:b": "migrated-a-b-<hash>", "a`{b": "migrated-a-b-<hash>",
	} {
		sum := sha256.Sum256([]byte("migrated-" + name))
		want = strings.Replace(want, "<hash>", hex.EncodeToString(sum[:4]), 1)
		all := policy.Group("migrated", map[string][]string{app: {name}, "registry.example.com/team/web": {"!"}}, nil)
		if !slices.ContainsFunc(all, func(s policy.Statement) bool { return s.Repositories[0] == app && s.Name == want }) {
			t.Errorf("key %q: got statements %v, want %s", name, all, want)
		}
	}
}

func TestNameThatLooksLikeTwoIsOne(t *testing.T) {
	t.Parallel()
	ca := newIssuer(t)
	keys := map[string][]policy.Key{}
	for _, n := range []string{"a", "b", "a\x00b"} {
		keys[n] = []policy.Key{{Name: n, Chain: ca.issue(t, "x"+n, "").Chain}}
	}
	all := policy.Group("migrated", map[string][]string{app: {"a", "b"}, "registry.example.com/team/web": {"a\x00b"}}, keys)
	if len(all) != 2 {
		t.Fatalf("got %d statements, want 2", len(all))
	}
	for _, s := range all {
		if s.Repositories[0] != app && (len(s.Keys) != 1 || s.Keys[0].Name != "a\x00b") {
			t.Errorf("%s: got %d keys, want one named a\\x00b", s.Repositories[0], len(s.Keys))
		}
	}
}

// No policy is better than one that accepts more than was asked for.
func TestRefusedRatherThanWider(t *testing.T) {
	t.Parallel()
	withTSA := func(trust policy.Trust) policy.Trust {
		trust.Statements[0].Keys[0].TSA = chain(t, "tsa")
		return trust
	}
	beside := func(trust policy.Trust, name string) policy.Trust {
		trust.Statements[0].Keys = append(trust.Statements[0].Keys, key(t, name))
		return trust
	}
	short := func(name string) policy.Trust {
		trust := one(t, name)
		trust.Statements[0].Keys[0].Chain = trust.Statements[0].Keys[0].Chain[:1]
		return trust
	}
	noRoot := one(t, "release")
	noRoot.Statements[0].Keys[0].TSA = chain(t, "release")[1:2]
	// As separate issuers: one has only the same name, one only the same key.
	ca, namesake := newIssuer(t), newIssuer(t)
	roots := map[string]policy.Trust{}
	byName, err := namesake.Issue("issuer", ca.Key, pki.CA, pki.Bare)
	must(t, err)
	byKey, err := ca.Issue("another", ca.Key, pki.CA, pki.Bare)
	must(t, err)
	for name, c := range map[string]*pki.Identity{"by name": byName, "by key": byKey} {
		trust := one(t, "release")
		trust.Statements[0].Keys[0].TSA = c.Chain[:1]
		roots[name] = trust
	}
	inside := trusting(ca.issue(t, "release", ""))
	inside.Statements[0].Keys = append(inside.Statements[0].Keys, policy.Key{Name: "wide", Chain: ca.issue(t, "release", "unit").Chain})
	for name, c := range map[string]struct {
		write func(policy.Trust) (*policy.Output, error)
		trust policy.Trust
		why   string
	}{
		"subject without C, ST and O": {policy.Notation.Write, one(t, "bare"), "it has no C"},
		"the same for Flux":           {policy.Flux.Write, one(t, "bare"), "it has no C"},
		"the same for Ratify":         {policy.Ratify.Write, one(t, "bare"), "it has no C"},
		"the same for Ratify v2":      {policy.RatifyV2.Write, one(t, "bare"), "it has no C"},
		"the same for GitHub":         {policy.GitHubActions.Write, one(t, "bare"), "it has no C"},
		"two units in the subject":    {policy.Notation.Write, one(t, "two-units"), "it has OU 2 times"},
		"a subject inside another":    {policy.Notation.Write, inside, "cannot stand side by side"},
		"no name beside an authority": {policy.Notation.Write, beside(one(t, "release"), "self"), "it has no C"},
		"TSA and any subject in Flux": {policy.Flux.Write, withTSA(one(t, "self")), "for a signing authority"},
		"no authority in the chain":   {policy.Notation.Write, short("release"), "neither an authority's nor self-signed"},
		"TSA that is no root":         {policy.Notation.Write, noRoot, "is no root"},
		"TSA by another of its name":  {policy.Notation.Write, roots["by name"], "is no root"},
		"TSA by its key, renamed":     {policy.Notation.Write, roots["by key"], "is no root"},
		"the same for Kyverno":        {policy.Kyverno.Write, noRoot, "is no root"},
		"the same for Connaisseur":    {policy.Connaisseur.Write, noRoot, "is no root"},
		"an organisation and a key":   {policy.Notation.Write, beside(one(t, "release"), "wide"), "has no CN"},
		"two TSAs in Connaisseur": {policy.Connaisseur.Write, func() policy.Trust {
			trust := withTSA(one(t, "release"))
			trust.Statements[0].Keys[0].TSA = append(trust.Statements[0].Keys[0].TSA, chain(t, "other")[1])
			return trust
		}(), "Connaisseur takes one"},
	} {
		_, err := c.write(c.trust)
		t.Run(name, func(t *testing.T) { refused(t, err, c.why) })
	}
}

// If no trust policy can name a certificate's subject, the user learns which attribute is at fault
// and what helps, also before anything is signed.
func TestTheAttributeThatCannotBeNamedIsTold(t *testing.T) {
	t.Parallel()
	ca := newIssuer(t)
	part := func(oid, value string) pkix.AttributeTypeAndValue {
		parsed, err := x509.ParseOID(oid)
		must(t, err)
		var id asn1.ObjectIdentifier
		for _, n := range strings.Split(parsed.String(), ".") {
			v, err := strconv.Atoi(n)
			must(t, err)
			id = append(id, v)
		}
		return pkix.AttributeTypeAndValue{Type: id, Value: value}
	}
	with := func(parts ...pkix.AttributeTypeAndValue) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.Subject.ExtraNames = parts }
	}
	for name, c := range map[string]struct {
		change    func(*x509.Certificate)
		why, hint string // empty: it can be named
	}{
		"usual": {func(*x509.Certificate) {}, "", ""},
		"all that is usual": {func(c *x509.Certificate) {
			c.Subject.Locality, c.Subject.StreetAddress, c.Subject.PostalCode, c.Subject.SerialNumber = []string{"l"}, []string{"s"}, []string{"1"}, "2"
		}, "", ""},
		"UID":                 {with(part("0.9.2342.19200300.100.1.1", "release")), "it has UID (0.9.2342.19200300.100.1.1)", "without UID"},
		"DC":                  {with(part("0.9.2342.19200300.100.1.25", "example"), part("0.9.2342.19200300.100.1.25", "com")), "it has DC", "without DC"},
		"e-mail":              {with(part("1.2.840.113549.1.9.1", "release@example.com")), "it has emailAddress", "alternative name"},
		"EV, category":        {with(part("2.5.4.15", "Private Organization")), "it has businessCategory", "an OV certificate"},
		"EV, jurisdiction":    {with(part("1.3.6.1.4.1.311.60.2.1.3", "US")), "it has jurisdictionCountry", "an OV certificate"},
		"of nobody's":         {with(part("1.2.3.4", "x")), "it has the attribute 1.2.3.4", "without that attribute"},
		"two O":               {func(c *x509.Certificate) { c.Subject.Organization = []string{"a", "b"} }, "it has O 2 times", "with one O"},
		"no C":                {func(c *x509.Certificate) { c.Subject.Country = nil }, "it has no C", "C (country)"},
		"no ST":               {func(c *x509.Certificate) { c.Subject.Province = nil }, "it has no ST", "ST (state or province)"},
		"no O":                {func(c *x509.Certificate) { c.Subject.Organization = nil }, "it has no O", "O (organization)"},
		"an invisible letter": {func(c *x509.Certificate) { c.Subject.Organization = []string{"Ex\u200bample"} }, "cannot be seen", "--dedicated-ca"},
	} {
		err := policy.Check(trusting(ca.issue(t, "release", "", c.change)))
		var r *policy.Refusal
		switch {
		case c.why == "":
			if err != nil {
				t.Errorf("%s: got %v, want no refusal", name, err)
			}
		case !errors.As(err, &r) || !strings.Contains(r.Reason, c.why) || !strings.Contains(r.Hint, c.hint) || !strings.Contains(r.Hint, "--dedicated-ca"):
			t.Errorf("%s: got %v, want %q, and %q as a hint", name, err, c.why, c.hint)
		}
		// Writing notation's own policy is refused for the same reason.
		if _, werr := policy.Notation.Write(trusting(ca.issue(t, "release", "", c.change))); (werr == nil) != (err == nil) {
			t.Errorf("%s: got %v from the check, want the same as from writing the policy: %v", name, err, werr)
		}
		dedicated := trusting(ca.issue(t, "release", "", c.change))
		dedicated.Statements[0].Keys[0].Dedicated = true
		if err := policy.Check(dedicated); err != nil {
			t.Errorf("%s, of an authority of its own: got error %v, want none", name, err)
		}
	}
}

// Every consumer refuses what no consumer can be given.
func TestNonsenseIsRefusedByAll(t *testing.T) {
	t.Parallel()
	for why, change := range map[string]func(*policy.Trust){
		"did not issue the one before": func(trust *policy.Trust) {
			k := &trust.Statements[0].Keys[0]
			k.Chain = append(k.Chain[:1:1], chain(t, "other")[1])
		},
		"begins with the certificate of an authority": func(trust *policy.Trust) { trust.Statements[0].Keys[0].Chain = chain(t, "tsa") },
		"has no certificate":                          func(trust *policy.Trust) { trust.Statements[0].Keys[0].Chain = nil },
		"has no key":                                  func(trust *policy.Trust) { trust.Statements[0].Keys = nil },
		"has no repository":                           func(trust *policy.Trust) { trust.Statements[0].Repositories = nil },
		"no repository was migrated":                  func(trust *policy.Trust) { trust.Statements = nil },
		"unknown stage skip":                          func(trust *policy.Trust) { trust.Stage = "skip" },
		"DNS labels":                                  func(trust *policy.Trust) { trust.Name = "Migrated\n" },
		"is in two statements": func(trust *policy.Trust) {
			second := trust.Statements[0]
			second.Name = "second"
			trust.Statements = append(trust.Statements, second)
		},
		"or twice in one": func(trust *policy.Trust) {
			trust.Statements[0].Repositories = []string{"docker.io/acme/tool", "index.docker.io/acme/tool"}
		},
	} {
		for _, c := range policy.Consumers() {
			trust := one(t, "release")
			change(&trust)
			_, err := c.Write(trust)
			refused(t, err, why)
		}
	}
}

// A self-signed certificate, or an authority for one key, needs no subject: the policy can match
// nobody else.
func TestNoSubjectIsNeededWhereNobodyElseIsMeant(t *testing.T) {
	t.Parallel()
	_, err := policy.Notation.Write(one(t, "self"))
	must(t, err)
	dedicated := one(t, "bare")
	dedicated.Statements[0].Keys[0].Dedicated = true
	for _, c := range policy.Consumers() {
		o, err := c.Write(dedicated)
		must(t, err)
		for _, l := range o.Lost {
			if strings.Contains(l.Guarantee, "are pinned") {
				t.Errorf("%s: got it said that certificates are pinned, want it unsaid", c.Name)
			}
		}
	}
}

// An authority for one key is trusted in place of that key's certificate, so that a renewed
// certificate passes too.
func TestDedicatedAuthorityIsTrustedWhereIdentitiesAreNot(t *testing.T) {
	t.Parallel()
	ca := authority(t)
	release, renewed := issue(t, ca, "release"), issue(t, ca, "release")
	trust := trusting(release)
	for _, dedicated := range []bool{false, true} {
		trust.Statements[0].Keys[0].Dedicated = dedicated
		for _, c := range judges {
			o, err := c.write(trust)
			must(t, err)
			// A subject matches a renewed certificate anyway.
			if err := c.judge(t, o)(t, newShelf(t, renewed), app); (err == nil) != (dedicated || c.byScope) {
				t.Errorf("%s, dedicated %v: got error %v, want it to pass: %t", c.name, dedicated, err, dedicated || c.byScope)
			}
		}
	}
}

// A key's authority is the one that issued its certificate. Those above it issue to others. The
// file says what passes by an authority, not only that it is the key's.
func TestDedicatedAuthorityIsTheKeysOwn(t *testing.T) {
	t.Parallel()
	for name, said := range map[string]func(consumer string) bool{
		"bare":    func(string) bool { return true },                                                        // its subject cannot be named
		"wide":    func(string) bool { return true },                                                        // its subject is that of many
		"release": func(consumer string) bool { return consumer == "kyverno" || consumer == "connaisseur" }, // its subject is named elsewhere
	} {
		trust := one(t, name)
		k := &trust.Statements[0].Keys[0]
		k.Dedicated = true
		if k.Anchor() != k.Chain[1] {
			t.Errorf("%s: got %s trusted, want %s", name, k.Anchor().Subject, k.Chain[1].Subject)
		}
		for _, c := range policy.Consumers() {
			o, err := c.Write(trust)
			must(t, err)
			text := strings.Join(strings.Fields(strings.ReplaceAll(string(o.Files[0].Content), "#", " ")), " ")
			if got := strings.Contains(text, "whatever "+k.Chain[1].Subject.String()+" issues passes"); got != said(c.Name) {
				t.Errorf("%s, %s: got what passes by the authority said: %t, want %t", c.Name, name, got, said(c.Name))
			}
		}
	}
}

// Each output begins with what is lost there, before anything that is applied.
func TestOutputsBeginWithWhatIsLost(t *testing.T) {
	t.Parallel()
	for _, c := range policy.Consumers() {
		for _, stage := range []policy.Stage{policy.Audit, policy.Enforce} {
			o, err := c.Write(rich(t, stage))
			must(t, err)
			text := strings.Join(strings.Fields(strings.ReplaceAll(string(o.Files[0].Content), "#", " ")), " ")
			for _, l := range o.Lost {
				if !strings.Contains(text, l.Guarantee+". Instead: "+l.Instead+".") {
					t.Errorf("%s: got it unsaid, want: %s", c.Name, l.Guarantee)
				}
			}
			for _, want := range []string{"binding of a tag", "Freshness", "rollback", "Thresholds", "Withdrawal", "Stage: " + string(stage), "Apply:", "Prove it: a migrated image must pass (registry.example.com:5000/alice@sha256:...), and these must not:", "DOCKER_CONTENT_TRUST=0 docker push", "Pins of DCT"} {
				if !strings.Contains(text, want) {
					t.Errorf("%s: got it unsaid, want: %s", c.Name, want)
				}
			}
			// A policy that trusts anybody also denies an unsigned image.
			if strings.Count(text, ":dct2notation-foreign") < 4 {
				t.Errorf("%s: got %d tries with a stranger's signature, want 4", c.Name, strings.Count(text, ":dct2notation-foreign"))
			}
			if c.Name == "kyverno" && !strings.Contains(text, "Images of other repositories are not judged") {
				t.Error("Kyverno: got it unsaid, want it said what it lets pass")
			}
			if stage == policy.Audit && !strings.Contains(text, "--stage enforce") {
				t.Errorf("%s: got it unsaid, want it said how to go on", c.Name)
			}
		}
	}
}

// In Flux the root of a time-stamping authority is a signing authority too: the output warns of
// that.
func TestFluxWarnsOfTheTimeStampingAuthority(t *testing.T) {
	t.Parallel()
	o, err := policy.Flux.Write(rich(t, policy.Enforce))
	must(t, err)
	if len(o.Warnings) == 0 || !strings.Contains(o.Warnings[0], "for a signing authority as well") {
		t.Errorf("got warnings %q, want one of a signing authority", o.Warnings)
	}
}

// A Secret is named after its content: a new certificate makes a new Secret.
func TestFluxSecretIsCalledByItsContent(t *testing.T) {
	t.Parallel()
	name := func(k string) string {
		o, err := policy.Flux.Write(one(t, k))
		must(t, err)
		secret := at(t, objects(t, file(t, o, "secrets.yaml"))[0], "metadata", "name").(string)
		if ref := at(t, objects(t, file(t, o, "patch-migrated.yaml"))[0], "spec", "verify", "secretRef", "name"); ref != secret {
			t.Errorf("got the patch naming %v, want the Secret %s", ref, secret)
		}
		return secret
	}
	first, other, again := name("release"), name("alice"), name("release")
	if first == other || first != again {
		t.Errorf("got the names %s, %s and %s, want the first and the last the same", first, other, again)
	}
}

// An object that Kubernetes would not store is refused here.
func TestHugeObjectIsRefused(t *testing.T) {
	t.Parallel()
	trust := one(t, "release")
	for i := range 2500 {
		trust.Statements[0].Repositories = append(trust.Statements[0].Repositories, fmt.Sprintf("registry.example.com/%s/app-%d", strings.Repeat("name", 100), i))
	}
	_, err := policy.Kyverno.Write(trust)
	refused(t, err, "more than Kubernetes stores")
}

// kubectl keeps what it applies in an annotation, which has no room for a large object. The file
// then gives another command.
func TestLargeObjectIsAppliedByTheServer(t *testing.T) {
	t.Parallel()
	for _, write := range []func(policy.Trust) (*policy.Output, error){policy.Kyverno.Write, policy.Ratify.Write, policy.RatifyV2.Write, policy.Flux.Write} {
		trust := one(t, "release")
		for n, want := range map[int]string{1: "#     kubectl apply -f ", 6000: "#     kubectl apply --server-side "} {
			for i := range n {
				trust.Statements[0].Repositories = append(trust.Statements[0].Repositories, fmt.Sprintf("registry.example.com/payments-platform/size-%d/app-%d", n, i))
			}
			o, err := write(trust)
			must(t, err)
			if head := string(o.Files[0].Content); !strings.Contains(head, want) {
				t.Errorf("%s, %d repositories: got %s, want the command %s", o.Consumer.Name, n, head, want)
			}
			trust.Statements[0].Repositories = trust.Statements[0].Repositories[:1]
		}
	}
}
