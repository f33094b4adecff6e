package state

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// A Fingerprint is the configuration that a ledger belongs to: servers, pins and keys, and which identities
// were accepted for each key. It has no secrets: the ledger is not encrypted. A nil Fingerprint is that of a
// ledger that no run was bound to.
//
// The ledger has it as named fields, of the version that its record carries. Each field is compared by
// itself: what is new is no other configuration, and what is missing stays as it was. This file alone knows
// the names; fields of other names are kept and compared like the rest.
type Fingerprint struct {
	// Keys lists all keys with their roles and repositories, in one field: another key in place of this one
	// is another configuration.
	Keys    string
	Signers map[string]Signer // by KeyID

	Pins          map[string][]string // ids of root keys, by repository or pattern
	RootKeys      map[string][]string // as Pins, pinned as bare keys
	Authorities   map[string]string   // thumbprints of pinned authorities, by prefix
	NotaryServers map[string]string   // URLs, by registry host

	Shard string // "I/N": the part of the repositories that the ledger is of; empty: all

	other fields
}

// A Signer is what the ledger keeps of a key.
type Signer struct {
	Identity string   // whose signatures are the key's
	Earlier  []string // identities that were accepted before, oldest first; kept by Bind
	Chain    [][]byte // DER, leaf first
	Renews   bool     // the identity outlives the chain, so that another chain is no other configuration
	TSA      string   // URL of the time-stamping authority; stays once it is known
}

// KeyID names a key in a fingerprint, by its name and where it is.
func KeyID(name string, where ...string) string {
	return strings.Join(append([]string{name}, where...), " ")
}

// hasName reports whether a KeyID is of a key of that name. A name may have spaces of its own.
func hasName(id, name string) bool { return strings.HasPrefix(id, name+" ") }

// Named returns the signers of that name, in the order of their ids: a key that was moved is there twice.
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

// Pin returns what a field that a *FingerprintError names pins, and to which ids of root keys; an empty name
// if the field is no pin of a root.
func (f *Fingerprint) Pin(field string) (name string, ids []string) {
	if name, ok := strings.CutPrefix(field, fieldPin); ok {
		return name, f.Pins[name]
	}
	if name, ok := strings.CutPrefix(field, fieldRootKeys); ok {
		return name, f.RootKeys[name]
	}
	return "", nil
}

// Check returns the *FingerprintError that a ledger bound to f would have for another
// configuration, or nil.
func (f *Fingerprint) Check(other *Fingerprint) error {
	if changed := other.fields().differences(f.fields()); len(changed) > 0 {
		return &FingerprintError{Fields: changed}
	}
	return nil
}

// Bind ties the ledger to a configuration. A field that was stored with another value is
// a *FingerprintError, unless force is given: then the new value replaces it and an event
// is left. A field that is new is stored beside the others, since a further repository or
// pin is no other configuration; one that is missing stays as it was. A ledger that has nothing yet, as after
// a first run with a wrong address, is bound anew.
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

// unused reports whether nothing in the ledger rests on its configuration.
func (b *batch) unused() bool {
	for _, name := range []string{bucketItems, bucketRepositories} {
		if key, _ := b.tx.Bucket([]byte(name)).Cursor().First(); key != nil {
			return false
		}
	}
	return b.tally.Events == 0
}

// Renewed keeps the chain by which a key signs now, where its identity renews it, and leaves an event. id is
// a KeyID of the fingerprint that the ledger is bound to.
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

// logRenewals leaves an event for each chain that has taken the place of another of the same identity.
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

// Fingerprint returns the configuration that the ledger is tied to, nil if it has not
// been bound yet.
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

// fields are a fingerprint as the ledger has it.
type fields map[string]string

// Names of fields, or what they begin with: what the field is of comes behind it.
const (
	fieldKeys          = "keys"
	fieldIdentity      = "identity of "
	fieldEarlier       = "earlier identities of "
	fieldChain         = "chain of "
	fieldLastChain     = "last chain of " // of an identity that renews it: never compared
	fieldTSA           = "time-stamping authority of "
	fieldPin           = "pin of "
	fieldRootKeys      = "pinned root keys of "
	fieldAuthorities   = "authorities pinned for "
	fieldNotaryServers = "notary server of "
	fieldShard         = "shard"
)

// listSeparator is between the values of a field that has several. Neither identities nor key ids have it.
const listSeparator = ","

// fields are the value as the ledger keeps it. What is empty is not there.
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

// typed is the value of fields. It loses nothing: a field that the value could not give back as it is, is
// among the others.
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

// decodeChain reads a chain; false: nobody can use it.
func decodeChain(value string) (chain [][]byte, ok bool) {
	return chain, json.Unmarshal([]byte(value), &chain) == nil
}

func (f *Fingerprint) change(id string, change func(*Signer)) {
	s := f.Signers[id]
	change(&s)
	f.Signers[id] = s
}

// list are the values of a field.
func list(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, listSeparator)
}

// take replaces fields by those of a run. An identity that is replaced is kept among the earlier
// ones of its key.
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

// addEarlier notes an identity as the latest of a key's earlier ones.
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

// without are the earlier identities of a key but for one.
func (stored fields) without(key, identity string) []string {
	return slices.DeleteFunc(list(stored[fieldEarlier+key]), func(i string) bool { return i == identity })
}

// differences names the fields that both have, with different values, sorted.
func (stored fields) differences(other fields) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(stored)) {
		if value, ok := other[name]; ok && value != stored[name] && !strings.HasPrefix(name, fieldLastChain) {
			names = append(names, name)
		}
	}
	return names
}
