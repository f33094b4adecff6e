package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// anyone is the identity that every certificate under a trust store has.
const anyone = "*"

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
	if first != nil {
		// The stores then hold nothing but these keys' own certificates, or authorities of
		// their own, so that naming nobody names nobody else.
		if slices.ContainsFunc(s.Keys, func(k Key) bool { return !k.alone() }) {
			return nil, first
		}
		return []string{anyone}, nil
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
	id := "x509.subject: " + k.Leaf().Subject.String()
	err := (Statement{}).tryIdentities([]string{id})
	if safetext.Safe(id, len(id)) != id {
		err = errors.New("it has characters that nobody who reads the policy would see")
	}
	if err != nil {
		return "", &Refusal{Reason: fmt.Sprintf("key %s: no trust policy can name the subject of its certificate, %s: %s",
			safetext.Safe(k.Name, 128), subject(k.Leaf()), safetext.Safe(err.Error(), 400)),
			Hint: "have the certificate issued with C, ST and O, each once; or, if its authority issues certificates to this key alone, say so with --dedicated-ca"}
	}
	return id, nil
}

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
		if n := safetext.Safe(k.Name, 128); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return strings.Join(names, ", ")
}
