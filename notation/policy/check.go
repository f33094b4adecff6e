package policy

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// check refuses what cannot be written for any consumer.
func (t Trust) check() error {
	if !isLabel(t.Name) || !isLabel(t.Namespace) {
		return &Refusal{Reason: "the names of the policy and of the namespace are DNS labels: lower-case letters, digits and -, at most 63"}
	}
	if t.Stage != Audit && t.Stage != Enforce {
		return &Refusal{Reason: fmt.Sprintf("unknown stage %s: it is audit or enforce", safetext.Safe(string(t.Stage), 64))}
	}
	if len(t.Statements) == 0 {
		return &Refusal{Reason: "no repository was migrated, so there is nothing to trust"}
	}
	names, repositories := map[string]bool{}, map[string]bool{}
	for _, s := range t.Statements {
		if !isLabel(s.Name) || names[s.Name] {
			return &Refusal{Reason: fmt.Sprintf("statement %s: its name is not a DNS label, or another statement has it", safetext.Safe(s.Name, 128))}
		}
		names[s.Name] = true
		if err := s.check(repositories); err != nil {
			return err
		}
	}
	return t.checkDedicated()
}

// checkDedicated returns an error if an authority is said to issue only to one key, but another key of the migration
// shows that it does not.
func (t Trust) checkDedicated() error {
	var keys []Key
	for _, s := range t.Statements {
		keys = append(keys, s.Keys...)
	}
	for _, k := range keys {
		for _, other := range keys {
			if k.Dedicated && k.Name != other.Name && k.id() != other.id() && other.under(k.Anchor()) {
				return &Refusal{Reason: fmt.Sprintf("key %s: its authority, %s, issued the certificate of key %s as well, so that it is not dedicated to the one",
					k.shown(), subject(k.Anchor()), other.shown()),
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
			return &Refusal{Reason: fmt.Sprintf("%s is not a repository, which is written as HOST/NAME", safetext.Safe(r, 256))}
		}
		if seen[same(r)] {
			return &Refusal{Reason: r + " is in two statements, or twice in one"}
		}
		seen[same(r)] = true
	}
	if len(s.Keys) == 0 {
		return &Refusal{Reason: "statement " + s.Name + " has no key: nothing could be good"}
	}
	for _, k := range s.Keys {
		if k.renews() {
			if err := k.checkRenewing(); err != nil {
				return err
			}
			continue
		}
		if err := k.check(); err != nil {
			return &Refusal{Reason: fmt.Sprintf("key %s: %s", k.shown(), err), Hint: "give the chain that the signatures carry, leaf first, up to the authority that is to be trusted"}
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

// check refuses a chain whose parts do not belong together: the anchor would not be the leaf's.
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

// signsCode reports whether notation accepts signatures by a certificate: one for TLS or time-stamping was given by
// mistake. SPEC (Notary Project, certificate requirements): "The digitalSignature bit MUST be set"; of the extended
// usages, none for other purposes.
func signsCode(c *x509.Certificate) bool {
	return c.KeyUsage&x509.KeyUsageDigitalSignature != 0 && !slices.ContainsFunc(c.ExtKeyUsage, func(u x509.ExtKeyUsage) bool {
		return slices.Contains(otherEnds, u)
	})
}
