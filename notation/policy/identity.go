package policy

import (
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// anyone is the identity that every certificate under a trust store has.
const anyone = "*"

const hintOwnSubject = "have the certificate issued with a CN of its own; or, if its authority issues certificates to this key alone, say so with --dedicated-ca"

// identities returns a statement's identities. It checks that its trust store is valid and that no other key matches
// them.
func (t Trust) identities(s Statement) ([]string, error) {
	ids, err := s.identities()
	if err == nil {
		err = s.checkAnchors()
	}
	if err == nil {
		err = t.checkStrangers(s, ids)
	}
	return ids, err
}

// identities returns the statement's identities as in a trust policy: the subjects of the leaves. An identity matches
// every subject that has all its parts.
func (s Statement) identities() ([]string, error) {
	var all []string
	var first error
	for _, k := range s.Keys {
		id, err := k.identity()
		if err != nil && first == nil {
			first = err
		}
		if err == nil && !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	alone := !slices.ContainsFunc(s.Keys, func(k Key) bool { return !k.alone() })
	if first != nil {
		// The stores then contain only these keys' own certificates, or authorities of their own, so naming nobody
		// admits nobody else.
		if !alone {
			return nil, first
		}
		return []string{anyone}, nil
	}
	// An authority issues to others as well, and a subject without a CN would match them all.
	if i := slices.IndexFunc(s.Keys, func(k Key) bool { return !k.hasName() }); i >= 0 && !alone {
		return nil, &Refusal{Reason: fmt.Sprintf("key %s: the subject of its certificate, %s, has no CN: whatever the authority issues with these parts would pass as well",
			s.Keys[i].shown(), s.Keys[i].subject()), Hint: hintOwnSubject}
	}
	slices.Sort(all)
	if err := s.tryIdentities(all); err != nil {
		return nil, &Refusal{Reason: fmt.Sprintf("the subjects of %s cannot stand side by side: %s", s.keyNames(), safetext.Safe(err.Error(), 400)),
			Hint: "where one subject is a part of the other, certificates of the one pass for the other: have a certificate issued with a subject (CN) of its own"}
	}
	return all, nil
}

// identity returns the subject of the leaf. Notation requires C, ST and O in it, each attribute once, and reads only
// named attributes.
func (k Key) identity() (string, error) {
	id := k.trustedIdentity()
	err := (Statement{}).tryIdentities([]string{id})
	if safetext.Safe(id, len(id)) != id {
		err = errors.New("it has characters that cannot be seen")
	}
	if err != nil {
		why, hint := "", ""
		if !k.renews() {
			why, hint = unnameable(k.Leaf())
		}
		if why == "" {
			why, hint = safetext.Safe(err.Error(), 400), "have the certificate issued with another subject"
		}
		return "", &Refusal{Reason: fmt.Sprintf("key %s: no trust policy can name the subject of its certificate, %s: %s",
			k.shown(), k.subject(), why),
			Hint: hint + "; or, if its authority issues certificates to this key alone, say so with --dedicated-ca"}
	}
	return id, nil
}

// attribute is one kind of attribute in a subject.
type attribute struct {
	name string
	hint string // what helps if notation-go cannot read it; empty if it can
}

const hintEV = "an EV certificate's subject cannot be named: have an OV certificate for code signing issued"

// attributes by their object identifiers in certificates.
var attributes = map[string]attribute{
	"2.5.4.3": {"CN", ""}, "2.5.4.5": {"SERIALNUMBER", ""}, "2.5.4.6": {"C", ""}, "2.5.4.7": {"L", ""}, "2.5.4.8": {"ST", ""},
	"2.5.4.9": {"STREET", ""}, "2.5.4.10": {"O", ""}, "2.5.4.11": {"OU", ""}, "2.5.4.17": {"POSTALCODE", ""},
	"0.9.2342.19200300.100.1.1":  {"UID", "have the certificate issued without UID; what it says can be in the CN"},
	"0.9.2342.19200300.100.1.25": {"DC", "have the certificate issued without DC: with C, ST and O in place of a directory's name"},
	"1.2.840.113549.1.9.1":       {"emailAddress", "have the certificate issued without an e-mail address in the subject; it can be an alternative name"},
	"2.5.4.15":                   {"businessCategory", hintEV},
	"1.3.6.1.4.1.311.60.2.1.1":   {"jurisdictionLocality", hintEV},
	"1.3.6.1.4.1.311.60.2.1.2":   {"jurisdictionState", hintEV},
	"1.3.6.1.4.1.311.60.2.1.3":   {"jurisdictionCountry", hintEV},
	"2.5.4.97":                   {"organizationIdentifier", hintEV},
}

// unnameable says which attribute of a subject prevents a trust policy from naming it, and what helps. Both are empty
// if the cause is something else.
//
// SPEC (Notary Project, trust-store-trust-policy, trusted identities): C, ST and O, no attribute twice; notation-go
// reads none in the form with "=#", which all unusual ones have.
func unnameable(c *x509.Certificate) (why, hint string) {
	count := map[string]int{}
	for _, part := range c.Subject.Names {
		oid := part.Type.String()
		a, known := attributes[oid]
		if !known {
			return "it has the attribute " + oid + ", which notation cannot read", "have the certificate issued without that attribute"
		}
		if a.hint != "" {
			return fmt.Sprintf("it has %s (%s), which notation cannot read", a.name, oid), a.hint
		}
		count[a.name]++
	}
	for _, part := range c.Subject.Names {
		if name := attributes[part.Type.String()].name; count[name] > 1 {
			return fmt.Sprintf("it has %s %d times, and notation reads each once", name, count[name]), "have the certificate issued with one " + name
		}
	}
	for _, name := range []string{"C", "ST", "O"} {
		if count[name] == 0 {
			return "it has no " + name, "have the certificate issued with C (country), ST (state or province) and O (organization)"
		}
	}
	return "", ""
}

// Check returns the [*Refusal] with which [Notation] would refuse to write a trust policy: no consumer that names
// subjects could then trust what the keys sign. Call it before anything is signed.
func Check(t Trust) error {
	t.Name, t.Namespace, t.Stage = "dct2notation", "default", Enforce
	_, err := Notation.Write(t)
	return err
}

// checkStrangers refuses a statement that would accept a key that only signs other repositories, because the trust
// policy cannot distinguish it from the statement's keys.
func (t Trust) checkStrangers(s Statement, ids []string) error {
	anchors := s.anchors()
	for _, k := range t.strangers(s) {
		mistaken := slices.Contains(ids, anyone) || slices.ContainsFunc(s.Keys, func(own Key) bool { return overlap(own, k) })
		if mistaken && slices.ContainsFunc(anchors, k.under) {
			return &Refusal{Reason: fmt.Sprintf("key %s signs other repositories only, and would pass for %s in those of %s: its certificate, %s, is under the same authority and the subject does not tell them apart",
				k.shown(), s.keyNames(), s.Name, k.subject()),
				Hint: "have each key's certificate issued with a CN of its own"}
		}
	}
	return nil
}

// strangers returns the keys of other statements, each once.
func (t Trust) strangers(s Statement) []Key {
	seen := map[string]bool{}
	for _, k := range s.Keys {
		seen[k.id()] = true
	}
	var all []Key
	for _, other := range t.Statements {
		for _, k := range other.Keys {
			if id := k.id(); !seen[id] {
				seen[id] = true
				all = append(all, k)
			}
		}
	}
	return all
}

// overlap reports whether one key's subject, or the ARN of its signing profile, equals or is part of the other's.
// What no trust policy could name matches nothing.
func overlap(a, b Key) bool {
	first, second := a.trustedIdentity(), b.trustedIdentity()
	if a.byProfile() || b.byProfile() {
		return strings.HasPrefix(first+"/", second+"/") || strings.HasPrefix(second+"/", first+"/") // a version is a part
	}
	if !a.renews() && !b.renews() {
		if cn, other := a.Leaf().Subject.CommonName, b.Leaf().Subject.CommonName; cn != "" && other != "" && cn != other {
			return false // usual case: hundreds of keys are compared with each other
		}
	}
	s := Statement{}
	return s.tryIdentities([]string{first}) == nil && s.tryIdentities([]string{second}) == nil && s.tryIdentities([]string{first, second}) != nil
}

// trustedIdentity returns the key's entry in a trust policy's trusted identities.
func (k Key) trustedIdentity() string {
	if k.renews() {
		return k.Identity.Trusted()
	}
	return "x509.subject: " + k.Leaf().Subject.String()
}

// subject says whose certificates the key has.
func (k Key) subject() string {
	if k.renews() {
		return safetext.Safe(strings.TrimPrefix(k.Identity.Trusted(), "x509.subject: "), 200)
	}
	return subject(k.Leaf())
}

// subjectHasCN matches a subject as package notation writes it: a comma in a value has a backslash before it.
var subjectHasCN = regexp.MustCompile(`(:|[^\\],) CN=`)

// hasName reports whether the key is named by more than what many of an authority's certificates share.
func (k Key) hasName() bool {
	if k.renews() {
		return k.byProfile() || subjectHasCN.MatchString(k.Identity.Trusted())
	}
	return k.Leaf().Subject.CommonName != ""
}

// tryIdentities checks whether notation-go would accept the identities.
func (s Statement) tryIdentities(ids []string) error {
	doc := trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{{
		Name: "try", RegistryScopes: []string{anyone}, TrustStores: []string{"ca:try"}, TrustedIdentities: ids,
		SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: "strict"},
	}}}
	return doc.Validate()
}

func (s Statement) keyNames() string {
	var names []string
	for _, k := range s.Keys {
		if n := k.shown(); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return strings.Join(names, ", ")
}
