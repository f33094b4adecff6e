package state

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// A Fingerprint is the configuration that a ledger belongs to: servers, pins and keys, and which identities were
// accepted for each key. It has no secrets, since the ledger is not encrypted. It is nil for a ledger that is not
// bound yet.
//
// The ledger stores it as named fields, in the version of its record. Each field is compared separately: a new field
// does not make it another configuration, and a missing one stays as it was. Only this file knows the names. Fields
// of other names are kept and compared like the rest.
type Fingerprint struct {
	// Keys lists all keys with their roles and repositories, in one field: replacing a key makes another
	// configuration.
	Keys    string
	Signers map[string]Signer // by KeyID

	Pins          map[string][]string // ids of root keys, by repository or pattern
	RootKeys      map[string][]string // like Pins, but pinned as bare keys
	Authorities   map[string]string   // thumbprints of pinned authorities, by prefix
	NotaryServers map[string]string   // URLs, by registry host

	Shard string // "I/N": the ledger's part of the repositories; empty: all

	other fields
}

// A Signer is what the ledger stores about a key.
type Signer struct {
	Identity string   // whose signatures are the key's
	Earlier  []string // identities accepted before, oldest first; kept by Bind
	Chain    [][]byte // DER, leaf first
	Renews   bool     // the identity outlives the chain, so a new chain is the same configuration
	TSA      string   // URL of the time-stamping authority; stays once it is known
}

// KeyID names a key in a fingerprint, by its name and location.
func KeyID(name string, where ...string) string {
	return strings.Join(append([]string{name}, where...), " ")
}

// hasName reports whether a KeyID is for a key of that name. A name may contain spaces.
func hasName(id, name string) bool { return strings.HasPrefix(id, name+" ") }

// Named returns the signers of that name, in the order of their ids: a moved key appears twice.
func (f *Fingerprint) Named(name string) (all []Signer) {
	if f == nil {
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(f.Signers)) {
		if hasName(id, name) {
			all = append(all, f.Signers[id])
		}
	}
	return all
}

// Pin returns what a field of a *FingerprintError pins, and the ids of root keys it is pinned to. The name is empty
// if the field is not a root pin.
func (f *Fingerprint) Pin(field string) (name string, ids []string) {
	if name, ok := strings.CutPrefix(field, fieldPin); ok {
		return name, f.Pins[name]
	}
	if name, ok := strings.CutPrefix(field, fieldRootKeys); ok {
		return name, f.RootKeys[name]
	}
	return "", nil
}

// Check returns the *FingerprintError, or nil, for binding a ledger with fingerprint f to another configuration.
func (f *Fingerprint) Check(other *Fingerprint) error {
	if changed := other.fields().differences(f.fields()); len(changed) > 0 {
		return &FingerprintError{Fields: changed}
	}
	return nil
}

// Bind ties the ledger to a configuration. A field that differs from the stored value is a *FingerprintError, unless
// force is given: then the new value replaces it and an event is recorded. A new field is stored beside the others,
// since a further repository or pin is no other configuration. A missing field stays as it was. A ledger that is
// still empty, as after a first run with a wrong address, can be bound again.
func (l *Ledger) Bind(f *Fingerprint, force bool) error {
	run := f.fields() // the caller may go on using its value while the writer reads
	return l.do(func(b *batch) error {
		stored, _, err := b.fingerprint()
		if err != nil {
			return err
		}
		if b.unused() {
			stored = nil
		}
		changed := run.differences(stored)
		if len(changed) > 0 && !force {
			return refusal{&FingerprintError{Fields: changed}}
		}
		merged := maps.Clone(stored)
		if merged == nil {
			merged = fields{}
		}
		merged.take(run)
		if maps.Equal(merged, stored) {
			return nil
		}
		err = b.put(bucketMeta, keyFingerprint, fingerprintRecord{stamp: stamp{recordV}, Fields: merged})
		if err == nil {
			err = b.logRenewals(stored, merged)
		}
		if err != nil || len(changed) == 0 {
			return err
		}
		return b.log(Event{Kind: EventRebound, Reason: bounded("changed: "+strings.Join(changed, ", "), MaxReason)})
	})
}

// unused reports whether nothing in the ledger depends on its configuration.
func (b *batch) unused() bool {
	for _, name := range []string{bucketItems, bucketRepositories} {
		if key, _ := b.tx.Bucket([]byte(name)).Cursor().First(); key != nil {
			return false
		}
	}
	return b.tally.Events == 0
}

// Renewed stores the chain with which a key signs now, if its identity renews it, and records an event. id is a KeyID
// of the ledger's fingerprint.
func (l *Ledger) Renewed(id string, chain [][]byte) error {
	return l.do(func(b *batch) error {
		stored, _, err := b.fingerprint()
		if err != nil {
			return err
		}
		merged := maps.Clone(stored)
		if merged == nil || merged[fieldLastChain+id] == encodeChain(chain) {
			return nil
		}
		merged[fieldLastChain+id] = encodeChain(chain)
		if err := b.put(bucketMeta, keyFingerprint, fingerprintRecord{stamp: stamp{recordV}, Fields: merged}); err != nil {
			return err
		}
		return b.logRenewals(stored, merged)
	})
}

// logRenewals records an event for each chain that replaced another of the same identity.
func (b *batch) logRenewals(was, now fields) error {
	for _, name := range slices.Sorted(maps.Keys(now)) {
		id, ok := strings.CutPrefix(name, fieldLastChain)
		if !ok || was[name] == "" || was[name] == now[name] {
			continue
		}
		chain, _ := decodeChain(now[name])
		if err := b.log(Event{Kind: EventRenewed, Reason: bounded("key "+id, MaxReason), Chain: chain}); err != nil {
			return err
		}
	}
	return nil
}

// Fingerprint returns the configuration that the ledger is tied to, or nil if it is not bound yet.
func (l *Ledger) Fingerprint() (*Fingerprint, error) {
	var stored fields
	err := l.view(func(t *table) (err error) {
		if stored, _, err = t.fingerprint(); err == nil && l.schema < 2 && stored != nil {
			stored, err = t.fingerprint2(stored)
		}
		return err
	})
	if err != nil || stored == nil {
		return nil, err
	}
	return stored.typed(), nil
}

// fields is a fingerprint as the ledger stores it.
type fields map[string]string

// Names of fields, or prefixes that what the field is about follows.
const (
	fieldKeys          = "keys"
	fieldIdentity      = "identity of "
	fieldEarlier       = "earlier identities of "
	fieldChain         = "chain of "
	fieldLastChain     = "last chain of " // for an identity that renews it; never compared
	fieldTSA           = "time-stamping authority of "
	fieldPin           = "pin of "
	fieldRootKeys      = "pinned root keys of "
	fieldAuthorities   = "authorities pinned for "
	fieldNotaryServers = "notary server of "
	fieldShard         = "shard"
)

// listSeparator separates a field's values. Neither identities nor key ids contain it.
const listSeparator = ","

// fields returns the fingerprint as the ledger stores it. Empty values are left out.
func (f *Fingerprint) fields() fields {
	all := fields{}
	if f == nil {
		return all
	}
	put := func(name, value string) {
		if value != "" {
			all[name] = value
		}
	}
	put(fieldKeys, f.Keys)
	put(fieldShard, f.Shard)
	for id, s := range f.Signers {
		put(fieldIdentity+id, s.Identity)
		put(fieldEarlier+id, strings.Join(s.Earlier, listSeparator))
		put(fieldTSA+id, s.TSA)
		if s.Chain != nil {
			name := fieldChain
			if s.Renews {
				name = fieldLastChain
			}
			all[name+id] = encodeChain(s.Chain)
		}
	}
	for name, ids := range f.Pins {
		all[fieldPin+name] = strings.Join(ids, listSeparator)
	}
	for name, ids := range f.RootKeys {
		all[fieldRootKeys+name] = strings.Join(ids, listSeparator)
	}
	for prefix, thumbprints := range f.Authorities {
		all[fieldAuthorities+prefix] = thumbprints
	}
	for host, url := range f.NotaryServers {
		all[fieldNotaryServers+host] = url
	}
	maps.Copy(all, f.other)
	return all
}

// typed converts fields to a Fingerprint. It loses nothing: a field that it could not convert back unchanged goes to
// the others.
func (stored fields) typed() *Fingerprint {
	f := &Fingerprint{
		Keys: stored[fieldKeys], Shard: stored[fieldShard], Signers: map[string]Signer{}, Pins: map[string][]string{}, RootKeys: map[string][]string{},
		Authorities: map[string]string{}, NotaryServers: map[string]string{}, other: fields{},
	}
	for name, value := range stored {
		f.set(name, value)
	}
	given := f.fields()
	for name, value := range stored {
		if got, ok := given[name]; !ok || got != value {
			f.other[name] = value
		}
	}
	return f
}

func (f *Fingerprint) set(name, value string) {
	is := func(prefix string) (of string, ok bool) { return strings.CutPrefix(name, prefix) }
	if id, ok := is(fieldIdentity); ok {
		f.change(id, func(s *Signer) { s.Identity = value })
	} else if id, ok := is(fieldEarlier); ok {
		f.change(id, func(s *Signer) { s.Earlier = list(value) })
	} else if id, ok := is(fieldChain); ok {
		if chain, ok := decodeChain(value); ok {
			f.change(id, func(s *Signer) { s.Chain = chain })
		}
	} else if id, ok := is(fieldLastChain); ok {
		if chain, ok := decodeChain(value); ok {
			f.change(id, func(s *Signer) { s.Chain, s.Renews = chain, true })
		}
	} else if id, ok := is(fieldTSA); ok {
		f.change(id, func(s *Signer) { s.TSA = value })
	} else if of, ok := is(fieldPin); ok {
		f.Pins[of] = list(value)
	} else if of, ok := is(fieldRootKeys); ok {
		f.RootKeys[of] = list(value)
	} else if of, ok := is(fieldAuthorities); ok {
		f.Authorities[of] = value
	} else if of, ok := is(fieldNotaryServers); ok {
		f.NotaryServers[of] = value
	}
}

func encodeChain(chain [][]byte) string {
	raw, _ := json.Marshal(chain) // bytes always encode
	return string(raw)
}

// decodeChain decodes a chain. It returns false if the chain is unusable.
func decodeChain(value string) (chain [][]byte, ok bool) {
	return chain, json.Unmarshal([]byte(value), &chain) == nil
}

func (f *Fingerprint) change(id string, change func(*Signer)) {
	s := f.Signers[id]
	change(&s)
	f.Signers[id] = s
}

// list returns the values of a field.
func list(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, listSeparator)
}

// take replaces fields by those of a run. It keeps a replaced identity among the key's earlier ones.
func (stored fields) take(run fields) {
	for name, value := range run {
		key, ok := strings.CutPrefix(name, fieldIdentity)
		if was := stored[name]; ok && was != "" && was != value {
			stored.addEarlier(key, was)
		}
		stored[name] = value
		if ok {
			stored.setEarlier(key, stored.without(key, value))
		}
	}
}

// addEarlier adds an identity as the latest of a key's earlier ones.
func (stored fields) addEarlier(key, identity string) {
	stored.setEarlier(key, append(stored.without(key, identity), identity))
}

func (stored fields) setEarlier(key string, all []string) {
	if len(all) == 0 {
		delete(stored, fieldEarlier+key)
		return
	}
	stored[fieldEarlier+key] = strings.Join(all, listSeparator)
}

// without returns a key's earlier identities except one.
func (stored fields) without(key, identity string) []string {
	return slices.DeleteFunc(list(stored[fieldEarlier+key]), func(i string) bool { return i == identity })
}

// differences returns the sorted names of the fields that both have with different values.
func (stored fields) differences(other fields) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(stored)) {
		if value, ok := other[name]; ok && value != stored[name] && !strings.HasPrefix(name, fieldLastChain) {
			names = append(names, name)
		}
	}
	return names
}
