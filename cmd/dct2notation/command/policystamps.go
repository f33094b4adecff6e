package command

import (
	"log/slog"
	"slices"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/notation/policy"
	"github.com/dct2notation/dct2notation/state"
)

// stamped reports whether a run with the ledger may have had signatures of a key countersigned.
// The ledger has the authority from the first such run on and never loses it, and says of no
// single signature whether it was: those of before, and those of later runs without, are not
// told apart.
func (m *migrated) stamped(name string) bool {
	return slices.ContainsFunc(m.known.Named(name), func(s state.Signer) bool { return s.TSA != "" })
}

// tellUnstamped tells of images that a consumer refuses because it asks every signature for a
// timestamp, once it is told of an authority. Without a ledger nothing is known of them.
func (m *migrated) tellUnstamped(consumer string, t policy.Trust, log *slog.Logger) {
	each := consumer == "kyverno" && !t.ClusterPolicy // asks for those of the keys that have an authority
	all := consumer == "ratify-v2"                    // and this one for those of all, if one has
	if m.known == nil || !each && !all {
		return
	}
	images := map[string]int{}
	for _, s := range t.Statements {
		asked := func(k policy.Key) bool { return len(k.TSA) > 0 }
		some := slices.ContainsFunc(s.Keys, asked)
		told := map[string]bool{} // a key whose certificate was renewed is there twice
		for _, k := range s.Keys {
			if m.stamped(k.Name) || told[k.Name] || !asked(k) && !(all && some) {
				continue
			}
			told[k.Name] = true
			for _, place := range s.Repositories {
				images[k.Name] += m.images[place][k.Name]
			}
		}
	}
	for _, name := range m.keys() {
		if images[name] > 0 {
			m.problem(log, "images are refused: it asks for timestamps, and no run had signatures of the key countersigned: leave out --timestamp-root-cert, or have them signed again with --timestamp-url",
				"consumer", consumer, "key", safetext.Safe(name, 128), "images", images[name])
		}
	}
}
