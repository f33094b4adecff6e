package state

import (
	"encoding/binary"
	"strings"
)

// Schemas that releases have written, and what each upgrade changes:
//
//	1  the first
//	2  items and envelopes record who signed and until when it verifies; the fingerprint has
//	   identities in place of leaf certificates, and no feed positions; meta records which
//	   repositories have the referrers API
//
// testdata has a ledger of each earlier schema, made by the release that wrote it.

// upgrades holds at index n-1 the function that turns schema n into schema n+1.
var upgrades = [schemaVersion - 1]func(*batch) error{upgradeTo2}

// upgrade brings the file to the current schema in one transaction: after a crash it has the old schema or the new
// one. Records that only gained fields stay as they are. An upgrade must be cheap for a ledger of a million items.
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

// readSchema reads the schema of a file that Open has accepted.
func (l *Ledger) readSchema() error {
	return l.view(func(t *table) error {
		payload, err := unseal(bucketMeta, keySchema, t.tx.Bucket([]byte(bucketMeta)).Get(keySchema))
		if err == nil {
			l.schema = binary.BigEndian.Uint32(payload) // four bytes: checked by the audit
		}
		return err
	})
}

// upgradeTo2 rewrites the fingerprint and drops what schema 1 stored about feeds: each process now reads a feed from
// its start.
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

// fingerprint2 converts a fingerprint of schema 1 to schema 2. Leaves become identities. Certificates that signed for
// a key before, or were accepted for it, become its earlier identities. The names of authorities' files say nothing
// about their content: the next run records that as if it were the first.
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
