package state

import (
	"encoding/binary"
	"strings"
)

// Schemas that releases have written, and what each upgrade does to the one before:
//
//	1  the first
//	2  items and envelopes say by what they were signed and until when; the fingerprint has
//	   identities in place of leaf certificates, and no positions of feeds; meta has which
//	   repositories have the referrers API
//
// testdata has a ledger of each schema before the present one, made by the release that wrote it.

// upgrades holds, at place n-1, the function that makes schema n+1 of schema n.
var upgrades = [schemaVersion - 1]func(*batch) error{upgradeTo2}

// upgrade brings the file to the present schema, in one transaction: after a crash it is in the
// old one or in the new. Records that only gained fields stay as they are, and are read as such;
// whatever an upgrade does has to be cheap for a ledger of a million items.
func (l *Ledger) upgrade() error {
	if l.schema >= schemaVersion {
		return nil
	}
	err := l.do(func(b *batch) error {
		for n := l.schema; n < schemaVersion; n++ {
			if err := upgrades[n-1](b); err != nil {
				return err
			}
		}
		schema := seal(bucketMeta, keySchema, binary.BigEndian.AppendUint32(nil, schemaVersion))
		b.dirty = true
		return b.tx.Bucket([]byte(bucketMeta)).Put(keySchema, schema)
	})
	if err == nil {
		l.schema = schemaVersion
	}
	return err
}

// readSchema learns the schema of a file that Open has let pass.
func (l *Ledger) readSchema() error {
	return l.view(func(t *table) error {
		payload, err := unseal(bucketMeta, keySchema, t.tx.Bucket([]byte(bucketMeta)).Get(keySchema))
		if err == nil {
			l.schema = binary.BigEndian.Uint32(payload) // four bytes: the audit has seen to that
		}
		return err
	})
}

// upgradeTo2 rewrites the fingerprint and drops what schema 1 kept of feeds: a process that reads
// a feed begins with its start.
func upgradeTo2(b *batch) error {
	meta := b.tx.Bucket([]byte(bucketMeta))
	var positions [][]byte
	err := meta.ForEach(func(key, _ []byte) error {
		if strings.HasPrefix(string(key), "position ") {
			positions = append(positions, append([]byte(nil), key...))
		}
		return nil
	})
	for _, key := range positions {
		if err == nil {
			err = meta.Delete(key)
		}
	}
	if err != nil {
		return err
	}
	f, found, err := b.fingerprint()
	if err != nil || !found {
		return err
	}
	if f, err = b.fingerprint2(f); err != nil {
		return err
	}
	return b.put(bucketMeta, keyFingerprint, fingerprintRecord{stamp: stamp{recordV}, Fields: f})
}

// fingerprint2 is a fingerprint of schema 1 as schema 2 has it. Leaves become identities. Those
// that have signed for a key before were its leaf then, or accepted in its place, and are its
// earlier identities. What authorities' files were called says nothing of what was in them: the
// next run records that, as if it was the first.
func (t *table) fingerprint2(old fields) (fields, error) {
	const leafOf, authorityOf, identity = "leaf of ", "pinned authority of ", "certificate:sha256:"
	f := fields{}
	for name, value := range old {
		if key, ok := strings.CutPrefix(name, leafOf); ok {
			f[fieldIdentity+key] = identity + value
		} else if !strings.HasPrefix(name, authorityOf) {
			f[name] = value
		}
	}
	for after, more := uint64(0), true; more; {
		more = false
		err := t.events(after, MaxPage, func(e Event, _ string) error {
			after, more = e.Seq, true
			if e.Kind != EventSigned || e.LeafThumbprint == "" {
				return nil
			}
			for name, value := range old {
				key, ok := strings.CutPrefix(name, leafOf)
				if ok && hasName(key, e.Item.KeyName) && value != e.LeafThumbprint {
					f.addEarlier(key, identity+e.LeafThumbprint)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}
