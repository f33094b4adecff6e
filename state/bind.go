package state

import (
	"maps"
	"slices"
	"strings"
)

// A Fingerprint says by name what configuration a run has: servers, pins, keys,
// the leaf certificate's thumbprint. No secrets: the ledger is not encrypted.
type Fingerprint map[string]string

// Bind ties the ledger to a configuration. The first one is stored. Another one
// later is a *FingerprintError, unless force is given: then it replaces the
// stored one and leaves an event.
func (l *Ledger) Bind(f Fingerprint, force bool) error {
	f = maps.Clone(f) // the caller may go on using its map while the writer reads
	return l.do(func(b *batch) error {
		stored, bound, err := b.fingerprint()
		if err != nil {
			return err
		}
		fields := f.differences(stored)
		if bound && len(fields) == 0 {
			return nil
		}
		if bound && !force {
			return refusal{&FingerprintError{Fields: fields}}
		}
		err = b.put(bucketMeta, keyFingerprint, fingerprintRecord{stamp: stamp{recordV}, Fields: f})
		if err != nil || !bound {
			return err
		}
		return b.log(Event{Kind: EventRebound, Reason: bounded("changed: "+strings.Join(fields, ", "), MaxReason)})
	})
}

// Fingerprint returns the configuration that the ledger is tied to, nil if it
// has not been bound yet.
func (l *Ledger) Fingerprint() (Fingerprint, error) {
	var f Fingerprint
	err := l.view(func(t *table) (err error) {
		f, _, err = t.fingerprint()
		return err
	})
	return f, err
}

// differences names the fields that are not the same in both, sorted.
func (f Fingerprint) differences(other Fingerprint) []string {
	names := map[string]bool{}
	for _, m := range []Fingerprint{f, other} {
		for name := range m {
			a, inF := f[name]
			b, inOther := other[name]
			if inF != inOther || a != b {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
