package policy_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
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

// two is a trust in a key for one repository, and in another key for another.
func two(release, alice *pki.Identity) policy.Trust {
	return policy.Trust{Name: "migrated", Stage: policy.Enforce, Namespace: "apps", Statements: policy.Group("migrated",
		map[string][]string{app: {"release"}, "registry.example.com/team/web": {"alice"}},
		map[string][]policy.Key{"release": {{Name: "release", Chain: release.Chain}}, "alice": {{Name: "alice", Chain: alice.Chain}}})}
}

// A key is good in the repositories that it signed, and in no others: where a trust policy
// could not tell, there is none.
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
			if o.Consumer == "flux" || !j.byScope {
				continue // there an object for each statement; judge looks at the first
			}
			judge := j.judge(t, o)
			if err := judge(t, newShelf(t, release), app); err != nil {
				t.Errorf("%s, %s: release is refused: %v", name, j.name, err)
			}
			if judge(t, newShelf(t, c.alice), app) == nil {
				t.Errorf("%s, %s: alice passes for release", name, j.name)
			}
		}
		if _, err := policy.RatifyV2(trust); (err == nil) != c.apart {
			t.Errorf("%s, Ratify v2: %v", name, err)
		}
	}
}

// An authority that issued two keys of the migration is dedicated to neither, whatever is said.
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

// Without a CN, a subject is that of all that the authority issues to an organisation.
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
	_, err := policy.Notation(trust)
	must(t, err)
}

// A certificate for TLS was given by mistake: nothing that it signs would pass.
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
	_, err := policy.Notation(trusting(ca.issue(t, "release", "", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} })))
	must(t, err)
}

// A statement is called by its keys, as they are where that makes a DNS label; else a hash keeps
// it apart.
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

// A name that looks like two is one.
func TestNameThatLooksLikeTwoIsOne(t *testing.T) {
	t.Parallel()
	ca := newIssuer(t)
	keys := map[string][]policy.Key{}
	for _, n := range []string{"a", "b", "a\x00b"} {
		keys[n] = []policy.Key{{Name: n, Chain: ca.issue(t, "x"+n, "").Chain}}
	}
	all := policy.Group("migrated", map[string][]string{app: {"a", "b"}, "registry.example.com/team/web": {"a\x00b"}}, keys)
	if len(all) != 2 {
		t.Fatalf("%d statements", len(all))
	}
	for _, s := range all {
		if s.Repositories[0] != app && (len(s.Keys) != 1 || s.Keys[0].Name != "a\x00b") {
			t.Errorf("%s is signed by %d keys", s.Repositories[0], len(s.Keys))
		}
	}
}
