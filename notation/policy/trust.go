package policy

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/notaryproject/notation-go/verifier/truststore"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/notation"
)

// A Stage says whether consumers only report bad signatures, or refuse the images.
type Stage string

// The stages, in order.
const (
	Audit   Stage = "audit"
	Enforce Stage = "enforce"
)

// A Trust is what was migrated, with what makes its signatures good.
type Trust struct {
	Name       string // of the generated objects, a DNS label
	Stage      Stage
	Namespace  string // in Kubernetes: of the Secrets, and where Gatekeeper checks
	Statements []Statement
	Legacy     []Legacy // what DCT says until it is switched off; may be empty
	Notes      []string // further notes for each output

	ClusterPolicy bool   // use Kyverno's deprecated kind instead of the new one
	RatifyCA      []byte // PEM: the authority of Ratify's own TLS certificate; nil: its chart makes the provider
}

// A Statement says which keys' signatures are good for repositories; any one of them suffices. No repository is in
// two statements.
type Statement struct {
	Name         string // a DNS label, part of store and file names
	Repositories []string
	Keys         []Key
}

// A Key is a signing key, known by its certificate. A key with renewed certificates appears once for each, unless its
// identity outlives them.
type Key struct {
	Name  string
	Chain []*x509.Certificate // leaf first; the last is the trust anchor. With an Identity: only the root
	// Identity is set if it outlives its certificates. If it is zero, the key is known by Chain's leaf.
	Identity notation.Identity
	Plugin   string              // plugin with which such a key signs
	TSA      []*x509.Certificate // roots of the authority that countersigns, if any
	// Dedicated: the user says that the anchor issues certificates only to this key. So trusting the anchor is
	// trusting the key, whatever the subject.
	Dedicated bool
}

// Legacy is what Docker Content Trust says about repositories.
type Legacy struct {
	Server       string // host of the Notary server
	RootKey      []byte // PEM: the public key of the root
	Repositories []string
}

// A Refusal says why a consumer gets no output.
type Refusal struct {
	Consumer string // empty: no consumer can
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

// shown returns the key's name, fit to be shown.
func (k Key) shown() string { return safetext.Safe(k.Name, 128) }

// renews reports whether the key is known by an identity that outlives its certificates.
func (k Key) renews() bool { return k.Identity.Renews() }

// byProfile reports whether the key is known by its signing profile.
func (k Key) byProfile() bool { return k.renews() && !k.Identity.NamedBySubject() }

// id distinguishes keys.
func (k Key) id() string {
	if k.renews() {
		return k.Identity.String()
	}
	return string(k.Leaf().Raw)
}

// store returns the type of trust store for the key's anchor.
func (k Key) store() truststore.Type {
	if k.byProfile() {
		return truststore.TypeSigningAuthority
	}
	return truststore.TypeCA
}

// Leaf returns the signing certificate of a key that is known by it.
func (k Key) Leaf() *x509.Certificate { return k.Chain[0] }

// Anchor returns the certificate by which others trust the key: the last of the given chain. For a dedicated
// authority, it is the one that issued to the key, not one above it.
func (k Key) Anchor() *x509.Certificate {
	if k.Dedicated && len(k.Chain) > 1 {
		return k.Chain[1]
	}
	return k.Chain[len(k.Chain)-1]
}

// alone reports whether trusting the anchor means trusting this key and no other.
func (k Key) alone() bool { return k.Dedicated || !k.renews() && k.Anchor() == k.Leaf() }

// under reports whether a certificate stands above the key's, so that trusting it could mean trusting the key.
func (k Key) under(authority *x509.Certificate) bool {
	return slices.ContainsFunc(k.Chain, func(c *x509.Certificate) bool {
		return c.Equal(authority) || c.CheckSignatureFrom(authority) == nil
	})
}

// Thumbprint returns the SHA-256 of a certificate in hex.
func Thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Group makes statements from what was signed: repositories signed by the same keys share a statement. signed has key
// names; certificates has the keys for each name.
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
			s.Name = label(name + "-" + strings.Join(names, "+")) // a name with + gets a hash: a and b-c differ from a-b and c
		}
		for _, n := range names {
			s.Keys = append(s.Keys, certificates[n]...)
		}
		all = append(all, s)
	}
	return all
}

// tsa returns the roots of the statement's time-stamping authorities, each once.
func (s Statement) tsa() []*x509.Certificate {
	var all []*x509.Certificate
	for _, k := range s.Keys {
		all = append(all, k.TSA...)
	}
	return distinct(all)
}

// anchors returns the statement's trust anchors, each once.
func (s Statement) anchors() []*x509.Certificate {
	return distinct(append(s.anchorsIn(truststore.TypeCA), s.anchorsIn(truststore.TypeSigningAuthority)...))
}

// anchorsIn returns the anchors for one type of trust store.
func (s Statement) anchorsIn(store truststore.Type) []*x509.Certificate {
	var all []*x509.Certificate
	for _, k := range s.Keys {
		if k.store() == store {
			all = append(all, k.Anchor())
		}
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
