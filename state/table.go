package state

import (
	"encoding/binary"

	bolt "go.etcd.io/bbolt"
)

// A table reads records within a transaction. What it returns shares no memory
// with the transaction.
type table struct{ tx *bolt.Tx }

// get decodes a record; it returns false if there is none.
func (t *table) get(bucket string, key []byte, record versioned) (bool, error) {
	value := t.tx.Bucket([]byte(bucket)).Get(key)
	if value == nil {
		return false, nil
	}
	return true, decode(bucket, key, value, record)
}

func (t *table) item(k Key) (Item, bool, error) {
	key := k.bytes()
	value := t.tx.Bucket([]byte(bucketItems)).Get(key)
	if value == nil {
		return Item{}, false, nil
	}
	item, err := itemFrom(key, value)
	return item, err == nil, err
}

func (t *table) envelope(k Key) (Envelope, bool, error) {
	var r outboxRecord
	found, err := t.get(bucketOutbox, k.bytes(), &r)
	if err != nil || !found {
		return Envelope{}, false, err
	}
	if r.keyRecord.key() != k {
		return Envelope{}, false, damage("the envelope of %s names itself %s", k, r.keyRecord.key())
	}
	return r.Envelope, true, nil
}

func (t *table) repository(gun string) (Repository, bool, error) {
	var r repositoryRecord
	found, err := t.get(bucketRepositories, []byte(gun), &r)
	if err != nil || !found {
		return Repository{}, false, err
	}
	if r.GUN != gun {
		return Repository{}, false, damage("the record of repository %q names itself %q", gun, r.GUN)
	}
	return Repository{
		GUN: r.GUN, Roles: r.Roles, Root: r.Root, Pin: r.Pin,
		RootKeyIDs: r.RootKeyIDs, RootKeys: r.RootKeys, VerifiedAt: r.VerifiedAt,
	}, true, nil
}

func (t *table) tally() (tallyRecord, error) {
	r := tallyRecord{stamp: stamp{recordV}}
	found, err := t.get(bucketMeta, keyTally, &r)
	if err == nil && !found {
		err = damage("the record of counts is missing")
	}
	if r.Counts == nil {
		r.Counts = map[Stage]int{}
	}
	return r, err
}

func (t *table) fingerprint() (fields, bool, error) {
	var r fingerprintRecord
	found, err := t.get(bucketMeta, keyFingerprint, &r)
	return r.Fields, found, err
}

func (r keyRecord) key() Key    { return Key(r) }
func recordKey(k Key) keyRecord { return keyRecord(k) }

// item converts the record for callers. key is its key in the file.
func (r itemRecord) item(key []byte) (Item, error) {
	k := r.keyRecord.key()
	if string(k.bytes()) != string(key) {
		return Item{}, damage("the item at %q names itself %s", key, k)
	}
	if !r.Stage.known() {
		return Item{}, damage("item %s has the stage %q", k, r.Stage)
	}
	return Item{
		Key: k, Stage: r.Stage, GUN: r.GUN, MediaType: r.MediaType, Size: r.Size,
		Tags: r.Tags, Indexes: r.Indexes, Notes: r.Notes, Class: r.Class, Reason: r.Reason,
		Signature: r.Signature, Attempts: r.Attempts, Bound: r.Bound, SignedBy: r.SignedBy, Updated: r.Updated,
	}, nil
}

func newItemRecord(i Item) itemRecord {
	return itemRecord{
		stamp: stamp{itemRecord{}.newest()}, keyRecord: recordKey(i.Key), Stage: i.Stage, GUN: i.GUN,
		MediaType: i.MediaType, Size: i.Size, Tags: i.Tags, Indexes: i.Indexes, Notes: i.Notes, Class: i.Class,
		Reason: i.Reason, Signature: i.Signature, Attempts: i.Attempts, Bound: i.Bound, SignedBy: i.SignedBy, Updated: i.Updated,
	}
}

func (s Stage) known() bool {
	for _, stage := range Stages() {
		if s == stage {
			return true
		}
	}
	return false
}

// sequence is the key of an event, in big endian so that events are in order.
func sequence(n uint64) []byte {
	return binary.BigEndian.AppendUint64(nil, n)
}
