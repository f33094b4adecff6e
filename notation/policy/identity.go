package policy

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// anyone is the identity that every certificate under a trust store has.
const anyone = "*"

const hintOwnSubject = "have the certificate issued with a CN of its own; or, if its authority issues certificates to this key alone, say so with --dedicated-ca"

// identities are those of a statement that its trust store and no other key go with.
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

// identities are the statement's, as a trust policy has them: the subjects of the leaves. An
// identity matches every subject that has all its parts.
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
		// The stores then hold nothing but these keys' own certificates, or authorities of
		// their own, so that naming nobody names nobody else.
		if !alone {
			return nil, first
		}
		return []string{anyone}, nil
	}
	// An authority issues to others as well, and without a CN a subject is that of them all.
	if i := slices.IndexFunc(s.Keys, func(k Key) bool { return k.Leaf().Subject.CommonName == "" }); i >= 0 && !alone {
		return nil, &Refusal{Reason: fmt.Sprintf("key %s: the subject of its certificate, %s, has no CN: whatever the authority issues with these parts would pass as well",
			s.Keys[i].shown(), subject(s.Keys[i].Leaf())), Hint: hintOwnSubject}
	}
	slices.Sort(all)
	if err := s.tryIdentities(all); err != nil {
		return nil, &Refusal{Reason: fmt.Sprintf("the subjects of %s cannot stand side by side: %s", s.keyNames(), safetext.Safe(err.Error(), 400)),
			Hint: "where one subject is a part of the other, certificates of the one pass for the other: have a certificate issued with a subject (CN) of its own"}
	}
	return all, nil
}

// identity is the subject of the leaf. Notation wants C, ST and O in it, each attribute once,
// and reads no others than those with a name.
func (k Key) identity() (string, error) {
	id := identityOf(k.Leaf())
	err := (Statement{}).tryIdentities([]string{id})
	if safetext.Safe(id, len(id)) != id {
		err = errors.New("it has characters that nobody who reads the policy would see")
	}
	if err != nil {
		return "", &Refusal{Reason: fmt.Sprintf("key %s: no trust policy can name the subject of its certificate, %s: %s",
			k.shown(), subject(k.Leaf()), safetext.Safe(err.Error(), 400)),
			Hint: "have the certificate issued with C, ST and O, each once; or, if its authority issues certificates to this key alone, say so with --dedicated-ca"}
	}
	return id, nil
}

// checkStrangers refuses a statement under which a key would pass that signs other
// repositories only: one that the trust policy cannot tell from those of the statement.
func (t Trust) checkStrangers(s Statement, ids []string) error {
	anchors := s.anchors()
	for _, k := range t.strangers(s) {
		mistaken := slices.Contains(ids, anyone) || slices.ContainsFunc(s.Keys, func(own Key) bool { return overlap(own.Leaf(), k.Leaf()) })
		if mistaken && slices.ContainsFunc(anchors, k.under) {
			return &Refusal{Reason: fmt.Sprintf("key %s signs other repositories only, and would pass for %s in those of %s: its certificate, %s, is under the same authority and the subject does not tell them apart",
				k.shown(), s.keyNames(), s.Name, subject(k.Leaf())),
				Hint: "have each key's certificate issued with a CN of its own"}
		}
	}
	return nil
}

// strangers are the keys of other statements, each once.
func (t Trust) strangers(s Statement) []Key {
	seen := map[string]bool{}
	for _, k := range s.Keys {
		seen[string(k.Leaf().Raw)] = true
	}
	var all []Key
	for _, other := range t.Statements {
		for _, k := range other.Keys {
			if raw := string(k.Leaf().Raw); !seen[raw] {
				seen[raw] = true
				all = append(all, k)
			}
		}
	}
	return all
}

// overlap tells whether the subject of one certificate is a part of the other's, or the same.
// What no trust policy could name matches nothing.
func overlap(a, b *x509.Certificate) bool {
	if cn, other := a.Subject.CommonName, b.Subject.CommonName; cn != "" && other != "" && cn != other {
		return false // as for nearly all: hundreds of keys are compared with one another
	}
	s, first, second := Statement{}, identityOf(a), identityOf(b)
	return s.tryIdentities([]string{first}) == nil && s.tryIdentities([]string{second}) == nil && s.tryIdentities([]string{first, second}) != nil
}

func identityOf(c *x509.Certificate) string { return "x509.subject: " + c.Subject.String() }

// tryIdentities asks notation-go whether it would take them.
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
