package state

import (
	"maps"
	"slices"
	"strings"
)

// A Fingerprint says by name what configuration a run has: servers, pins, keys,
// the leaf certificate's thumbprint. No secrets: the ledger is not encrypted.
type Fingerprint map[string]string

// Fields that the ledger itself keeps in step: those of other names mean nothing to it.
const (
	// FieldIdentity begins the name of the field with the identity that signs with a key.
	FieldIdentity = "identity of "
	// FieldEarlier begins the name of the field with the identities that were accepted for the
	// key before, separated by commas, oldest first.
	FieldEarlier = "earlier identities of "
)

// take replaces fields by those of a run. An identity that is replaced is kept among the earlier
// ones of its key.
func (f Fingerprint) take(run Fingerprint) {
	for name, value := range run {
		key, ok := strings.CutPrefix(name, FieldIdentity)
		if was := f[name]; ok && was != "" && was != value {
			f.addEarlier(key, was)
		}
		f[name] = value
		if ok {
			f.setEarlier(key, f.without(key, value))
		}
	}
}

// addEarlier notes an identity as the latest of a key's earlier ones.
func (f Fingerprint) addEarlier(key, identity string) {
	f.setEarlier(key, append(f.without(key, identity), identity))
}

func (f Fingerprint) setEarlier(key string, all []string) {
	if len(all) == 0 {
		delete(f, FieldEarlier+key)
		return
	}
	f[FieldEarlier+key] = strings.Join(all, ",")
}

// without are the earlier identities of a key but for one.
func (f Fingerprint) without(key, identity string) []string {
	return slices.DeleteFunc(f.Earlier(key), func(i string) bool { return i == identity })
}

// Earlier returns the identities that were accepted for a key before, oldest first.
func (f Fingerprint) Earlier(key string) []string {
	if f[FieldEarlier+key] == "" {
		return nil
	}
	return strings.Split(f[FieldEarlier+key], ",")
}

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
		merged.take(f)
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
		if f, _, err = t.fingerprint(); err == nil && l.schema < 2 && f != nil {
			f, err = t.fingerprint2(f)
		}
		return err
	})
	return f, err
}
