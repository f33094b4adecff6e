package policy

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// level returns a stage's verification level. Audit is notation's own: it refuses only altered signatures, and logs
// the rest. (Its level permissive would enforce whose signature it is.)
func (t Trust) level() string {
	if t.Stage == Enforce {
		return trustpolicy.LevelStrict.Name
	}
	return trustpolicy.LevelAudit.Name
}

// document returns the trust policy for some statements. scopes returns the names under which the consumer looks up a
// repository.
func (t Trust) document(level string, statements []Statement, scopes func(string) []string) (*trustpolicy.Document, error) {
	doc := &trustpolicy.Document{Version: "1.0"}
	for _, s := range statements {
		ids, err := t.identities(s)
		if err != nil {
			return nil, err
		}
		p := trustpolicy.TrustPolicy{
			Name: s.Name, TrustedIdentities: ids,
			SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: level},
		}
		for _, r := range s.Repositories {
			p.RegistryScopes = append(p.RegistryScopes, scopes(r)...)
		}
		for _, store := range s.stores() {
			p.TrustStores = append(p.TrustStores, string(store.kind)+":"+s.Name)
		}
		if len(s.tsa()) > 0 {
			// Otherwise every signature without a timestamp would fail, including earlier ones.
			p.SignatureVerification.VerifyTimestamp = trustpolicy.OptionAfterCertExpiry
			if !slices.ContainsFunc(s.Keys, func(k Key) bool { return !k.renews() }) {
				p.SignatureVerification.VerifyTimestamp = trustpolicy.OptionAlways // since each signature by a subject has one
			}
		}
		doc.TrustPolicies = append(doc.TrustPolicies, p)
	}
	if err := doc.Validate(); err != nil {
		return nil, fmt.Errorf("checking the trust policy as notation does: %w", err)
	}
	return doc, nil
}

// exactly is for consumers that look up a repository under its own name.
func exactly(repository string) []string { return []string{repository} }

// checkAnchors refuses what notation's trust store would not accept.
func (s Statement) checkAnchors() error {
	for _, k := range s.Keys {
		if a := k.Anchor(); !a.IsCA && a.CheckSignature(a.SignatureAlgorithm, a.RawTBSCertificate, a.Signature) != nil {
			return &Refusal{Reason: fmt.Sprintf("key %s: its chain ends with %s, which is neither an authority's nor self-signed: a trust store takes no other", k.shown(), subject(a)),
				Hint: "give the chain up to the authority that is to be trusted"}
		}
	}
	return nil
}

// documentJSON formats a trust policy so that people can read it too.
func documentJSON(doc *trustpolicy.Document) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(doc); err != nil {
		return nil, fmt.Errorf("writing the trust policy: %w", err)
	}
	return safetext.JSON(b.Bytes()), nil
}

// store is one type of a statement's trust stores.
type store struct {
	kind  truststore.Type
	certs []*x509.Certificate
}

// stores returns the stores that have a certificate.
func (s Statement) stores() []store {
	all := []store{
		{truststore.TypeCA, s.anchorsIn(truststore.TypeCA)},
		{truststore.TypeSigningAuthority, s.anchorsIn(truststore.TypeSigningAuthority)},
		{truststore.TypeTSA, s.tsa()},
	}
	return slices.DeleteFunc(all, func(one store) bool { return len(one.certs) == 0 })
}

// storeFiles returns the files of a trust store below a folder, with one certificate in each.
func (s Statement) storeFiles(folder string) []File {
	var files []File
	for _, one := range s.stores() {
		for _, c := range one.certs {
			files = append(files, File{Name: folder + string(one.kind) + "/" + s.Name + "/" + Thumbprint(c)[:16] + ".pem", Content: pemOf(c)})
		}
	}
	return files
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// subject says whose certificate it is.
func subject(c *x509.Certificate) string { return safetext.Safe(c.Subject.String(), 200) }
