package state

import (
	"maps"
	"slices"
	"strings"
)

// A Fingerprint says by name what configuration a run has: servers, pins, keys,
// the leaf certificate's thumbprint. No secrets: the ledger is not encrypted.
type Fingerprint map[string]string

// Bind ties the ledger to a configuration. A field that was stored with another value is
// a *FingerprintError, unless force is given: then the new value replaces it and an event
// is left. A field that is new is stored beside the others, since a further repository or
// pin is no other configuration; one that is missing stays as it was.
func (l *Ledger) Bind(f Fingerprint, force bool) error {
	f = maps.Clone(f) // the caller may go on using its map while the writer reads
	return l.do(func(b *batch) error {
		stored, _, err := b.fingerprint()
		if err != nil {
			return err
		}
		changed := f.differences(stored)
		if len(changed) > 0 && !force {
			return refusal{&FingerprintError{Fields: changed}}
		}
		merged := maps.Clone(stored)
		if merged == nil {
			merged = Fingerprint{}
		}
		maps.Copy(merged, f)
		if maps.Equal(merged, stored) {
			return nil
		}
		err = b.put(bucketMeta, keyFingerprint, fingerprintRecord{stamp: stamp{recordV}, Fields: merged})
		if err != nil || len(changed) == 0 {
			return err
		}
		return b.log(Event{Kind: EventRebound, Reason: bounded("changed: "+strings.Join(changed, ", "), MaxReason)})
	})
}

// Check returns the *FingerprintError that a ledger bound to f would have for another
// configuration, or nil.
func (f Fingerprint) Check(other Fingerprint) error {
	if changed := other.differences(f); len(changed) > 0 {
		return &FingerprintError{Fields: changed}
	}
	return nil
}

// differences names the fields that both have, with different values, sorted.
func (f Fingerprint) differences(other Fingerprint) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if value, ok := other[name]; ok && value != f[name] {
			names = append(names, name)
		}
	}
	return names
}

// Fingerprint returns the configuration that the ledger is tied to, nil if it has not
// been bound yet.
func (l *Ledger) Fingerprint() (Fingerprint, error) {
	var f Fingerprint
	err := l.view(func(t *table) (err error) {
		f, _, err = t.fingerprint()
		return err
	})
	return f, err
}
