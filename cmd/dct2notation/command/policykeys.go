package command

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/notation/policy"
	"github.com/dct2notation/dct2notation/state"
)

// certificatesOf finds the certificates of each key that signed. What vouches for them is the
// user or notation's own configuration, never the ledger: who can write to it could have his
// own signatures trusted.
func (o *policyOptions) certificatesOf(m *migrated, cfg session.Config, stage policy.Stage, log *slog.Logger) (map[string][]policy.Key, error) {
	names := m.keys()
	given, err := o.given(names)
	if err != nil {
		return nil, err
	}
	for _, name := range o.dedicated {
		if !slices.Contains(names, name) {
			return nil, cli.Usage(fmt.Errorf("--dedicated-ca: no key %s signs what is meant; %s does", safetext.Safe(name, 128), session.SafeNames(names)))
		}
	}
	configured, err := o.configured(m, cfg)
	if err != nil {
		return nil, err
	}
	all := map[string][]policy.Key{}
	for _, name := range names {
		rule, known := configured[name]
		chains, err := o.chains(name, given[name], rule.CertFile, m.known, cfg)
		if err != nil {
			return nil, cli.Usage(err)
		}
		if m.known == nil && stage == policy.Enforce && rule.CertFile == "" {
			m.problem(log, "no ledger was given, so that nothing shows that this key has signed with the certificate that is given: compare the thumbprint, or name the ledger with --ledger", "key", safetext.Safe(name, 128), "SHA-256", policy.Thumbprint(chains[0][0]))
		}
		m.tellOthers(name, chains, log)
		m.tellStrangers(name, chains, log)
		root := o.TSARoot
		if known {
			root = rule.TSARoot
		}
		var tsa []*x509.Certificate
		if root != "" {
			if tsa, err = session.ReadCertificates(root); err != nil {
				return nil, err
			}
		} else if u := authorityOf(m.known, name); u != "" {
			log.Warn("signatures are countersigned, and the root of the authority is not given: they are refused once the certificate has expired; give --timestamp-root-cert", "key", safetext.Safe(name, 128), "authority", safetext.Safe(u, 200))
		}
		for _, chain := range chains {
			all[name] = append(all[name], policy.Key{Name: name, Chain: chain, TSA: tsa, Dedicated: slices.Contains(o.dedicated, name)})
			log.Info("key", "name", safetext.Safe(name, 128), "leaf", policy.Thumbprint(chain[0]), "subject", safetext.Safe(chain[0].Subject.String(), 200))
			warnOfAge(name, chain, len(tsa) > 0, time.Now(), log)
		}
	}
	return all, nil
}

// warnOfAge tells when certificates end: at the stage enforce, all that they signed is refused
// from then on.
func warnOfAge(name string, chain []*x509.Certificate, stamped bool, now time.Time, log *slog.Logger) {
	end := notation.SigningEnds(chain)
	after := "signatures without a timestamp are refused after that"
	if stamped {
		after = "signatures that are not countersigned are refused after that"
	}
	if begin := chain[0].NotBefore; begin.After(now) {
		log.Warn("certificate is not valid yet: what it signs is refused before", "key", safetext.Safe(name, 128), "on", begin.UTC().Format(time.DateOnly))
	}
	switch date := end.UTC().Format(time.DateOnly); {
	case end.Before(now):
		log.Warn("certificate has expired: "+after, "key", safetext.Safe(name, 128), "on", date)
	case end.Before(now.Add(session.Soon)):
		log.Warn("certificate expires soon: "+after, "key", safetext.Safe(name, 128), "on", date)
	}
}

// given are the values of --certificate by the key's name.
func (o *policyOptions) given(names []string) (map[string][]string, error) {
	all := map[string][]string{}
	for _, entry := range o.certificates {
		name := ""
		for _, n := range names {
			if strings.HasPrefix(entry, n+"=") && len(n) > len(name) {
				name = n
			}
		}
		if name == "" {
			return nil, cli.Usage(fmt.Errorf("--certificate %s: it takes KEY=FILE or KEY=THUMBPRINT, and the keys that signed are %s", safetext.Safe(entry, 200), session.SafeNames(names)))
		}
		all[name] = append(all[name], entry[len(name)+1:])
	}
	return all, nil
}

// configuredKey is a key of the configuration.
type configuredKey struct {
	session.KeyRule
	notation.Key
}

// configured are the keys of the configuration by name. With a ledger they may be missing.
func (o *policyOptions) configured(m *migrated, cfg session.Config) (map[string]configuredKey, error) {
	all := map[string]configuredKey{}
	if m.known != nil && len(cfg.Keys) == 0 && o.Key == "" && o.Plugin == "" {
		return all, nil
	}
	rules, err := o.Rules(cfg)
	if err != nil {
		return nil, err
	}
	for _, rule := range rules {
		k, err := rule.NotationKey()
		if err != nil {
			return nil, err
		}
		all[k.Name] = configuredKey{rule, k}
	}
	return all, nil
}

// chains are the certificate chains of a key: as given, or of its file.
func (o *policyOptions) chains(name string, given []string, file string, known *state.Fingerprint, cfg session.Config) ([][]*x509.Certificate, error) {
	recorded := ledgerChain(known, name)
	shown := safetext.Safe(name, 128)
	if len(given) == 0 && file == "" {
		hint := "give --certificate '" + shown + "=FILE', the chain in PEM, leaf first"
		if len(recorded) > 0 {
			hint = fmt.Sprintf("the ledger says that it is %s, SHA-256 %s. Compare that with what the key's owner says, and give --certificate '%s=sha256:<thumbprint>', or the chain in a file",
				safetext.Safe(recorded[0].Subject.String(), 200), policy.Thumbprint(recorded[0]), shown)
		}
		return nil, fmt.Errorf("key %s: its certificate is not given\nhint: %s", shown, hint)
	}
	if len(given) == 0 {
		given = []string{file}
	}
	var all [][]*x509.Certificate
	add := func(chain []*x509.Certificate) { // what is given twice is one
		if !slices.ContainsFunc(all, func(c []*x509.Certificate) bool { return slices.EqualFunc(c, chain, (*x509.Certificate).Equal) }) {
			all = append(all, chain)
		}
	}
	for _, value := range given {
		if thumbprint, meant, err := notation.ParseThumbprint(value); meant {
			if err != nil {
				return nil, cli.Usage(fmt.Errorf("key %s: %w", shown, err))
			}
			if len(recorded) == 0 {
				return nil, fmt.Errorf("key %s: no ledger has its chain\nhint: %s", shown, hintOfLedger(known, cfg))
			}
			if got := policy.Thumbprint(recorded[0]); got != thumbprint {
				return nil, fmt.Errorf("key %s: the ledger's certificate has SHA-256 %s, and not the one that was given", shown, got)
			}
			add(recorded)
			continue
		}
		chain, err := session.ReadCertificates(value)
		if err != nil {
			return nil, err
		}
		if chain[0].IsCA {
			return nil, fmt.Errorf("key %s: %s begins with an authority's certificate (%s), not the key's\nhint: leaf first, then what issued it, up to what is to be trusted",
				shown, safetext.Safe(value, 300), safetext.Safe(chain[0].Subject.String(), 200))
		}
		add(chain)
	}
	if known == nil && file != "" {
		own, err := session.ReadCertificates(file)
		if err != nil {
			return nil, err
		}
		if leaf := policy.Thumbprint(own[0]); !holds(all, leaf) {
			return nil, fmt.Errorf("key %s: it signs with the certificate of its own file, with SHA-256 %s, which is not among those that are given\nhint: leave out --certificate for this key; or give that one too, if it was renewed", shown, leaf)
		}
	}
	if leaf := leafOf(known, name); leaf != "" && !holds(all, leaf) {
		return nil, fmt.Errorf("key %s: the ledger's signatures are by the certificate with SHA-256 %s, which is not among those that are given\nhint: give that one instead; or too, if the key's certificate was renewed", shown, safetext.Safe(leaf, 80))
	}
	// In the order of time: that of the flags is to change nothing in what is written.
	slices.SortFunc(all, func(a, b []*x509.Certificate) int {
		return cmp.Or(a[0].NotBefore.Compare(b[0].NotBefore), slices.CompareFunc(a, b, func(a, b *x509.Certificate) int { return bytes.Compare(a.Raw, b.Raw) }))
	})
	return all, nil
}

// hintOfLedger says where a thumbprint finds its chain.
func hintOfLedger(known *state.Fingerprint, cfg session.Config) string {
	if known != nil {
		return "give the chain in a file"
	}
	ledger := "FILE"
	if s := cfg.Flags["state"]; len(s) == 1 {
		ledger = safetext.Safe(s[0], 300)
	}
	return "a thumbprint chooses the chain of a ledger: name that with --ledger " + ledger + "; or give the chain in a file"
}

// ledgerChain is what the ledger says of a key's certificate, which vouches for nothing.
func ledgerChain(known *state.Fingerprint, name string) []*x509.Certificate {
	text := recorded(known, name, func(s state.Signer) string { return string(bytes.Join(s.Chain, nil)) })
	chain, err := x509.ParseCertificates([]byte(text))
	if err != nil {
		return nil
	}
	return chain
}

// leafOf is the certificate that the ledger says signs with a key, by its thumbprint.
func leafOf(f *state.Fingerprint, name string) string {
	i, err := notation.ParseIdentity(recorded(f, name, func(s state.Signer) string { return s.Identity }))
	if err != nil {
		return "" // not recorded, or of no single certificate
	}
	return i.Leaf()
}

// authorityOf is the time-stamping authority that the ledger has of a key.
func authorityOf(f *state.Fingerprint, name string) string {
	return recorded(f, name, func(s state.Signer) string { return s.TSA })
}

// recorded is something that the ledger has of the key of a name. Of two keys with different values it says nothing.
func recorded(f *state.Fingerprint, name string, of func(state.Signer) string) (found string) {
	for _, s := range f.Named(name) {
		value := of(s)
		if found != "" && value != "" && found != value {
			return ""
		}
		found = cmp.Or(value, found)
	}
	return found
}
