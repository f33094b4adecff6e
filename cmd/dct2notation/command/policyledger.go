package command

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/notation/policy"
	"github.com/dct2notation/dct2notation/state"
)

// fromLedger finds what runs have signed. That the ledger is not forged is not known: it can
// leave repositories out, or add some, and has no say about whose signatures are good.
func (o *policyOptions) fromLedger(m *migrated, cfg session.Config, args []string, log *slog.Logger) error {
	sel, err := session.SelectRecorded(args, cfg)
	if err != nil {
		return cli.Usage(err)
	}
	if i := slices.IndexFunc(args, func(a string) bool { return strings.Contains(a, "@") }); i >= 0 {
		return cli.Usage(fmt.Errorf("%s names one image, and a policy is for repositories", safetext.Safe(args[i], 256)))
	}
	ledger, err := session.ReadLedger(o.ledger, log)
	if err != nil {
		return err
	}
	defer func() { _ = ledger.Close() }() // only read from
	if ledger.Behind != "" {
		m.problem(log, ledger.Behind+": what was signed since is left out")
	}
	m.known, m.images = ledger.Known, map[string]map[string]int{}
	if _, err := sel.Hosts(ledger.Ledger); err != nil {
		return err
	}
	for _, name := range sel.Absent {
		m.problem(log, "left out: the ledger has no image of it", "repository", safetext.Safe(name, 256))
	}
	if err := m.readHistory(ledger.Ledger); err != nil {
		return err
	}
	return m.readItems(ledger.Ledger, sel.Meant, log)
}

// readItems takes in what is signed, and tells of what is not.
func (m *migrated) readItems(ledger *state.Ledger, meant func(state.Item) bool, log *slog.Logger) error {
	left, open, undone, gone := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{} // images that are not confirmed, by place
	for after := (state.Key{}); ; {
		page, err := ledger.Items(after, 0)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		after = page[len(page)-1].Key
		for _, it := range page {
			switch {
			case !meant(it):
			case it.Stage == state.Confirmed:
				m.add(it.Repository, it.GUN, it.KeyName)
				m.note(it)
			case it.Class == string(failure.Missing): // nobody can run it
				gone[it.Repository]++
			default:
				left[it.Repository]++
				switch {
				case it.Stage != state.Skipped:
					open[it.Repository]++
				case it.Class == state.ClassUndone:
					undone[it.Repository]++
				}
			}
		}
	}
	for _, place := range slices.Sorted(maps.Keys(left)) {
		if m.signed[place] == nil {
			m.problem(log, "left out: none of its images is signed", "repository", safetext.Safe(place, 256), "images", left[place])
			continue
		}
		if n := open[place]; n > 0 { // a run has begun with them
			m.problem(log, "images that are to be signed are not yet, and are refused: run again first", "repository", safetext.Safe(place, 256), "images", n)
		}
		if n := undone[place]; n > 0 {
			log.Warn("images whose signatures undo has deleted are refused, until a run signs them again: it does so unless DCT has withdrawn them", "repository", safetext.Safe(place, 256), "images", n)
		}
		if n := left[place] - open[place] - undone[place]; n > 0 { // and has a reason not to
			log.Warn("images without a signature would be refused", "repository", safetext.Safe(place, 256), "images", n)
		}
		m.notes = append(m.notes, fmt.Sprintf("%s: %d of its images had no signature when this was written, and are refused: dct2notation plan shows which.", safetext.Safe(place, 256), left[place]))
	}
	for _, place := range slices.Sorted(maps.Keys(gone)) {
		if m.signed[place] == nil && left[place] == 0 {
			log.Warn("left out: all of its images are gone from the registry", "repository", safetext.Safe(place, 256), "images", gone[place])
		}
	}
	return nil
}

// readHistory finds the signatures by other certificates than the last of their key.
func (m *migrated) readHistory(ledger *state.Ledger) error {
	m.odd, m.leaves, m.signer = map[string]string{}, map[string]map[string]int{}, map[string]map[string]bool{}
	last := map[string]string{}
	for seq := uint64(0); ; {
		page, err := ledger.Events(seq, 0)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		for _, e := range page {
			seq = e.Seq
			if e.Kind != state.EventSigned {
				continue
			}
			name := e.Item.KeyName
			if _, ok := last[name]; !ok {
				last[name] = leafOf(m.known, name)
				m.signer[name] = map[string]bool{}
			}
			m.signer[name][e.LeafThumbprint] = true
			if e.LeafThumbprint != last[name] {
				m.odd[e.Signature] = e.LeafThumbprint
			}
		}
	}
}

// note counts a signature by its place, and by the certificate that made it.
func (m *migrated) note(it state.Item) {
	if m.images[it.Repository] == nil {
		m.images[it.Repository] = map[string]int{}
	}
	m.images[it.Repository][it.KeyName]++
	leaf, ok := m.odd[it.Signature]
	if !ok {
		return
	}
	if m.leaves[it.KeyName] == nil {
		m.leaves[it.KeyName] = map[string]int{}
	}
	m.leaves[it.KeyName][leaf]++
}

// tellOthers tells of certificates that signed and are not given: what they signed is refused
// where certificates are pinned, and where the subject was another.
func (m *migrated) tellOthers(name string, chains [][]*x509.Certificate, log *slog.Logger) {
	for _, leaf := range slices.Sorted(maps.Keys(m.leaves[name])) {
		if !holds(chains, leaf) {
			m.problem(log, "images are signed by another certificate of the key, which is not given, and may be refused: give it with --certificate too, or have them signed again",
				"key", safetext.Safe(name, 128), "SHA-256", safetext.Safe(leaf, 80), "images", m.leaves[name][leaf])
		}
	}
}

// tellStrangers tells of certificates that are given and have signed nothing that the ledger
// knows of. One that was renewed is given before it signs, so that it is not refused; but who
// gives a wrong one has a stranger trusted.
func (m *migrated) tellStrangers(name string, chains [][]*x509.Certificate, log *slog.Logger) {
	if m.known == nil {
		return
	}
	last := leafOf(m.known, name)
	for _, c := range chains {
		if leaf := policy.Thumbprint(c[0]); leaf != last && !m.signer[name][leaf] {
			m.problem(log, "a certificate that is given has signed nothing in the ledger, and is trusted from now on: right if it is the key's renewed one, else leave it out and write this anew",
				"key", safetext.Safe(name, 128), "SHA-256", leaf, "subject", safetext.Safe(c[0].Subject.String(), 200))
		}
	}
}

// holds reports whether one of the chains is that of a leaf.
func holds(chains [][]*x509.Certificate, leaf string) bool {
	return slices.ContainsFunc(chains, func(c []*x509.Certificate) bool { return policy.Thumbprint(c[0]) == leaf })
}
