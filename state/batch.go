package state

import (
	"time"

	bolt "go.etcd.io/bbolt"
)

// A batch is the writer's transaction: several changes that reach the disk together. Each sees the earlier ones. It
// belongs to the writer goroutine.
type batch struct {
	table
	now   time.Time
	tally tallyRecord // updated with each change
	dirty bool
}

func newBatch(tx *bolt.Tx, now time.Time) (*batch, error) {
	b := &batch{table: table{tx}, now: now.UTC()}
	var err error
	b.tally, err = b.table.tally()
	return b, err
}

// finish writes the tally, once for all changes.
func (b *batch) finish() error {
	if !b.dirty {
		return errNothing
	}
	return b.put(bucketMeta, keyTally, b.tally)
}

func (b *batch) put(bucket string, key []byte, record any) error {
	value, err := encode(bucket, key, record)
	if err != nil {
		return err
	}
	b.dirty = true
	return b.tx.Bucket([]byte(bucket)).Put(key, value)
}

// putItem writes an item whose previous stage was before ("" if it is new).
func (b *batch) putItem(i Item, before Stage) error {
	i.Updated = b.now
	if before != i.Stage {
		b.tally.Counts[i.Stage]++
		if before != "" {
			b.tally.Counts[before]--
		}
	}
	return b.put(bucketItems, i.Key.bytes(), newItemRecord(i))
}

func (b *batch) putEnvelope(k Key, e Envelope) error {
	return b.put(bucketOutbox, k.bytes(), outboxRecord{stamp: stamp{outboxRecord{}.newest()}, keyRecord: recordKey(k), Envelope: e})
}

// dropEnvelope removes the item's envelope from the outbox, if there is one.
func (b *batch) dropEnvelope(k Key) error {
	b.dirty = true
	return b.tx.Bucket([]byte(bucketOutbox)).Delete(k.bytes())
}

// hasEnvelope reports whether the outbox has an envelope for the item.
func (b *batch) hasEnvelope(k Key) bool {
	return b.tx.Bucket([]byte(bucketOutbox)).Get(k.bytes()) != nil
}

func (b *batch) putRepository(r Repository) error {
	return b.put(bucketRepositories, []byte(r.GUN), repositoryRecord{
		stamp: stamp{repositoryRecord{}.newest()}, GUN: r.GUN, Roles: r.Roles, Root: r.Root, Pin: r.Pin,
		RootKeyIDs: r.RootKeyIDs, RootKeys: r.RootKeys, VerifiedAt: r.VerifiedAt,
	})
}
