package state

import (
	"bytes"
	"fmt"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// view runs f in a transaction that sees one state of the ledger. f must end soon: while a transaction is open, bbolt
// cannot reuse the space of older pages.
func (l *Ledger) view(f func(*table) error) error {
	l.gate.RLock()
	defer l.gate.RUnlock()
	if err := l.usable(); err != nil {
		return err
	}
	err := l.guard(func() error {
		return l.db.View(func(tx *bolt.Tx) error { return f(&table{tx}) })
	})
	if err != nil {
		// A read that fails now will not succeed later in this run.
		return l.fault.set(fmt.Errorf("reading ledger %s: %w", l.path, err))
	}
	return nil
}

// Item returns what is recorded about k, or false if nothing is.
func (l *Ledger) Item(k Key) (Item, bool, error) {
	var item Item
	var found bool
	err := l.view(func(t *table) (err error) {
		item, found, err = t.item(k)
		return err
	})
	return item, found, err
}

// Envelope returns the envelope in the outbox for k, or false if there is none.
func (l *Ledger) Envelope(k Key) (Envelope, bool, error) {
	var e Envelope
	var found bool
	err := l.view(func(t *table) (err error) {
		e, found, err = t.envelope(k)
		return err
	})
	return e, found, err
}

// MaxPage is the largest number of items or events returned at once.
const MaxPage = 1000

// Items returns up to limit items (at most MaxPage, and that many if limit is 0) that come after the given one in the
// order of repository, digest and key name. The zero Key starts at the beginning; a Key with only a Repository starts
// at that repository. To read all, continue from the last item's Key until the result is empty. Items that move
// meanwhile are seen once, before or after.
func (l *Ledger) Items(after Key, limit int) ([]Item, error) {
	limit = pageSize(limit)
	var items []Item
	err := l.view(func(t *table) error {
		c := t.tx.Bucket([]byte(bucketItems)).Cursor()
		start := after.bytes()
		key, value := c.Seek(start)
		if string(key) == string(start) {
			key, value = c.Next()
		}
		for ; key != nil && len(items) < limit; key, value = c.Next() {
			item, err := itemFrom(key, value)
			if err != nil {
				return err
			}
			items = append(items, item)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

// itemFrom decodes the record of an item under its key.
func itemFrom(key, value []byte) (Item, error) {
	var r itemRecord
	if err := decode(bucketItems, key, value, &r); err != nil {
		return Item{}, err
	}
	return r.item(key)
}

// Beside returns the items of a repository except those whose digest is known; their records are not read.
func (l *Ledger) Beside(repository string, known func(digest string) bool) (items []Item, _ error) {
	err := l.view(func(t *table) error {
		prefix := []byte(repository + "\x00")
		c := t.tx.Bucket([]byte(bucketItems)).Cursor()
		for key, value := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, value = c.Next() {
			if digest, _, _ := strings.Cut(string(key[len(prefix):]), "\x00"); known(digest) {
				continue
			}
			item, err := itemFrom(key, value)
			if err != nil {
				return err
			}
			items = append(items, item)
		}
		return nil
	})
	return items, err
}

// Counts returns how many items are in each stage. All stages are present.
func (l *Ledger) Counts() (map[Stage]int, error) {
	counts := map[Stage]int{}
	err := l.view(func(t *table) error {
		tally, err := t.tally()
		for _, s := range Stages() {
			counts[s] = tally.Counts[s]
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return counts, nil
}

func pageSize(limit int) int {
	if limit <= 0 || limit > MaxPage {
		return MaxPage
	}
	return limit
}
