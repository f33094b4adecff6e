package policy

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/notation"
)

// Given says where the keys' certificates are. The user or notation's own configuration vouches for them, never the
// ledger: anyone who can write to it could have their own signatures trusted.
type Given struct {
	Certificates []string              // KEY=FILE, or KEY=THUMBPRINT for the ledger's chain
	Dedicated    []string              // names of keys whose authority issues only to them
	Keys         map[string]Configured // by name; may be missing with a ledger
	TSARoot      string                // file with the authority's root, for keys not in the configuration
	State        string                // the ledger that the user could name; empty if unknown

	Read func(path string) ([]*x509.Certificate, error)
	Now  time.Time
}

// Configured is a key in the configuration.
type Configured struct {
	CertFile string // file with its chain; empty if it has none of its own
	TSARoot  string // file with the root of the authority that countersigns; empty if none does

	// Identity is the key's identity, with its root and plugin, if it outlives its certificates. It is zero if the
	// key is known by its certificate.
	Identity notation.Identity
	Root     *x509.Certificate
	Plugin   string
}

// ReadTSA returns the root of the authority that countersigns, if there is one.
func (c Configured) ReadTSA(read func(path string) ([]*x509.Certificate, error)) ([]*x509.Certificate, error) {
	if c.TSARoot == "" {
		return nil, nil
	}
	return read(c.TSARoot)
}

// Key returns the key with that name, known by its identity that outlives certificates. A signing profile needs no
// time-stamping authority: its service says when it signed.
func (c Configured) Key(name string, dedicated bool, tsa []*x509.Certificate) Key {
	k := Key{Name: name, Chain: []*x509.Certificate{c.Root}, Identity: c.Identity, Plugin: c.Plugin, Dedicated: dedicated}
	if !k.byProfile() {
		k.TSA = tsa
	}
	return k
}

// unshown begins a warning about each key at the stage enforce: from then on, images that it did not sign are
// refused.
const unshown = "without a ledger nothing shows that this key signed: "

// Certificates finds the certificates of each key that signed. Its errors are about g.
func (m *Migrated) Certificates(g Given, stage Stage) (map[string][]Key, error) {
	names := m.keys()
	given, err := g.byName(names)
	if err != nil {
		return nil, err
	}
	for _, name := range g.Dedicated {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("--dedicated-ca: no key %s signed images of these repositories; the keys that did are %s", safetext.Safe(name, 128), safetext.Names(names))
		}
	}
	all := map[string][]Key{}
	for _, name := range names {
		configured, known := g.Keys[name]
		if err := m.checkIdentity(name, configured.Identity, len(given[name]) > 0); err != nil {
			return nil, err
		}
		if configured.Identity.Renews() {
			k, err := m.renewing(name, configured, g)
			if err != nil {
				return nil, err
			}
			if m.recorded == nil && stage == Enforce {
				m.Problem(unshown+"compare its identity, or name the ledger with --ledger", "key", safetext.Safe(name, 128), "identity", configured.Identity.Title())
			}
			all[name] = []Key{k}
			continue
		}
		chains, err := m.chains(name, given[name], configured.CertFile, g)
		if err != nil {
			return nil, err
		}
		if m.recorded == nil && stage == Enforce {
			m.Problem(unshown+"compare the thumbprint of its certificate, or name the ledger with --ledger", "key", safetext.Safe(name, 128), "SHA-256", Thumbprint(chains[0][0]))
		}
		m.tellOthers(name, chains)
		m.tellStrangers(name, chains)
		root := g.TSARoot
		if known {
			root = configured.TSARoot
		}
		var tsa []*x509.Certificate
		if root != "" {
			if tsa, err = g.Read(root); err != nil {
				return nil, err
			}
		} else if u := m.authorityOf(name); u != "" {
			m.log.Warn("signatures are timestamped, and the root of the time-stamping authority is not given: they are refused once the certificate has expired; give --timestamp-root-cert", "key", safetext.Safe(name, 128), "authority", safetext.Safe(u, 200))
		}
		for _, chain := range chains {
			all[name] = append(all[name], Key{Name: name, Chain: chain, TSA: tsa, Dedicated: slices.Contains(g.Dedicated, name)})
			m.log.Info("key", "name", safetext.Safe(name, 128), "leaf", Thumbprint(chain[0]), "subject", safetext.Safe(chain[0].Subject.String(), 200))
			m.tellAge(name, chain, len(tsa) > 0, g.Now)
		}
	}
	return all, nil
}

// checkIdentity returns an error unless a key's identity in the configuration is the ledger's, if either outlives
// certificates. A ledger alone gives no identity.
func (m *Migrated) checkIdentity(name string, configured notation.Identity, certificates bool) error {
	shown := safetext.Safe(name, 128)
	if configured.Renews() && certificates {
		return fmt.Errorf("key %s: its identity is not that of a certificate, but %s\nhint: leave out --certificate for this key", shown, configured.Title())
	}
	if m.recorded == nil {
		return nil
	}
	for _, r := range m.recorded(name) {
		recorded, err := notation.ParseIdentity(r.Identity)
		switch {
		case err != nil:
		case recorded.Renews() && !configured.Renews():
			return fmt.Errorf("key %s: the ledger's signatures are those of %s, which a ledger alone does not vouch for\nhint: give the key's identity as the runs had it, in the file of --config (identity, key-root and its other parts)", shown, recorded.Title())
		case configured.Renews() && !recorded.Equal(configured):
			return fmt.Errorf("key %s: the ledger's signatures are those of %s, and the configuration says %s\nhint: give the configuration of the runs that signed", shown, recorded.Title(), configured.Title())
		}
	}
	return nil
}

// tellEarlier warns of images that were signed before a key had the identity that outlives certificates.
func (m *Migrated) tellEarlier(name string) {
	if m.recorded == nil {
		return
	}
	for _, r := range m.recorded(name) {
		for _, text := range r.Earlier {
			earlier, err := notation.ParseIdentity(text)
			n := m.leaves[name][earlier.Leaf()]
			switch {
			case err != nil:
			case n > 0:
				m.Problem("images are signed by a certificate of before the key's present identity, and are refused if that is not one of the identity: have the images signed again",
					"key", safetext.Safe(name, 128), "SHA-256", earlier.Leaf(), "images", n)
			case earlier.Renews():
				m.Problem("the key had another identity before, and images that are signed as such are refused: dct2notation verify with this policy shows which; have them signed again", "key", safetext.Safe(name, 128), "identity", earlier.Title())
			}
		}
	}
}

// renewing returns a key whose identity outlives its certificates.
func (m *Migrated) renewing(name string, c Configured, g Given) (Key, error) {
	tsa, err := c.ReadTSA(g.Read)
	if err != nil {
		return Key{}, err
	}
	m.tellEarlier(name)
	m.log.Info("key", "name", safetext.Safe(name, 128), "identity", c.Identity.Title())
	return c.Key(name, slices.Contains(g.Dedicated, name), tsa), nil
}

// byName returns the given certificates by key name.
func (g Given) byName(names []string) (map[string][]string, error) {
	all := map[string][]string{}
	for _, entry := range g.Certificates {
		name := ""
		for _, n := range names {
			if strings.HasPrefix(entry, n+"=") && len(n) > len(name) {
				name = n
			}
		}
		if name == "" {
			return nil, fmt.Errorf("--certificate %s: it takes KEY=FILE or KEY=THUMBPRINT, and the keys that signed are %s", safetext.Safe(entry, 200), safetext.Names(names))
		}
		all[name] = append(all[name], entry[len(name)+1:])
	}
	return all, nil
}

// chains returns the certificate chains of a key: the given ones, or those in its file.
func (m *Migrated) chains(name string, given []string, file string, g Given) ([][]*x509.Certificate, error) {
	recorded := m.chainOf(name)
	shown := safetext.Safe(name, 128)
	if len(given) == 0 && file == "" {
		hint := "give --certificate '" + shown + "=FILE', the chain in PEM, leaf first"
		if len(recorded) > 0 {
			hint = fmt.Sprintf("the ledger says that it is %s, SHA-256 %s. Compare that with what the key's owner says, and give --certificate '%s=sha256:<thumbprint>', or the chain in a file",
				safetext.Safe(recorded[0].Subject.String(), 200), Thumbprint(recorded[0]), shown)
		}
		return nil, fmt.Errorf("key %s: its certificate is not given\nhint: %s", shown, hint)
	}
	if len(given) == 0 {
		given = []string{file}
	}
	var all [][]*x509.Certificate
	for _, value := range given {
		chain, err := m.chain(shown, value, recorded, g)
		if err != nil {
			return nil, err
		}
		// Drop duplicates.
		if !slices.ContainsFunc(all, func(c []*x509.Certificate) bool { return slices.EqualFunc(c, chain, (*x509.Certificate).Equal) }) {
			all = append(all, chain)
		}
	}
	if m.recorded == nil && file != "" {
		own, err := g.Read(file)
		if err != nil {
			return nil, err
		}
		if leaf := Thumbprint(own[0]); !holds(all, leaf) {
			return nil, fmt.Errorf("key %s: it signs with the certificate of its own file, with SHA-256 %s, which is not among those that are given\nhint: leave out --certificate for this key; or give that one too, if it was renewed", shown, leaf)
		}
	}
	if leaf := m.leafOf(name); leaf != "" && !holds(all, leaf) {
		return nil, fmt.Errorf("key %s: the ledger's signatures are by the certificate with SHA-256 %s, which is not among those that are given\nhint: give that one instead; or too, if the key's certificate was renewed", shown, safetext.Safe(leaf, 80))
	}
	// Sort by time, so that the order of flags does not change the output.
	slices.SortFunc(all, func(a, b []*x509.Certificate) int {
		return cmp.Or(a[0].NotBefore.Compare(b[0].NotBefore), slices.CompareFunc(a, b, func(a, b *x509.Certificate) int { return bytes.Compare(a.Raw, b.Raw) }))
	})
	return all, nil
}

// chain returns the chain that a value names: a file, or the thumbprint that the ledger's chain must have.
func (m *Migrated) chain(shown, value string, recorded []*x509.Certificate, g Given) ([]*x509.Certificate, error) {
	if thumbprint, meant, err := notation.ParseThumbprint(value); meant {
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", shown, err)
		}
		if len(recorded) == 0 {
			return nil, fmt.Errorf("key %s: no ledger has its chain\nhint: %s", shown, m.hintOfLedger(g.State))
		}
		if got := Thumbprint(recorded[0]); got != thumbprint {
			return nil, fmt.Errorf("key %s: the ledger's certificate has SHA-256 %s, and not the one that was given", shown, got)
		}
		return recorded, nil
	}
	chain, err := g.Read(value)
	if err != nil {
		return nil, err
	}
	if chain[0].IsCA {
		return nil, fmt.Errorf("key %s: %s begins with a CA certificate (%s), not the key's\nhint: leaf first, then what issued it, up to what is to be trusted",
			shown, safetext.Safe(value, 300), safetext.Safe(chain[0].Subject.String(), 200))
	}
	return chain, nil
}

// hintOfLedger says where to find the chain for a thumbprint.
func (m *Migrated) hintOfLedger(file string) string {
	if m.recorded != nil {
		return "give the chain in a file"
	}
	return "a thumbprint chooses the chain of a ledger: name that with --ledger " + safetext.Safe(cmp.Or(file, "FILE"), 300) + "; or give the chain in a file"
}

// tellAge warns when certificates end: at the stage enforce, everything they signed is refused from then on.
func (m *Migrated) tellAge(name string, chain []*x509.Certificate, stamped bool, now time.Time) {
	end := notation.SigningEnds(chain)
	after := "signatures without a timestamp are refused after that"
	if stamped {
		after = "signatures that are not countersigned are refused after that"
	}
	if begin := chain[0].NotBefore; begin.After(now) {
		m.log.Warn("certificate is not valid yet: what it signs is refused before", "key", safetext.Safe(name, 128), "on", begin.UTC().Format(time.DateOnly))
	}
	switch date := end.UTC().Format(time.DateOnly); {
	case end.Before(now):
		m.log.Warn("certificate has expired: "+after, "key", safetext.Safe(name, 128), "on", date)
	case end.Before(now.Add(notation.Soon)):
		m.log.Warn("certificate expires soon: "+after, "key", safetext.Safe(name, 128), "on", date)
	}
}

// tellOthers warns of certificates that signed but are not given: what they signed is refused if certificates are
// pinned, or if their subject differs.
func (m *Migrated) tellOthers(name string, chains [][]*x509.Certificate) {
	for _, leaf := range slices.Sorted(maps.Keys(m.leaves[name])) {
		if !holds(chains, leaf) {
			m.Problem("images are signed by another certificate of the key, which was not given, and may be refused: give it with --certificate too, or have the images signed again",
				"key", safetext.Safe(name, 128), "SHA-256", safetext.Safe(leaf, 80), "images", m.leaves[name][leaf])
		}
	}
}

// tellStrangers warns of given certificates that signed nothing the ledger knows of. A renewed one is given before it
// signs, so that it is not refused; but a wrong one makes a stranger trusted.
func (m *Migrated) tellStrangers(name string, chains [][]*x509.Certificate) {
	if m.recorded == nil {
		return
	}
	last := m.leafOf(name)
	for _, c := range chains {
		if leaf := Thumbprint(c[0]); leaf != last && !m.signer[name][leaf] {
			m.Problem("a given certificate has signed nothing in the ledger, and is trusted from now on: right if the key's certificate was renewed; else leave it out and write the policy again",
				"key", safetext.Safe(name, 128), "SHA-256", leaf, "subject", safetext.Safe(c[0].Subject.String(), 200))
		}
	}
}

// holds reports whether one of the chains has that leaf.
func holds(chains [][]*x509.Certificate, leaf string) bool {
	return slices.ContainsFunc(chains, func(c []*x509.Certificate) bool { return Thumbprint(c[0]) == leaf })
}
