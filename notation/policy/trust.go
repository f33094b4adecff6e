package policy

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// A Stage says whether consumers only tell of bad signatures, or refuse the images.
type Stage string

// The stages, in their order.
const (
	Audit   Stage = "audit"
	Enforce Stage = "enforce"
)

// A Trust is what was migrated, and what makes its signatures good.
type Trust struct {
	Name       string // of what is made, a DNS label
	Stage      Stage
	Namespace  string // in Kubernetes: of the Secrets, and where Gatekeeper asks
	Statements []Statement
	Legacy     []Legacy // what DCT says until it is switched off; may be empty
	Notes      []string // what else each output is to say

	ClusterPolicy bool   // Kyverno's deprecated kind in place of the new one
	RatifyCA      []byte // PEM: the authority of Ratify's own TLS certificate; nil: its chart makes the provider
}

// A Statement says which keys' signatures are good for repositories: that of any one of them.
// No repository is in two statements.
type Statement struct {
	Name         string // a DNS label, part of names of stores and files
	Repositories []string
	Keys         []Key
}

// A Key is a signing key by its certificate. A key whose certificate was renewed is there
// once for each.
type Key struct {
	Name  string
	Chain []*x509.Certificate // leaf first; the last is the trust anchor
	TSA   []*x509.Certificate // roots of the authority that countersigns, if any
	// Dedicated: the anchor issues certificates to this key alone, as the user says. So
	// trusting the anchor is trusting the key, whatever the subject.
	Dedicated bool
}

// Legacy is what Docker Content Trust says of repositories.
type Legacy struct {
	Server       string // host of the Notary server
	RootKey      []byte // PEM: the public key of the root
	Repositories []string
}

// A Refusal says why a consumer gets no output.
type Refusal struct {
	Consumer string // empty: none of them can
	Reason   string
	Hint     string
}

func (r *Refusal) Error() string {
	text := r.Reason
	if r.Consumer != "" {
		text = "policy for " + r.Consumer + ": " + text
	}
	if r.Hint != "" {
		text += "\nhint: " + r.Hint
	}
	return text
}

// Leaf is the certificate that signs.
func (k Key) Leaf() *x509.Certificate { return k.Chain[0] }

// Anchor is the certificate that others trust the key by.
func (k Key) Anchor() *x509.Certificate { return k.Chain[len(k.Chain)-1] }

// alone tells whether who trusts the anchor trusts this key and no other.
func (k Key) alone() bool { return k.Dedicated || k.Anchor() == k.Leaf() }

// under tells whether a certificate stands above the key's: one that trusts it could trust
// the key.
func (k Key) under(authority *x509.Certificate) bool {
	return slices.ContainsFunc(k.Chain, func(c *x509.Certificate) bool {
		return c.Equal(authority) || c.CheckSignatureFrom(authority) == nil
	})
}

// Thumbprint is the SHA-256 of a certificate in hex.
func Thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Group makes statements of what was signed: repositories that the same keys have signed are
// in one. The keys are named; certificates has the certificates of each name.
func Group(name string, signed map[string][]string, certificates map[string][]Key) []Statement {
	byKeys, keysOf := map[string][]string{}, map[string][]string{}
	for _, repository := range slices.Sorted(maps.Keys(signed)) {
		keys := slices.Compact(slices.Sorted(slices.Values(signed[repository])))
		set := fmt.Sprintf("%q", keys) // quoted: no name can look like two
		keysOf[set] = keys
		byKeys[set] = append(byKeys[set], repository)
	}
	var all []Statement
	for _, set := range slices.Sorted(maps.Keys(byKeys)) {
		s := Statement{Name: name, Repositories: byKeys[set]}
		names := keysOf[set]
		if len(byKeys) > 1 {
			s.Name = label(name + "-" + strings.Join(names, "+")) // what has a + gets a hash: a and b-c are not a-b and c
		}
		for _, n := range names {
			s.Keys = append(s.Keys, certificates[n]...)
		}
		all = append(all, s)
	}
	return all
}

// check refuses what no consumer can be given.
func (t Trust) check() error {
	if !isLabel(t.Name) || !isLabel(t.Namespace) {
		return &Refusal{Reason: "the names of the policy and of the namespace are DNS labels: lower-case letters, digits and -, at most 63"}
	}
	if t.Stage != Audit && t.Stage != Enforce {
		return &Refusal{Reason: fmt.Sprintf("stage %s is none: it is audit or enforce", safetext.Safe(string(t.Stage), 64))}
	}
	if len(t.Statements) == 0 {
		return &Refusal{Reason: "no repository was migrated, so there is nothing to trust"}
	}
	names, repositories := map[string]bool{}, map[string]bool{}
	for _, s := range t.Statements {
		if !isLabel(s.Name) || names[s.Name] {
			return &Refusal{Reason: fmt.Sprintf("statement %s: its name is no DNS label, or there twice", safetext.Safe(s.Name, 128))}
		}
		names[s.Name] = true
		if err := s.check(repositories); err != nil {
			return err
		}
	}
	return t.checkDedicated()
}

// checkDedicated refuses to believe that an authority issues to one key alone where another
// key of the migration shows that it does not.
func (t Trust) checkDedicated() error {
	var keys []Key
	for _, s := range t.Statements {
		keys = append(keys, s.Keys...)
	}
	for _, k := range keys {
		for _, other := range keys {
			if k.Dedicated && k.Name != other.Name && !k.Leaf().Equal(other.Leaf()) && other.under(k.Anchor()) {
				return &Refusal{Reason: fmt.Sprintf("key %s: its authority, %s, issued the certificate of key %s as well, so that it is not dedicated to the one",
					safetext.Safe(k.Name, 128), subject(k.Anchor()), safetext.Safe(other.Name, 128)),
					Hint: "leave out --dedicated-ca; or end the chain with an intermediate authority that does issue to this key alone"}
			}
		}
	}
	return nil
}

func (s Statement) check(seen map[string]bool) error {
	if len(s.Repositories) == 0 {
		return &Refusal{Reason: "statement " + s.Name + " has no repository"}
	}
	for _, r := range s.Repositories {
		if !isRepository(r) {
			return &Refusal{Reason: fmt.Sprintf("%s is no repository, as host/name", safetext.Safe(r, 256))}
		}
		if seen[r] {
			return &Refusal{Reason: r + " is in two statements"}
		}
		seen[r] = true
	}
	if len(s.Keys) == 0 {
		return &Refusal{Reason: "statement " + s.Name + " has no key: nothing could be good"}
	}
	for _, k := range s.Keys {
		if err := k.check(); err != nil {
			return &Refusal{Reason: fmt.Sprintf("key %s: %s", safetext.Safe(k.Name, 128), err), Hint: "give the chain that the signatures carry, leaf first, up to the authority that is to be trusted"}
		}
	}
	for _, c := range s.tsa() {
		if !bytes.Equal(c.RawSubject, c.RawIssuer) || c.CheckSignatureFrom(c) != nil {
			return &Refusal{Reason: fmt.Sprintf("time-stamping authority: %s is no root, and a trust store of type tsa takes no other", subject(c)),
				Hint: "give the root with --timestamp-root-cert"}
		}
	}
	return nil
}

// check refuses a chain whose parts do not belong together: the anchor would not be that of
// the leaf.
func (k Key) check() error {
	if len(k.Chain) == 0 {
		return errors.New("it has no certificate")
	}
	if k.Leaf().IsCA {
		return errors.New("its chain begins with the certificate of an authority, not of the key")
	}
	for i := 1; i < len(k.Chain); i++ {
		if err := k.Chain[i-1].CheckSignatureFrom(k.Chain[i]); err != nil {
			return fmt.Errorf("certificate %d of its chain did not issue the one before: %s", i+1, safetext.Safe(err.Error(), 200))
		}
	}
	if !signsCode(k.Leaf()) {
		return errors.New("its certificate is not for signing code: notation refuses what it signs")
	}
	return nil
}

var otherEnds = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageEmailProtection, x509.ExtKeyUsageTimeStamping, x509.ExtKeyUsageOCSPSigning}

// signsCode tells whether notation takes signatures by a certificate: one that is for TLS or
// time-stamping was given by mistake.
// SPEC (Notary Project, certificate requirements): "The digitalSignature bit MUST be set";
// of the extended usages, none of those for other ends.
func signsCode(c *x509.Certificate) bool {
	return c.KeyUsage&x509.KeyUsageDigitalSignature != 0 && !slices.ContainsFunc(c.ExtKeyUsage, func(u x509.ExtKeyUsage) bool {
		return slices.Contains(otherEnds, u)
	})
}

// tsa are the roots of time-stamping authorities of the statement, each once.
func (s Statement) tsa() []*x509.Certificate {
	var all []*x509.Certificate
	for _, k := range s.Keys {
		all = append(all, k.TSA...)
	}
	return distinct(all)
}

// anchors are the trust anchors of the statement, each once.
func (s Statement) anchors() []*x509.Certificate {
	var all []*x509.Certificate
	for _, k := range s.Keys {
		all = append(all, k.Anchor())
	}
	return distinct(all)
}

func distinct(all []*x509.Certificate) []*x509.Certificate {
	var kept []*x509.Certificate
	for _, c := range all {
		if !slices.ContainsFunc(kept, c.Equal) {
			kept = append(kept, c)
		}
	}
	return kept
}
